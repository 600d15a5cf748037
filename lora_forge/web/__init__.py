"""JSON routes under /lora_forge/ behind the host's own login, and photos kept from the host's file routes."""

from __future__ import annotations

from lora_forge.web.exposure import exposure_warning, is_exposed
from lora_forge.web.guard import login_of
from lora_forge.web.protection import protect
from lora_forge.web.routes import mount
from lora_forge.web.uploads import UploadLimits

__all__ = ["UploadLimits", "exposure_warning", "is_exposed", "login_of", "mount", "protect"]
