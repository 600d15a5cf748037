"""Test firing (试火) from the page: the photos of the largest shape, the host's own checkpoint, and what came of it.

What was measured is kept in PROJECT/trial.json until the next one; sentences are made of it when they are asked for.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from lora_forge import atomic
from lora_forge.config import TrainConfig, from_dict
from lora_forge.dataset.crops import Cut, plan_cut
from lora_forge.dataset.images import UnreadableImageError, pixels, read_image, read_size
from lora_forge.dataset.manifest import PrepareSettings, stamp
from lora_forge.dataset.prepared import Aims, PreparedImage, pixel_key
from lora_forge.dataset.project import Photo, Project
from lora_forge.errors import ConfigError, DatasetError, LoraForgeError
from lora_forge.events import CommandBox, Emit, StageDone, StageStarted, Warned
from lora_forge.i18n import Said, Several, word
from lora_forge.ports import BaseInfo, Desk, GaveUpError, Host, stored_as
from lora_forge.train.ladder import Rung, rungs
from lora_forge.work.estimate import count, duration_said, photos_seen, run_seconds
from lora_forge.work.live_plan import Wish, wished_config
from lora_forge.work.settings import count_photos
from lora_forge.work.speeds import Guess, Lent, Speed, note_speed

if TYPE_CHECKING:
    from lora_forge.train.trial import Measured

FILE = "trial.json"
_FOLDER = ".trial"
_GB = 1e9
_TIGHT = 0.05
# What neither memory nor speed hang on: a trial stays valid when these are changed.
_FREE = frozenset(
    (
        *("schema_version", "name", "trigger_word", "seed", "epochs", "repeats", "max_steps", "keep_tokens"),
        *("shuffle_tags", "tag_dropout", "caption_dropout", "alpha", "conv_alpha", "rank_dropout", "max_norm"),
        *("learning_rate", "lora_plus_ratio", "weight_decay", "beta1", "beta2", "schedule", "schedule_cycles"),
        *("warmup_steps", "max_grad_norm", "prediction_type", "zero_terminal_snr", "min_snr_gamma", "debiased"),
        *("noise_offset", "prior_weight", "outside_weight", "save_every_epochs", "state_every_steps"),
        *("validation_photos", "preview_every_steps", "preview_share", "preview_prompts", "preview_guidance"),
        "te_learning_rate",
    )
)
_FITS = word("It fits: {peak} at the peak, and {left} stay free.")
_FITS_TIGHTLY = word(
    "It just fits: {peak} at the peak, and only {left} stay free. Close other programs before the start."
)
_FITS_SOMEHOW = word("It fits: {peak} at the peak.")
_FITS_UNTOLD = word("It fits.")
_FULL = word("It does not fit: the memory was full while {stage}. {device} has {total}, and {free} were free before.")
_FULL_UNTOLD = word("It does not fit: the memory was full while {stage}.")
_PREVIEW_FULL = word(
    "The steps fit, a preview does not: the memory was full while it was drawn. The run would go on without previews."
)
_SPEED = word("{fits} A step takes about {step}, the whole run about {time}.")
_SPEED_WITH_PREVIEW = word("{fits} A step takes about {step}, a preview {preview}, the whole run about {time}.")
_STAGES = {
    "encode": word("the photos were encoded"),
    "forward": word("the checkpoint looked at the pictures"),
    "backward": word("the gradients were computed"),
    "optimizer": word("the weights were updated"),
    "save": word("the file was put together"),
}


@dataclass(frozen=True)
class Trial:
    """One test firing. ``config``: what was tried; ``base``: the checkpoint's name; the rest as measured."""

    made_at: float
    base: str
    device: str
    config: TrainConfig
    measured: Mapping[str, Any]

    @property
    def failed_at(self) -> str:
        """``encode``, ``forward``, ``backward``, ``optimizer``, ``preview``, ``save``, or empty when all went well."""
        stage = str(self.measured["failed_at"])
        return "encode" if stage == "text" else stage

    def is_stale(self, config: TrainConfig, base: str) -> bool:
        """Whether something that memory or speed hang on is another by now."""
        return base != self.base or _shaping(config) != _shaping(self.config)

    def ladder(self) -> tuple[Rung, ...]:
        """What could be lowered; nothing where it fits."""
        is_checkpointed = self.measured.get("is_checkpointed", False)  # by itself, perhaps; older files don't say
        config = self.config.replace(gradient_checkpointing="on") if is_checkpointed else self.config
        return rungs(config, self.failed_at) if self.failed_at else ()


def fire(desk: Desk, wish: Wish, emit: Emit, commands: CommandBox) -> str:
    """Try what ``wish`` says with the host's checkpoint and keep what came of it; ``done`` or ``stopped``.

    Raises:
        LoraForgeError: as for a run: no photos, no checkpoint, settings out of range.
        MissingPartError: a library that training needs is absent.
    """
    project = Project.load(wish.project)
    config = tried_config(project, wish, desk.info())
    made = try_config(desk, project, config, emit, commands.asks_to_stop, desk.data_root())
    return "stopped" if made is None else "done"


