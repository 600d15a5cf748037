"""Tags proposed by networks: WD, PixAI and CL taggers as ONNX files, interrogators, and what becomes of their scores.

::

    models.py        taggers on disk, known or dropped in; their fingerprints
    labels.py        the lists beside them
    pixels.py        photos as each maker wants them
    onnx_tagger.py   the network, run by onnxruntime
    scores.py        scores remembered by content
    picking.py       thresholds and lists: from scores to captions, pure
    overlaps.py      tags that another one says already
    running.py       a whole project, with progress and a stop; previews without a model
"""

from __future__ import annotations

from lora_forge.dataset.taggers.errors import TaggerError
from lora_forge.dataset.taggers.interrogators import Interrogator
from lora_forge.dataset.taggers.labels import Label
from lora_forge.dataset.taggers.models import TaggerFolder, find_taggers, tagger_in
from lora_forge.dataset.taggers.onnx_tagger import OnnxTagger
from lora_forge.dataset.taggers.picking import MODES, Mode, PickOptions, Scored, merge, pick
from lora_forge.dataset.taggers.running import Preview, RunOptions, Write, preview, run
from lora_forge.dataset.taggers.scores import ScoreCache
from lora_forge.dataset.taggers.tagger import Tagger, Thresholds

__all__ = [
    "MODES",
    "Interrogator",
    "Label",
    "Mode",
    "OnnxTagger",
    "PickOptions",
    "Preview",
    "RunOptions",
    "ScoreCache",
    "Scored",
    "Tagger",
    "TaggerError",
    "TaggerFolder",
    "Thresholds",
    "Write",
    "find_taggers",
    "merge",
    "pick",
    "preview",
    "run",
    "tagger_in",
]
