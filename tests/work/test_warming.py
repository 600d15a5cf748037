"""The trainer is imported beside everything else, and what is broken there breaks nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WARM = """
import sys
from lora_forge.work.warming import warm
assert "torch" not in sys.modules and "peft" not in sys.modules
{before}
thread = warm()
assert warm() is thread
thread.join()
print("lora_forge.train.run" in sys.modules, "peft" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(("before", "told"), [("", "True True"), ("sys.modules['peft'] = None", "False True")])
def test_the_trainer_is_there_after_a_while_or_not_without_a_word(before: str, told: str) -> None:
    made = subprocess.run(
        [sys.executable, "-c", _WARM.format(before=before)], capture_output=True, text=True, timeout=300
    )
    assert (made.stdout.strip(), made.stderr) == (told, "")
