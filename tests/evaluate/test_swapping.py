from __future__ import annotations

import pytest

from lora_forge.evaluate.swapping import swapped_prompt

TAG = "<lora:x-NUM:STRENGTH>"


@pytest.mark.parametrize(
    ("prompt", "swaps", "wanted"),
    [
        (f"ohwx, pink hair, 1girl, {TAG}", ("white hair",), f"ohwx, 1girl, white hair, {TAG}"),
        (f"ohwx, 1girl, blue dress, beach {TAG}", ("snow", "red dress"), f"ohwx, 1girl, snow, red dress, {TAG}"),
        (f"ohwx, white hair, {TAG}", ("white hair",), f"ohwx, white hair, {TAG}"),
        (f"ohwx, (black hair), {TAG}, smile", ("white hair",), f"ohwx, white hair, {TAG}, smile"),
        ("ohwx, long hair, indoors", ("short hair", "outdoors"), "ohwx, short hair, outdoors"),
        (f"ohwx, blue eyes, black hair, {TAG}", ("white hair",), f"ohwx, blue eyes, white hair, {TAG}"),
        (f"{TAG}", ("snow",), f"snow, {TAG}"),
        (f"{TAG}, ohwx", ("snow",), f"snow, {TAG}, ohwx"),
        (f"ohwx, {TAG} <lora:more:0.5>, red_dress", ("white_dress",), f"ohwx, white_dress, {TAG}, <lora:more:0.5>"),
    ],
)
def test_a_swap_never_stands_beside_its_opposite(prompt: str, swaps: tuple[str, ...], wanted: str) -> None:
    assert swapped_prompt(prompt, swaps) == wanted
