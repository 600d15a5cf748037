"""Which WebUI we were loaded into."""

from __future__ import annotations

import importlib.util
import sys

from lora_forge.host.webui import WebUIHost


def find_host() -> WebUIHost | None:
    """The host of the program around us, None outside of any.

    By what can be imported: Forge's memory manager, then ComfyUI's under reForge's name, then A1111's modules alone.
    Loads no network and no checkpoint.
    """
    if not _is_there("modules.sd_models") or not _is_there("modules.call_queue"):
        return None
    if _is_there("backend.memory_management") and _is_there("modules_forge.main_entry"):
        from lora_forge.host.forge import ForgeHost

        return ForgeHost()
    if _is_there("ldm_patched.modules.model_management") and _is_there("modules_forge.forge_version"):
        from lora_forge.host.comfy import ComfyHost

        return ComfyHost()
    from lora_forge.host.a1111 import A1111Host

    return A1111Host()


def _is_there(name: str) -> bool:
    """Whether a module is imported already, or could be; its parent packages are imported to look."""
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # no such parent; or a parent that is no package
        return False
