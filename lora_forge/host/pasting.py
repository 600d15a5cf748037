"""txt2img of a WebUI: an infotext is put there the way the WebUI's own "Send to" buttons do it."""

from __future__ import annotations

import json
from typing import Any


class WebUITxt2Img:
    """Pastes into the host's txt2img (:class:`lora_forge.ui.around.Txt2Img`)."""

    def bind(self, button: Any, textbox: Any) -> None:
        """Pressing ``button`` pastes ``textbox`` and goes to txt2img. To be called while the host builds its tabs."""
        from modules import infotext_utils

        infotext_utils.register_paste_params_button(
            infotext_utils.ParamBinding(
                paste_button=button, tabname="txt2img", source_text_component=textbox, source_image_component=None
            )
        )

    def completed(self, infotext: str) -> str:
        """``infotext`` with the person's own settings where it names none.

        What an infotext does not name, the hosts read as their default: someone with clip skip 2 would get a chip
        "Clip skip: 1" and other pictures than their own. Each setting that pasting would override so is added as it is.
        """
        from modules import infotext_utils, shared

        *lines, last = infotext.split("\n")
        read = infotext_utils.parse_generation_parameters(infotext, [])
        for name, setting, _ in infotext_utils.get_override_settings(read):
            if f"{name}: " not in last:
                last = f"{name}: {_quoted(getattr(shared.opts, setting))}, {last}"
        return "\n".join([*lines, last])


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(char in text for char in ',:\n"') else text
