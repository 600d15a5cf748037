"""Which layers get an adapter: those that the settings target, or those that a file is for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from lora_forge.config import Target, TrainConfig
from lora_forge.errors import LoraFileError, TrainingError
from lora_forge.lora_file.keys import PREFIXES, Part, kohya_name, split_name
from lora_forge.lora_file.weights import LoraModule, some_of
from lora_forge.ports import BorrowedModel

_ALL_TARGETS: tuple[Target, ...] = ("attention", "feed_forward", "projection")
_ATTENTION_CLASSES = ("Transformer2DModel",)
_CONV_CLASSES = ("ResnetBlock2D", "Downsample2D", "Upsample2D")
_TEXT_CLASSES = ("CLIPAttention", "CLIPSdpaAttention", "CLIPFlashAttention2", "CLIPMLP")


@dataclass(frozen=True)
class Site:
    """A layer that gets an adapter: kohya name, path in its model, and the adapter's rank and alpha."""

    part: Part
    name: str
    path: str
    rank: int
    alpha: float


def training_sites(model: BorrowedModel, config: TrainConfig) -> dict[nn.Module, list[Site]]:
    """What the settings train, by the model it is in; layers in the order of the modules.

    Raises:
        TrainingError: nothing is left to train, or the text encoder is wanted and the host lends none.
    """
    sites = {root: list(found) for root, found in _training_sites(model, config)}
    if not any(sites.values()):
        raise TrainingError("These settings leave no layer to train.", "Give targets, or a learning rate above 0.")
    return sites


def _training_sites(model: BorrowedModel, config: TrainConfig) -> Iterator[tuple[nn.Module, Iterator[Site]]]:
    if config.learning_rate > 0:
        yield model.unet, _unet_sites(model, config)
    if config.te_learning_rate > 0:
        if not model.text_towers:
            raise TrainingError(
                "The text encoder can't be trained here: the host lends none.", "Set te_learning_rate to 0."
            )
        for tower in model.text_towers:
            yield tower.module, _tower_sites(model, _part(tower.prefix), tower.module, config)


def _unet_sites(model: BorrowedModel, config: TrainConfig) -> Iterator[Site]:
    alpha, conv_alpha = config.alpha or float(config.rank), config.conv_alpha or config.conv_rank / 2
    for path, layer in _unet_layers(model.unet, config.targets, config.conv_rank > 0):
        name = kohya_name(model.info.family, "unet", path)
        if _is_spatial(layer):
            yield Site("unet", name, path, config.conv_rank, conv_alpha)
        else:
            yield Site("unet", name, path, config.rank, alpha)


def _tower_sites(model: BorrowedModel, part: Part, tower: nn.Module, config: TrainConfig) -> Iterator[Site]:
    for path, _ in _text_layers(tower):
        yield Site(part, kohya_name(model.info.family, part, path), path, config.rank, config.alpha or config.rank)


def file_sites(model: BorrowedModel, weights: Mapping[str, LoraModule]) -> dict[nn.Module, list[Site]]:
    """Where a file's adapters go; layers in the order of the modules.

    Raises:
        LoraFileError: some are for layers that the model does not have.
    """
    roots: list[tuple[nn.Module, Part, Iterable[tuple[str, nn.Module]]]] = [
        (model.unet, "unet", _unet_layers(model.unet, _ALL_TARGETS, True))
    ]
    for tower in model.text_towers:
        roots.append((tower.module, _part(tower.prefix), _text_layers(tower.module)))
    wanted = {our_name(model, name): module for name, module in weights.items()}
    sites: dict[nn.Module, list[Site]] = {}
    for root, part, layers in roots:
        found = ((path, kohya_name(model.info.family, part, path)) for path, _ in layers)
        sites[root] = [Site(part, n, p, wanted[n].rank, wanted[n].alpha) for p, n in found if n in wanted]
    spelled = {our_name(model, name): name for name in weights}
    strange = wanted.keys() - {site.name for found_sites in sites.values() for site in found_sites}
    if strange or not wanted:
        raise LoraFileError(
            "{count} of the file's {total} adapters are for layers that {base} does not have, such as {some}.",
            "Use the LoRA with the kind of base it was trained on.",
            count=len(strange),
            total=len(wanted),
            base=model.info.name or "the checkpoint",
            some=some_of(spelled[name] for name in strange) or "none",
        )
    return sites


def our_name(model: BorrowedModel, name: str) -> str:
    """``name`` as :func:`kohya_name` spells it: SDXL files may use diffusers' block names, some tools call SD1's
    only tower ``lora_te1``. Names of no known form come back as they are, to be reported."""
    try:
        part, path = split_name(name)
        prefixes = [tower.prefix for tower in model.text_towers]
        if part == "te1" and prefixes == [PREFIXES["te"]]:
            part = "te"
        return kohya_name(model.info.family, part, path)
    except (ValueError, KeyError, IndexError):
        return name


def _part(prefix: str) -> Part:
    return next(part for part, known in PREFIXES.items() if known == prefix)


def _unet_layers(unet: nn.Module, targets: tuple[Target, ...], has_conv: bool) -> Iterator[tuple[str, nn.Module]]:
    """Paths and layers of the UNet that the targets mean, in the order of the modules.

    As kohya: every Linear and 1x1 convolution within a Transformer2DModel; with ``has_conv`` all Linear and
    convolution layers of resnets and resamplers too.
    """
    for root, module in unet.named_modules():
        kind = type(module).__name__
        if kind in _ATTENTION_CLASSES:
            yield from ((path, m) for path, m in _leaves(root, module) if _target_of(path) in targets)
        elif has_conv and kind in _CONV_CLASSES:
            yield from _leaves(root, module)


def _text_layers(tower: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Paths and Linear layers of a CLIP tower's attentions and MLPs."""
    for root, module in tower.named_modules():
        if type(module).__name__ in _TEXT_CLASSES:
            yield from _leaves(root, module)


def _is_spatial(layer: nn.Module) -> bool:
    """Whether the layer is a convolution with a kernel larger than 1x1: the ones that take the conv rank."""
    return isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)


def _leaves(root: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for path, child in module.named_modules():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            yield f"{root}.{path}", child


def _target_of(path: str) -> Target:
    if ".attn1." in path or ".attn2." in path:
        return "attention"
    return "feed_forward" if ".ff." in path else "projection"
