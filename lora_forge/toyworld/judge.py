"""The judge: reads hair, eyes, clothes, place and the subject's marks off a picture of the toy world.

A small convolutional net with one head per attribute, trained on its own drawings (``build_judge``), apart from the
checkpoint's. Its measured accuracy on fresh drawings and on VAE reconstructions stands in ``build``'s docstring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from PIL import Image
from torch import Tensor, nn

from lora_forge.toyworld.data import picture_tensor
from lora_forge.toyworld.world import COLOURS, EYES, GARMENTS, GLASSES, HAIR, PLACES, STYLES, Look

__all__ = ["ATTRIBUTES", "Judge", "Sighting", "labels_of", "load_judge", "weights_path"]

ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hair": HAIR,
        "style": STYLES,
        "eyes": EYES,
        "garment": GARMENTS,
        "colour": COLOURS,
        "place": PLACES,
        "hat": ("no", "yes"),
        "glasses": GLASSES,
        "smile": ("no", "yes"),
        "star": ("no", "yes"),
    }
)
"""What the judge tells: attribute -> its labels, in the order of the net's outputs."""

SUBJECT_MARKS = (("hair", "pink"), ("eyes", "green"), ("star", "yes"), ("glasses", "round"))


def weights_path() -> Path:
    """The judge's weights: fp16 safetensors beside this module."""
    return Path(__file__).resolve().parent / "judge.safetensors"


def labels_of(look: Look) -> dict[str, str]:
    """The true label of every attribute of a look."""
    flags = {name: ("no", "yes")[getattr(look, name)] for name in ("hat", "smile", "star")}
    return {name: flags.get(name) or str(getattr(look, name)) for name in ATTRIBUTES}


@dataclass(frozen=True)
class Sighting:
    """What the judge saw in one picture: per attribute the probability of every label (they sum to 1)."""

    chances: Mapping[str, Mapping[str, float]]

    def label(self, attribute: str) -> str:
        """The most likely label of an attribute."""
        chances = self.chances[attribute]
        return max(chances, key=chances.__getitem__)

    def probability(self, attribute: str, label: str) -> float:
        """The probability of one label, in 0..1."""
        return self.chances[attribute][label]

    @property
    def identity(self) -> float:
        """How much this is the subject: mean probability of pink hair, green eyes, star and round glasses."""
        return sum(self.probability(*mark) for mark in SUBJECT_MARKS) / len(SUBJECT_MARKS)

    @property
    def is_subject(self) -> bool:
        """True when all four marks of the subject are more likely than not."""
        return all(self.probability(*mark) > 0.5 for mark in SUBJECT_MARKS)

    def shows(self, tag: str) -> bool:
        """True when every attribute that the tag names has its label on top ("red dress": kind and colour).

        Also understood: "square glasses", "round glasses", "star". An unknown tag raises ValueError.
        """
        return all(self.label(attribute) in wanted for attribute, wanted in _meaning(tag).items())


def _meaning(tag: str) -> dict[str, tuple[str, ...]]:
    special: dict[str, dict[str, tuple[str, ...]]] = {
        "1girl": {}, "hat": {"hat": ("yes",)}, "smile": {"smile": ("yes",)}, "star": {"star": ("yes",)},
        "glasses": {"glasses": ("square", "round")}, "twintails": {"style": ("twintails",)},
    }  # fmt: skip
    if tag in special:
        return special[tag]
    if tag in PLACES:
        return {"place": (tag,)}
    first, _, second = tag.partition(" ")
    if second == "hair" and first in HAIR:
        return {"hair": (first,)}
    if second == "hair" and first in STYLES:
        return {"style": (first,)}
    if second == "eyes" and first in EYES:
        return {"eyes": (first,)}
    if second == "glasses" and first in GLASSES[1:]:
        return {"glasses": (first,)}
    if second in GARMENTS and first in COLOURS:
        return {"garment": (second,), "colour": (first,)}
    raise ValueError(f"{tag!r} is not a tag of the toy world; see lora_forge.toyworld.world.vocabulary()")


class JudgeNet(nn.Module):
    """(B, 3, 64, 64) in [-1, 1] -> (B, 32) raw scores, the heads of ``ATTRIBUTES`` side by side."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.AvgPool2d(2)]
        for width_in, width_out, stride in ((3, 32, 1), (32, 48, 2), (48, 64, 2), (64, 96, 2)):
            layers += [nn.Conv2d(width_in, width_out, 3, stride, 1), nn.GroupNorm(8, width_out), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.mix = nn.Linear(96 * 16, 128)
        self.heads = nn.Linear(128, sum(len(labels) for labels in ATTRIBUTES.values()))

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.heads(nn.functional.silu(self.mix(self.body(pictures))))
        return scores


class Judge:
    """The trained net with names put to its outputs; works on the CPU in fp32."""

    def __init__(self, net: JudgeNet) -> None:
        self._net = net.eval()

    @torch.no_grad()
    def look_at(self, images: Sequence[Image.Image]) -> list[Sighting]:
        """Judge RGB pictures of any size (shrunk to 64x64 by box mean)."""
        found: list[Sighting] = []
        for first in range(0, len(images), 256):
            batch = [_fit(image) for image in images[first : first + 256]]
            scores = self._net(picture_tensor(batch).float() / 127.5 - 1)
            found += [_sighting(row) for row in scores]
        return found


def _fit(image: Image.Image) -> Image.Image:
    if image.size == (64, 64):
        return image
    return image.convert("RGB").resize((64, 64), Image.Resampling.BOX)


def _sighting(scores: Tensor) -> Sighting:
    chances: dict[str, Mapping[str, float]] = {}
    start = 0
    for name, labels in ATTRIBUTES.items():
        chosen = scores[start : start + len(labels)].softmax(0).tolist()
        chances[name] = MappingProxyType(dict(zip(labels, chosen, strict=True)))
        start += len(labels)
    return Sighting(MappingProxyType(chances))


def load_judge(path: Path | None = None) -> Judge:
    """The bundled judge (or the weights at ``path``)."""
    from safetensors.torch import load_file

    net = JudgeNet()
    weights = load_file(str(path or weights_path()))
    net.load_state_dict({name: value.float() for name, value in weights.items()})
    return Judge(net)
