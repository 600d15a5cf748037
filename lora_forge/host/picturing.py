"""Pictures by a WebUI's own txt2img: one at a time in its queue, plain, and without a trace in what a person sees.

No script of the page runs, neither those of extensions (what is ticked in the page is the page's, not ours) nor the
built-in ones; nothing is saved; settings are put back. The host's modules are imported where they are used.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_forge.errors import CheckpointError, ConfigError, LoraFileError
from lora_forge.evaluate.lora_tags import find_lora, split_prompt
from lora_forge.evaluate.xyz import SAMPLERS
from lora_forge.i18n import Said
from lora_forge.ports import PictureRequest, never

if TYPE_CHECKING:
    from PIL.Image import Image

    from lora_forge.host.webui import WebUIHost

_CLIP_SKIP = "CLIP_stop_at_last_layers"
_SCHEDULERS = {"dpmpp_2m": "Karras"}
"""What "Automatic" is in AUTOMATIC1111 and Forge, said aloud for hosts where it may be another."""
_COUNTED = ("dpmpp_2m", "euler", "euler_a")
"""Samplers that tell the host of every step; its DDIM leaves the last one out."""
_TROUBLES = ("Lora not found", "Networks with errors")
_TRIES = 2
_GIVE_WAY_S = 0.05
"""The host's lock wakes who waits longest, but whoever asks anew at that moment may still be the faster one."""


@dataclass(frozen=True)
class Order:
    """A request, with the file that each LoRA of its prompt must come from, by its name there."""

    request: PictureRequest
    files: Mapping[str, Path]


@dataclass
class Made:
    """``picture``: None when there is none. ``is_whole``: false when somebody interrupted it. ``words``: the host's."""

    picture: Image | None = None
    is_whole: bool = True
    words: list[str] = field(default_factory=list)


def pictures(
    host: WebUIHost,
    requests: Sequence[PictureRequest],
    lora_dirs: Sequence[Path],
    should_stop: Callable[[], bool] = never,
) -> Iterator[Image]:
    """Each request as the host's txt2img draws it, under its lock, which is free between two pictures.

    Raises:
        LoraFileError: at once: a LoRA is in none of the folders; while drawing: the host can't use it.
        CheckpointError: while drawing: the host can't draw, was interrupted twice, or has another checkpoint by then.
        ConfigError: while drawing: the host has no such sampler.
        GaveUpError: while drawing: ``should_stop`` said so while others had their turn.
    """
    orders = []
    for request in requests:
        tags = split_prompt(request.prompt)[1]
        orders.append(Order(request, {tag.name: find_lora(tag.name, lora_dirs) for tag in tags}))
    return _drawn(host, orders, should_stop)


def _drawn(host: WebUIHost, orders: Sequence[Order], should_stop: Callable[[], bool]) -> Iterator[Image]:
    chosen = host.chosen_file()
    for number, order in enumerate(orders, 1):
        for _ in range(_TRIES):
            with host.at_work(f"LoRA Forge: {number}/{len(orders)}", should_stop):
                _refuse_another(chosen, host.chosen_file())
                _refuse_sampler(order.request.sampler)
                _refuse_unlisted(order.files, host.lora_dir())
                made = make(host.name, fields_of(order.request), order.request.sampler in _COUNTED)
                _refuse_without_loras(host, order, made)
            if made.is_whole:
                break
        else:
            raise CheckpointError(
                "{name} was interrupted twice while it drew picture {number} of {total}.",
                "Go on with the test: what was drawn is kept.",
                name=host.name,
                number=number,
                total=len(orders),
            )
        if made.picture is None:
            what = "{name} made no picture, and did not say why."
            raise CheckpointError(what, "Make one in txt2img; its console says more.", name=host.name)
        yield made.picture.convert("RGB")
        time.sleep(_GIVE_WAY_S)


def fields_of(asked: PictureRequest) -> dict[str, Any]:
    """What ``StableDiffusionProcessingTxt2Img`` is told; its own setting of clip skip is put back afterwards."""
    from modules import shared

    told: dict[str, Any] = {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "seed": asked.seed,
        "subseed": asked.seed,  # -1 would be drawn from Python's own generator
        "steps": asked.steps,
        "cfg_scale": asked.guidance,
        "width": asked.width,
        "height": asked.height,
        "sampler_name": SAMPLERS.get(asked.sampler, asked.sampler),
        "scheduler": _SCHEDULERS.get(asked.sampler, "Automatic"),
    }
    if int(getattr(shared.opts, _CLIP_SKIP, 1) or 1) != asked.clip_skip:
        told["override_settings"] = {_CLIP_SKIP: asked.clip_skip}
    return told


def make(name: str, fields: Mapping[str, Any], counts_steps: bool = False) -> Made:
    """One picture, in this thread, which holds the host's lock. ``counts_steps``: its sampler counts every step.

    Raises:
        CheckpointError: the host could not; its own words are in it.
    """
    from modules import processing, shared

    from lora_forge.host.traces import kept_torch_generators

    told = {"sd_model": shared.sd_model, "do_not_save_samples": True, "do_not_save_grid": True, **fields}
    with kept_torch_generators(), _kept_last_prompt(), _kept_options(told.get("override_settings", {})):
        try:
            with contextlib.closing(processing.StableDiffusionProcessingTxt2Img(**told)) as request:
                made = Made()
                if hasattr(request, "sample"):
                    _watch(request, made, counts_steps)
                done = processing.process_images(request)
        except Exception as cause:  # anything may go wrong in a host
            what = "{name} could not draw the picture: {cause}"
            remedy = "Make one in txt2img; its console says more."
            raise CheckpointError(what, remedy, name=name, cause=str(cause) or type(cause).__name__) from cause
        finally:
            bar = getattr(shared, "total_tqdm", None)
            if bar is not None:
                bar.clear()
    made.is_whole &= not _is_interrupted()
    made.picture = next(iter(getattr(done, "images", None) or ()), None)
    made.words = [str(words) for words in getattr(request, "comments", None) or ()]
    return made


