"""How the WebUI around us draws by its settings, for previews that look as its own pictures will."""

from __future__ import annotations

from typing import Any

from lora_forge.ports import DrawingWay

_SOURCES = ("GPU", "CPU", "NV")
_IMITATED = ("ComfyUI", "DrawThings")  # Forge's forge_try_reproduce: both draw their noise on the CPU
_OLD_KARRAS = (0.1, 10.0)


def drawing_way(options: Any, whole_timesteps: bool) -> DrawingWay:
    """From ``shared.opts``; what a host has no setting for is as in AUTOMATIC1111.

    ``whole_timesteps``: the host rounds always; AUTOMATIC1111 where "quantization in K samplers" is on.
    """
    source = str(getattr(options, "randn_source", "GPU"))
    if getattr(options, "forge_try_reproduce", "None") in _IMITATED:
        source = "CPU"
    least, most = _OLD_KARRAS if getattr(options, "use_old_karras_scheduler_sigmas", False) else (0.0, 0.0)
    return DrawingWay(
        noise_source=source if source in _SOURCES else "GPU",
        whole_timesteps=whole_timesteps or bool(getattr(options, "enable_quantization", False)),
        sigma_min=_number(options, "sigma_min") or least,
        sigma_max=_number(options, "sigma_max") or most,
        rho=_number(options, "rho"),
        drops_penultimate=bool(getattr(options, "always_discard_next_to_last_sigma", False)),
        has_whole_noise=bool(getattr(options, "sgm_noise_multiplier", False)),
    )


def _number(options: Any, name: str) -> float:
    """0 is the default; what is no positive number is taken for it."""
    value = getattr(options, name, 0)
    return float(value) if isinstance(value, (int, float)) and value > 0 else 0.0
