"""A tagger's network, run by onnxruntime: on the CPU, or on what onnxruntime offers besides when that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.models import STAGES, TaggerFolder
from lora_forge.dataset.taggers.pixels import PIXAI_STAGES, Prepare, cl_pixels, read_stages, staged, wd_pixels
from lora_forge.errors import MissingPartError
from lora_forge.i18n import Said, word

CPU = "CPUExecutionProvider"
FASTER = ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider", "DmlExecutionProvider")
"""Best first. Not CoreML, which offers itself for the Swin model and then fails on it; not TensorRT, which builds for
minutes."""
SIDE_PX, BATCH = 448, 4
_AGAIN = word("Download it again; a file may have been cut off.")


class OnnxTagger:
    """A folder's network, loaded. ``is_fast``: try the graphics card first, and say nothing if there is none.

    Raises:
        MissingPartError: onnxruntime is not installed.
        TaggerError: the model can't be loaded, or its list has another number of tags.
    """

    def __init__(self, folder: TaggerFolder, *, is_fast: bool = False) -> None:
        self.id, self.fingerprint = folder.id, folder.fingerprint
        self.labels: Sequence[Label] = folder.labels()
        self._session = _load(folder, is_fast)
        taken = self._session.get_inputs()[0]
        self._input, shape = taken.name, list(taken.shape)
        self._output, self._is_logits = _output(self._session, folder)
        self.batch_size = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else BATCH
        self._is_fixed = bool(shape) and isinstance(shape[0], int) and shape[0] > 0
        self._prepare = _preparation(folder, shape)
        self.device: str = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        count = self._session.get_outputs()[self._place()].shape[-1]
        self._refuse_other_list(folder, count if isinstance(count, int) else len(self.labels))

    def score(self, images: Sequence[Image.Image]) -> npt.NDArray[np.float32]:
        """(B, L) in 0..1.

        Raises:
            TaggerError: the model failed on these photos.
        """
        batch = np.stack([self._prepare(image) for image in images])
        if self._is_fixed and len(batch) < self.batch_size:
            batch = np.concatenate([batch, np.zeros((self.batch_size - len(batch), *batch.shape[1:]), np.float32)])
        try:
            found = self._session.run([self._output], {self._input: batch})[0]
        except Exception as cause:  # onnxruntime's own exceptions share no base that could be named without it
            raise TaggerError("The tagger {id} failed: {cause}.", _AGAIN, id=self.id, cause=_line(cause)) from cause
        scores = np.asarray(found, dtype=np.float32).reshape(len(batch), -1)[: len(images)]
        if scores.shape[1] != len(self.labels):
            raise _other_list(self.id, scores.shape[1], len(self.labels))
        return _sigmoid(scores) if self._is_logits else scores

    def _place(self) -> int:
        return [output.name for output in self._session.get_outputs()].index(self._output)

    def _refuse_other_list(self, folder: TaggerFolder, count: int) -> None:
        if count != len(self.labels):
            raise _other_list(folder.id, count, len(self.labels))


def providers(available: Sequence[str], is_fast: bool) -> list[str]:
    """onnxruntime's names, best first, the CPU always last; the CPU alone unless something faster is asked for."""
    return [*(name for name in FASTER if is_fast and name in available), CPU]


def _load(folder: TaggerFolder, is_fast: bool) -> Any:
    try:
        import onnxruntime
    except ImportError as cause:
        raise MissingPartError(
            "Tagging needs onnxruntime, which is not installed.",
            "Install it under Libraries at the top of the page, or by: lora-forge doctor.",
        ) from cause
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # of this session alone
    asked = providers(onnxruntime.get_available_providers(), is_fast)
    try:
        return _session(onnxruntime, folder, options, asked)
    except TaggerError:
        if asked == [CPU]:
            raise
        return _session(onnxruntime, folder, options, [CPU])


def _session(onnxruntime: Any, folder: TaggerFolder, options: Any, names: Sequence[str]) -> Any:
    try:
        return onnxruntime.InferenceSession(str(folder.model_path), sess_options=options, providers=names)
    except Exception as cause:  # as above
        raise TaggerError(
            "The tagger {id} can't be loaded: {cause}.", _AGAIN, id=folder.id, cause=_line(cause)
        ) from cause


def _output(session: Any, folder: TaggerFolder) -> tuple[str, bool]:
    """(name of the output with a score a tag, whether they are logits)."""
    names = [output.name for output in session.get_outputs()]
    if folder.layout == "pixai":
        for name in ("prediction", "output"):
            if name in names:
                return name, False
        return ("logits", True) if "logits" in names else (names[0], False)
    return names[0], folder.layout == "cl"


def _preparation(folder: TaggerFolder, shape: Sequence[Any]) -> Prepare:
    sides = [side for side in shape[1:] if isinstance(side, int) and side > 4]
    side = sides[0] if sides else SIDE_PX
    if folder.layout == "cl":
        return lambda image: cl_pixels(image, side)
    if folder.layout == "pixai":
        path = folder.folder / STAGES
        return staged(read_stages(path) if path.is_file() else PIXAI_STAGES)
    if len(shape) == 4 and shape[1] == 3:
        raise TaggerError(
            "How photos are prepared for {id} is not known: it takes colours first, and no preprocess.json lies by it.",
            "Copy its maker's preprocess.json into {folder}.",
            id=folder.id,
            folder=folder.folder,
        )
    return lambda image: wd_pixels(image, side)


def _other_list(id: str, outputs: int, names: int) -> TaggerError:
    return TaggerError(
        "The tagger {id} has {outputs} outputs and its list {names} names: they do not belong together.",
        "Take both files from the same place.",
        id=id,
        outputs=outputs,
        names=names,
    )


def _sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80, dtype=np.float32))), dtype=np.float32)


def _line(cause: Exception) -> object:
    """The first line of what onnxruntime says, which goes on for pages."""
    lines = str(cause).strip().splitlines()
    return lines[0][:200] if lines else Said(word("no reason given"))
