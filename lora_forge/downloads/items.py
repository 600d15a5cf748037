"""What can be downloaded: taggers and face packs, with their files, sizes, checksums, source and licence.

Sizes and SHA-256 are those of the makers' own files at the revision in the address. A file without a checksum is
looked at instead (:mod:`lora_forge.downloads.checks`), and its size is about right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lora_forge.downloads.checks import DownloadError
from lora_forge.i18n import word

Kind = Literal["tagger", "faces"]
HUB, RELEASES = "https://huggingface.co", "https://github.com"

INSIGHTFACE_TERMS = word(
    "The makers of InsightFace give these models for non-commercial research only: the code is MIT, the trained models "
    "are not, whether they are downloaded by hand or by a program. For any commercial use ask them for a licence."
)


@dataclass(frozen=True)
class RemoteFile:
    """``name``: in the item's folder. ``path``: behind the host. ``sha256`` empty: not known, and the size is rough."""

    name: str
    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class Item:
    """One thing that can be downloaded as a whole.

    ``folder``: its place in the folder of models. ``source``: what a person would look up. ``unpacks``: the names of
    the files in the one archive that ``files`` then holds. ``terms``: what must be accepted before; empty for a free
    licence.
    """

    id: str
    name: str
    kind: Kind
    host: str
    source: str
    files: tuple[RemoteFile, ...]
    licence: str
    licence_url: str
    folder: str
    unpacks: tuple[str, ...] = ()
    terms: str = ""

    @property
    def size_bytes(self) -> int:
        """Of all files together, as they travel."""
        return sum(file.size_bytes for file in self.files)

    @property
    def is_archive(self) -> bool:
        """Whether what travels is a zip of the files that are kept."""
        return bool(self.unpacks)

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the files that make it complete."""
        return self.unpacks or tuple(file.name for file in self.files)


_WD_TAGS = (308_468, "298633d94d0031d2081c0893f29c82eab7f0df00b08483ba8f29d1e979441217")
_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"


def _hub_item(id: str, name: str, repository: str, revision: str, files: tuple[tuple[str, str, int, str], ...]) -> Item:
    """``files``: (name here, name there, bytes, sha256)."""
    return Item(
        id=id,
        name=name,
        kind="tagger",
        host=HUB,
        source=f"{HUB}/{repository}",
        files=tuple(
            RemoteFile(here, f"/{repository}/resolve/{revision}/{there}", size, sha) for here, there, size, sha in files
        ),
        licence="Apache-2.0",
        licence_url=_APACHE,
        folder=f"taggers/{id}",
    )


def _wd(kind: str, name: str, revision: str, size_bytes: int, sha256: str) -> Item:
    id = f"wd-{kind}-tagger-v3"
    files = (("model.onnx", "model.onnx", size_bytes, sha256), ("selected_tags.csv", "selected_tags.csv", *_WD_TAGS))
    return _hub_item(id, name, f"SmilingWolf/{id}", revision, files)


def _pack(id: str, name: str, size_bytes: int, sha256: str, files: tuple[str, ...]) -> Item:
    return Item(
        id=id,
        name=name,
        kind="faces",
        host=RELEASES,
        source=f"{RELEASES}/deepinsight/insightface",
        files=(
            RemoteFile(f"{id}.zip", f"/deepinsight/insightface/releases/download/v0.7/{id}.zip", size_bytes, sha256),
        ),
        licence="InsightFace, non-commercial research only",
        licence_url=f"{RELEASES}/deepinsight/insightface#license",
        folder=f"insightface/models/{id}",
        unpacks=files,
        terms=INSIGHTFACE_TERMS,
    )


_SMALL = ("det_500m.onnx", "w600k_mbf.onnx")
_EXTRAS = ("1k3d68.onnx", "2d106det.onnx", "genderage.onnx")

ITEMS: tuple[Item, ...] = (
    _wd(
        "vit",
        "WD ViT v3 (lightest)",
        "7f6b584d0bd3f55c4531f14ba3d4761b2bccdc0f",
        378_536_310,
        "35f23693620b668f4d53fd3c62bf65e40af739bc52c7eb0fbc49258b58d065b6",
    ),
    _wd("convnext", "WD ConvNeXt v3", "d39e46de298d27340111b64965e20b8185c407e6", 395_000_000, ""),
    _wd(
        "swinv2",
        "WD SwinV2 v3 (what most use)",
        "627aef95638667ddcaa3ac8ae625e88ea5b02f51",
        467_460_978,
        "e6774bff34d43bd49f75a47db4ef217dce701c9847b546523eb85ff6dbba1db1",
    ),
    _wd(
        "vit-large",
        "WD ViT-Large v3",
        "ae469aa2e4706a3af08d3673cf73a11d1add314c",
        1_260_645_673,
        "e4c8001b000a6c98f2db10794f7c406daa79873d071d6ca924330fa053fa1845",
    ),
    _wd(
        "eva02-large",
        "WD EVA02-Large v3 (best of the family)",
        "b25b82a03f7282e41aa2f257a52c7583b710bd1c",
        1_260_435_999,
        "9e768793060c7939b277ccb382783e8670e8a042d29d77aa736be0c8cc898bfc",
    ),
    _hub_item(
        "pixai-tagger-v0.9-onnx",
        "PixAI v0.9 (knows most characters)",
        "deepghs/pixai-tagger-v0.9-onnx",
        "d8cf666911a2c3d10d586d7823259192313c7eb7",
        (
            (
                "model.onnx",
                "model.onnx",
                1_271_365_854,
                "a8d479098b5e23f253543c93df42391736abbb77c21c2efd3a513b9cda7b3657",
            ),
            (
                "selected_tags.csv",
                "selected_tags.csv",
                596_868,
                "76b5dd39354a7a4d9baefb94d63b44a09a4934ee15303b7eb86c38f2128eb68a",
            ),
            (
                "preprocess.json",
                "preprocess.json",
                557,
                "5f8303626704053724fa7ac19cd269f57f5f843b6cca314276c8c4d48d335975",
            ),
        ),
    ),
    _hub_item(
        "cl_tagger_1_02",
        "CL Tagger 1.02",
        "cella110n/cl_tagger",
        "0b6e9b4e145b1423bfd1715119074a24a301b471",
        (
            (
                "model.onnx",
                "cl_tagger_1_02/model.onnx",
                1_425_860_192,
                "1459e946ffc083159015e0eb26239016349ddd36c3daecfeb70bfa4ccf38b944",
            ),
            (
                "tag_mapping.json",
                "cl_tagger_1_02/tag_mapping.json",
                4_088_861,
                "9611988482f1bf9a174622c0067d0baa88fda69c0a855cc500411426e77832ec",
            ),
        ),
    ),
    _pack(
        "buffalo_l",
        "buffalo_l (faces, precise)",
        288_621_354,
        "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
        (*_EXTRAS, "det_10g.onnx", "w600k_r50.onnx"),
    ),
    _pack(
        "buffalo_s",
        "buffalo_s (faces, small)",
        127_607_557,
        "d85a87f503f691807cd8bb97128bdf7a0660326cd9cd02657127fa978bab8b5e",
        (*_EXTRAS, *_SMALL),
    ),
    _pack(
        "buffalo_sc",
        "buffalo_sc (faces, smallest)",
        14_969_382,
        "57d31b56b6ffa911c8a73cfc1707c73cab76efe7f13b675a05223bf42de47c72",
        _SMALL,
    ),
    _pack(
        "antelopev2",
        "antelopev2 (faces, newest)",
        360_662_982,
        "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5",
        (*_EXTRAS, "glintr100.onnx", "scrfd_10g_bnkps.onnx"),
    ),
)


def item_of(id: str, items: tuple[Item, ...] = ITEMS) -> Item:
    """The item called ``id``.

    Raises:
        DownloadError: there is none.
    """
    for item in items:
        if item.id == id:
            return item
    known = ", ".join(item.id for item in items)
    raise DownloadError("There is nothing called {id!r} to download.", "Known are: {known}.", id=id, known=known)
