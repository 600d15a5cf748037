"""What a WebUI runs at each start and after "Install from URL": adds diffusers and peft where they are absent.

Standard library only. Nothing that is installed is changed, whatever happens the exit code is 0, and nothing is
printed when all is there. It imports neither the WebUI nor LoRA Forge: the pins come from ``lora_forge/parts.py``,
loaded by its path, which imports nothing of ours. Optional libraries wait for the button in the tab.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import sys
import time
from types import ModuleType

HERE = os.path.dirname(os.path.abspath(__file__))
STAMP = os.path.join(HERE, ".install-failed.json")
DAY_S = 24 * 3600
LIMIT_S = 300


def main() -> None:
    """One line is printed unless all is there."""
    try:
        line = run()
    except Exception as problem:  # noqa: BLE001 - a host's start must not end here, and its own console is all we have
        line = f"install.py stopped ({type(problem).__name__}: {problem}); the tab shows what is missing."
    if line:
        text = "LoRA Forge: " + " ".join(line.split())
        print(text.encode("ascii", "backslashreplace").decode("ascii"), flush=True)


def run() -> str:
    """What there is to say, or an empty text."""
    if sys.version_info < (3, 10):  # noqa: UP036 - some forks still start on older ones
        return f"needs Python 3.10 or newer, this WebUI runs {sys.version.split()[0]}."
    parts = load_parts()
    absent = parts.missing()
    if not absent:
        return ""
    wanted = parts.requirements(absent)
    names = ", ".join(wanted)
    if "--skip-install" in shlex.split(os.environ.get("COMMANDLINE_ARGS", "")):
        return f"{names} missing and not installed (--skip-install); the tab has a button for it."
    # The folder may serve two WebUIs, so a failure counts for this Python and this wish alone.
    wish = {"python": sys.executable, "wanted": wanted, "index": os.environ.get("INDEX_URL", "")}
    if failed_lately(wish):
        return f"{names} still missing; not tried again within a day of the last failure, the tab has a button for it."
    outcome = parts.add(absent, LIMIT_S)
    if outcome.is_done:
        forget()
    else:
        remember(wish)
    return str(outcome.sentence)


def load_parts() -> ModuleType:
    """``lora_forge/parts.py`` without the package around it."""
    path = os.path.join(HERE, "lora_forge", "parts.py")
    spec = importlib.util.spec_from_file_location("lora_forge_install_parts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def failed_lately(wish: dict[str, object]) -> bool:
    """Whether the same wish failed within a day; a clock that was set back does not count."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        return bool(stamp["wish"] == wish and 0 <= time.time() - stamp["failed_at"] < DAY_S)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remember(wish: dict[str, object]) -> None:
    """Note a failure; in a folder that can't be written the next start simply tries again."""
    with contextlib.suppress(OSError), open(STAMP, "w", encoding="utf-8") as file:
        json.dump({"wish": wish, "failed_at": time.time()}, file)


def forget() -> None:
    """The next failure is a new one."""
    with contextlib.suppress(OSError):
        os.remove(STAMP)


if __name__ == "__main__":
    main()
