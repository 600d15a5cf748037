"""A host's settings as the way previews are drawn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lora_forge.host.drawing_way import drawing_way
from lora_forge.ports import DrawingWay


def test_what_a_host_has_no_setting_for_is_as_in_a1111() -> None:
    assert drawing_way(SimpleNamespace(), False) == DrawingWay()
    assert drawing_way(SimpleNamespace(randn_source="GPU", sigma_min=0.0, rho=0.0), True) == DrawingWay(
        whole_timesteps=True
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"randn_source": "NV"}, {"noise_source": "NV"}),
        ({"randn_source": "CPU"}, {"noise_source": "CPU"}),
        ({"randn_source": "new"}, {}),
        ({"randn_source": "NV", "forge_try_reproduce": "ComfyUI"}, {"noise_source": "CPU"}),
        ({"randn_source": "NV", "forge_try_reproduce": "WebUI 1.5"}, {"noise_source": "NV"}),
        ({"enable_quantization": True}, {"whole_timesteps": True}),
        ({"use_old_karras_scheduler_sigmas": True}, {"sigma_min": 0.1, "sigma_max": 10.0}),
        ({"use_old_karras_scheduler_sigmas": True, "sigma_max": 12}, {"sigma_min": 0.1, "sigma_max": 12.0}),
        ({"sigma_min": 0.05, "rho": 5}, {"sigma_min": 0.05, "rho": 5.0}),
        ({"sigma_min": None, "rho": -1}, {}),
        ({"always_discard_next_to_last_sigma": True}, {"drops_penultimate": True}),
        ({"sgm_noise_multiplier": True}, {"has_whole_noise": True}),
    ],
)
def test_settings_that_are_there(options: dict[str, Any], expected: dict[str, Any]) -> None:
    assert drawing_way(SimpleNamespace(**options), False) == DrawingWay(**expected)
