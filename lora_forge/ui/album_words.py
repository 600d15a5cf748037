"""Words of the generalisation test: a picture for each scene, beside real photos."""

from __future__ import annotations

from lora_forge.i18n import word

ALBUM_WORDS = {
    "title": word("Generalisation test"),
}