def try_config(
    host: Host,
    project: Project,
    config: TrainConfig,
    emit: Emit,
    should_stop: Callable[[], bool],
    data_root: Path | None = None,
) -> Trial | None:
    """Try ``config`` and keep what came of it; its speed in ``data_root`` too. None when it was stopped."""
    from lora_forge.train import trial
    from lora_forge.train.encoding import StoppedError

    with _samples(project, config) as images:
        emit(StageStarted("wait", 0))
        try:
            with (
                stored_as(host, config.base_storage),
                host.borrow(config.name or "LoRA Forge", should_stop) as model,
            ):
                emit(StageDone("wait"))
                lent = Lent.of(model)
                measured = trial.fire(model, images, config, emit, should_stop)
        except (GaveUpError, StoppedError):
            return None
    made = Trial(round(time.time(), 3), lent.base, lent.device, config, dataclasses.asdict(measured))
    _keep(project, made, measured, lent, emit, data_root)
    return made


def check(desk: Desk, wish: Wish) -> None:
    """Nothing, if ``wish`` could be tried.

    Raises:
        LoraForgeError: as :func:`fire`, for what can be told at once.
    """
    project = Project.load(wish.project)
    tried_config(project, wish, desk.info())
    count_photos(project)


def tried_config(project: Project, wish: Wish, info: BaseInfo) -> TrainConfig:
    """The config of the run that is tried.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    config, problems = wished_config(project, wish, info.family)
    if config is None:
        raise ConfigError("{problems}", problems=Several(tuple(one.sentence for one in problems), "; "))
    return config


def load_trial(project: Project) -> Trial | None:
    """The last one; None where there was none, or its file can't be read."""
    try:
        plain = json.loads((project.root / FILE).read_text(encoding="utf-8"))
        if plain["version"] != 1:
            return None
        config = from_dict(plain["config"])
        return Trial(float(plain["made_at"]), plain["base"], plain["device"], config, plain["measured"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return None


def run_time(project: Project, made: Trial) -> float | None:
    """About how long the whole run takes, in seconds; None where a step was not measured."""
    measured = made.measured
    if measured["batch_s"] is None:
        return None
    preview, by = measured["preview_s"], measured["preview_steps"]
    whole_preview = None if preview is None else preview * made.config.preview_steps / by
    speed = Guess(measured["batch_s"], whole_preview, measured["encode_s"], None, "measured")
    return run_seconds(count(photos_seen(project, made.config), made.config), made.config, speed)


def sentence(project: Project, made: Trial) -> Said:
    """What came of it, whole."""
    measured, stage = made.measured, made.failed_at
    if stage == "preview":
        return Said(_PREVIEW_FULL)
    if stage:
        return _full_said(made, stage)
    fits, seconds = _fits_said(measured), run_time(project, made)
    step = measured["batch_s"] * made.config.gradient_accumulation
    values: dict[str, object] = {"fits": fits, "step": _short(step), "time": duration_said(seconds or 0.0)}
    if measured["preview_s"] is None:
        return Said(_SPEED, values)
    preview = measured["preview_s"] * made.config.preview_steps / measured["preview_steps"]
    return Said(_SPEED_WITH_PREVIEW, {**values, "preview": _short(preview)})


def left_bytes(measured: Mapping[str, Any]) -> int | None:
    """What stayed free at the peak."""
    peak, used, free = measured["peak_bytes"], measured["used_bytes"], measured["free_bytes"]
    if None in (peak, used, free):
        return None
    return max(0, int(free) - max(0, int(peak) - int(used)))


def _full_said(made: Trial, stage: str) -> Said:
    measured = made.measured
    values = {"stage": Said(_STAGES.get(stage, _STAGES["forward"])), "device": made.device}
    if measured["total_bytes"] is None or measured["free_bytes"] is None:
        return Said(_FULL_UNTOLD, values)
    return Said(_FULL, {**values, "total": _gb(measured["total_bytes"]), "free": _gb(measured["free_bytes"])})


def _fits_said(measured: Mapping[str, Any]) -> Said:
    peak, left, total = measured["peak_bytes"], left_bytes(measured), measured["total_bytes"]
    if peak is None:
        return Said(_FITS_UNTOLD)
    if left is None or total is None:
        return Said(_FITS_SOMEHOW, {"peak": _gb(peak)})
    template = _FITS_TIGHTLY if left < _TIGHT * total else _FITS
    return Said(template, {"peak": _gb(peak), "left": _gb(left)})


def _gb(count_: int) -> str:
    return f"{count_ / _GB:.1f} GB"


def _short(seconds: float) -> Said:
    return Said("{seconds} s", {"seconds": f"{seconds:.2g}"}) if seconds < 10 else duration_said(seconds)


def _shaping(config: TrainConfig) -> dict[str, Any]:
    values = {key: value for key, value in config.to_dict().items() if key not in _FREE}
    trained = {"unet": config.learning_rate > 0, "text": config.te_learning_rate > 0}
    return {**values, **trained, "previews": config.preview_every_steps > 0, "norms": config.max_norm > 0}


def _keep(project: Project, made: Trial, measured: Measured, lent: Lent, emit: Emit, data_root: Path | None) -> None:
    values = {**vars(made), "version": 1, "config": made.config.to_dict()}
    atomic.write_json(project.root / FILE, values)
    said = sentence(project, made)
    if made.failed_at and made.failed_at != "preview":
        emit(Warned(said.template, said.values))
        return
    if measured.batch_s is not None and data_root is not None:
        speed = Speed(
            lent.shape(made.config, measured.is_checkpointed),
            lent.weights,
            measured.batch_s,
            measured.preview_s,
            measured.preview_steps,
            measured.encode_s,
            measured.peak_bytes,
            made.made_at,
        )
        note_speed(data_root, speed)
    emit(StageDone("trial", said.template, said.values))


@contextmanager
def _samples(project: Project, config: TrainConfig) -> Iterator[list[PreparedImage]]:
    """Photos of the largest shape, as many as a step sees, prepared in a folder that goes again.

    Raises:
        DatasetError: there is no photo that can be read.
    """
    folder = project.root / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    try:
        folder.mkdir()
        yield [_sample(photo, cut, folder) for photo, cut in _largest(project, config)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _largest(project: Project, config: TrainConfig) -> list[tuple[Photo, Cut]]:
    """Photos that fall into the largest size, of several as large the one with most of them."""
    settings = PrepareSettings.from_config(config)
    aims, buckets = Aims(project), settings.buckets()
    cuts = []
    for photo in project.photos():
        try:
            cuts.append((photo, plan_cut(read_size(photo.path), buckets, aims.of(photo, stamp(photo.path).sha256))))
        except (UnreadableImageError, OSError):
            continue  # preparing names it
    if not cuts:
        raise DatasetError("There are no photos in {root}.", "Import photos.", root=project.root)
    counts = Counter(cut.bucket for _, cut in cuts)
    best = max(counts, key=lambda bucket: (bucket.width * bucket.height, counts[bucket], bucket))
    return [(photo, cut) for photo, cut in cuts if cut.bucket == best][: config.batch_size]


def _sample(photo: Photo, cut: Cut, folder: Path) -> PreparedImage:
    image = read_image(photo.path)
    size = image.size
    array = pixels(image.resize(cut.bucket, Image.Resampling.LANCZOS, box=cut.edges, reducing_gap=3.0))
    key = pixel_key(array)
    path = folder / f"{key[:32]}.png"
    Image.fromarray(array).save(path, compress_level=1)
    return PreparedImage(
        key=key,
        path=path,
        bucket=cut.bucket,
        original_size=size,
        crop_left=cut.crop.left,
        crop_top=cut.crop.top,
        caption=photo.caption,
        group=photo.group,
        repeats=None,
        is_prior=False,
        mask_path=None,
        source=photo.path,
    )


def told(desk: Desk, project: Project, language: str, now: Wish | None) -> dict[str, Any] | None:
    """The last test firing as a page shows it; ``now``: what the form says, to tell whether that is still it."""
    made = load_trial(project)
    if made is None:
        return None
    config = _config_now(desk, project, made, now)
    if config is not None:  # as fast and as large, but perhaps of another length
        made = replace(made, config=config)
    return {**told_plainly(project, made, language), "is_stale": config is None}


def told_plainly(project: Project, made: Trial, language: str) -> dict[str, Any]:
    """Its figures and sentences as plain JSON values."""
    measured, seconds = made.measured, run_time(project, made)
    batch_s = measured["batch_s"]
    preview, by = measured["preview_s"], measured["preview_steps"]
    return {
        "made_at": made.made_at,
        "step_s": None if batch_s is None else batch_s * made.config.gradient_accumulation,
        "preview_s": None if preview is None else preview * made.config.preview_steps / by,
        "encode_s": measured["encode_s"],
        "peak_bytes": measured["peak_bytes"],
        "free_bytes": measured["free_bytes"],
        "total_bytes": measured["total_bytes"],
        "fits": not made.failed_at,
        "seconds": None if seconds is None else round(seconds),
        "sentence": sentence(project, made).text(language),
        "failed_at": made.failed_at,
        "ladder": [
            {"id": rung.id, "sentence": rung.sentence.text(language), "changes": dict(rung.changes)}
            for rung in made.ladder()
        ],
    }


def _config_now(desk: Desk, project: Project, made: Trial, now: Wish | None) -> TrainConfig | None:
    """The settings that the figures stand for by now; None where memory or speed would be others."""
    try:
        info = desk.info()
        config = made.config if now is None else tried_config(project, now, info)
    except LoraForgeError:
        return None
    return None if made.is_stale(config, info.name) else config
