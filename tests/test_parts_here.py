"""Which libraries are there, missing or broken, in the environment of these tests."""

from __future__ import annotations

from lora_forge import parts


def test_the_real_ones_import_here() -> None:
    """The environment that runs these tests trains, so examining it must find no fault."""
    found = {part.name: part for part in parts.examine(imports=True)}
    needed = {name: (part.state, part.detail) for name, part in found.items() if part.is_needed}
    assert needed == dict.fromkeys(needed, ("present", ""))