def _watch(request: Any, made: Made, counts_steps: bool) -> None:
    """See at the end of sampling whether it came to its end: the flags may be taken back before the picture is there,
    by any handler of the page that ends meanwhile."""
    from modules import shared

    sample = request.sample

    def watched(*values: Any, **named: Any) -> Any:
        done, state = sample(*values, **named), shared.state
        made.is_whole = not _is_interrupted()
        if counts_steps:
            made.is_whole &= state.sampling_step + 1 >= state.sampling_steps
        return done

    request.sample = watched


def _is_interrupted() -> bool:
    from modules import shared

    return bool(shared.state.interrupted or shared.state.skipped)


@contextlib.contextmanager
def _kept_last_prompt() -> Iterator[None]:
    """What the page's paste button reads stays the person's own."""
    from modules.paths_internal import data_path

    last_prompt = Path(data_path) / "params.txt"
    kept = last_prompt.read_bytes() if last_prompt.is_file() else None
    try:
        yield
    finally:
        if kept is not None:
            last_prompt.write_bytes(kept)
        else:
            last_prompt.unlink(missing_ok=True)


@contextlib.contextmanager
def _kept_options(told: Mapping[str, Any]) -> Iterator[None]:
    """The host puts back what it had a value for; what stood at its default it would leave changed."""
    from modules import shared

    unset = [key for key in told if key not in shared.opts.data]
    try:
        yield
    finally:
        for key in unset:
            shared.opts.data.pop(key, None)


# ---- what a host would draw wrongly without a word ------------------------------------------------------------------


def _refuse_another(before: str, now: str) -> None:
    """Someone may choose another checkpoint between two pictures: a grid of two would compare nothing.

    Raises:
        CheckpointError: it is another one.
    """
    if before != now:
        raise CheckpointError(
            "The checkpoint was changed while pictures were drawn, from {before} to {now}.",
            "Choose {before} again, then go on.",
            before=Path(before).name or Said("none"),
            now=Path(now).name or Said("none"),
        )


def _refuse_sampler(asked: str) -> None:
    """A host draws with its first sampler when it does not know the one that is asked for.

    Raises:
        ConfigError: it does not know it.
    """
    from modules import sd_samplers

    name, known = SAMPLERS.get(asked, asked), getattr(sd_samplers, "all_samplers_map", None)
    if known is not None and name not in known:
        raise ConfigError("The WebUI has no sampler {sampler}.", "Choose another sampler.", sampler=name)


def _refuse_unlisted(files: Mapping[str, Path], folder: Path) -> None:
    """A host draws without a LoRA that it does not find, and takes another file when two go by one name.

    Raises:
        CheckpointError: its Lora extension is switched off.
        LoraFileError: it does not know a file, or means another one.
    """
    if not files:
        return
    networks = sys.modules.get("networks")
    if networks is None:
        what = "The WebUI's built-in extension Lora is switched off: it would draw without any LoRA."
        raise CheckpointError(what, "Switch it on in the tab Extensions, and restart the WebUI.")
    if not hasattr(networks, "available_network_aliases"):
        return  # a fork with lists of its own
    if any(not _is_at(_listed(networks, name), path) for name, path in files.items()):
        networks.list_available_networks()  # as the refresh button does
    for name, path in files.items():
        found = _listed(networks, name)
        if found is None:
            raise LoraFileError(
                "{file} is not in the WebUI's folder of LoRAs ({folder}): it would draw without it.",
                "Move the file there.",
                file=path,
                folder=folder,
            )
        if not _is_at(found, path):
            raise LoraFileError(
                "The WebUI takes {name} to be {other}, not {file}.",
                "Rename or move one of the two.",
                name=name,
                other=found.filename,
                file=path,
            )


def _listed(networks: Any, name: str) -> Any:
    """The host's record of the file that it would take for ``<lora:NAME:1>``; None when it would take none."""
    is_ambiguous = name.lower() in getattr(networks, "forbidden_network_aliases", ())
    return (networks.available_networks if is_ambiguous else networks.available_network_aliases).get(name)


def _is_at(found: Any, path: Path) -> bool:
    return found is not None and Path(found.filename).is_file() and Path(found.filename).samefile(path)


def _refuse_without_loras(host: WebUIHost, order: Order, made: Made) -> None:
    """A host draws on without a LoRA that it could not read, or that fits another kind of checkpoint.

    Raises:
        LoraFileError: it did so.
    """
    unused = host.unused_loras(order.files) if made.is_whole else ()
    words = [said for said in made.words if said.startswith(_TROUBLES)]
    if unused or (words and order.files):
        raise LoraFileError(
            "{name} drew the picture without {files}. {words}",
            "The file may be damaged, or made for another kind of checkpoint; the WebUI's console says more.",
            name=host.name,
            files=", ".join(unused or order.files),
            words=" ".join(words),
        )
