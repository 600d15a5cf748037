"""CLIP's tokenizer from the package's own files: no network is asked."""

from __future__ import annotations

import unicodedata
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

TOKENIZER_DIR = Path(__file__).resolve().parent / "tokenizer"


@lru_cache(maxsize=1)
def load_tokenizer() -> Any:
    """A transformers CLIPTokenizer (49408 tokens, 77 positions); the same one each time, it keeps no state."""
    tokenizer = CLIPTokenizer.from_pretrained(str(TOKENIZER_DIR), local_files_only=True, model_max_length=77)
    if getattr(tokenizer, "fix_text", "a tokenizer without this habit") is None:
        # transformers 4 without ftfy puts spaces around every Chinese character, which gives other ids than the WebUIs'
        # tokenizer; of what ftfy does, NFC is the part that matters for text that is not garbled.
        tokenizer.fix_text = partial(unicodedata.normalize, "NFC")
    return tokenizer
