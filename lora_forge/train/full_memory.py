"""Full memory: how it is told from other errors, and where in a run it happened. No torch.

torch reports it as a RuntimeError of many kinds; the words are nearly the same on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lora_forge.errors import TrainingError

_WORDS = (
    *("out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "out_of_memory"),
    "out_of_device_memory",
)
# file and function of ours (or torch's) -> stage; of the frames of an error the innermost known one counts
_STAGES = {
    ("latents.py", "_draw"): "encode",
    ("encoding.py", "read"): "encode",
    ("encoding.py", "begin"): "encode",
    ("encoding.py", "finish"): "encode",
    ("text.py", "encode"): "text",
    ("text.py", "encode_rows"): "text",
    ("step.py", "_backward"): "forward",
    ("validation.py", "loss"): "forward",
    ("_tensor.py", "backward"): "backward",
    ("step.py", "_move"): "optimizer",
    ("network.py", "weights"): "save",
    ("saving.py", "save_state"): "save",
    ("saving.py", "_save_lora"): "save",
    ("preview.py", "draw_preview"): "preview",
}
_WHOLE = ("preview", "save")  # whatever happens within them: a preview encodes text too


@dataclass(frozen=True)
class FullMemory:
    """``stage``: ``encode``, ``text``, ``forward``, ``backward``, ``optimizer``, ``preview``, ``save`` or empty.
    ``cause``: the first line of the library's own words. It holds no frame, and so no tensor."""

    stage: str
    cause: str

    @classmethod
    def of(cls, error: BaseException) -> FullMemory:
        """What ``error`` tells."""
        root = _chain(error)[-1]
        return cls(stage_of(error), (str(root).splitlines() or [type(root).__name__])[0] or type(root).__name__)

    def error(self) -> TrainingError:
        """For when nothing more can be lowered."""
        return TrainingError(
            "The memory is full ({cause}).",
            "Turn on gradient_checkpointing, lower batch_size or resolution_px, or close other programs; then resume.",
            cause=self.cause,
        )


def is_full(error: BaseException) -> bool:
    """Whether memory ran out, by the error or by what caused it: numpy's and Pillow's are MemoryErrors."""
    root = _chain(error)[-1]
    return isinstance(root, MemoryError) or (isinstance(root, RuntimeError) and _says_so(root))


def stage_of(error: BaseException) -> str:
    """The stage of a step in which ``error`` was raised, by the functions it came through."""
    stage = ""
    for one in _chain(error):
        trace = one.__traceback__
        while trace is not None:
            found = _STAGES.get(_place(trace), "")
            stage = stage if stage in _WHOLE else found or stage
            trace = trace.tb_next
    return stage


def _chain(error: BaseException) -> list[BaseException]:
    """``error``, what caused it, and so on."""
    chain = [error]
    while chain[-1].__cause__ is not None and chain[-1].__cause__ not in chain:
        chain.append(chain[-1].__cause__)
    return chain


def _says_so(error: BaseException) -> bool:
    return any(words in str(error).lower() for words in _WORDS)


def _place(trace: TracebackType) -> tuple[str, str]:
    code = trace.tb_frame.f_code
    return Path(code.co_filename).name, code.co_name
