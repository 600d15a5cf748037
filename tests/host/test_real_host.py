"""A real WebUI: the extension in a folder of its own, the program started, the contract run inside it.

    LORA_FORGE_WEBUI=/path/to/stable-diffusion-webui LORA_FORGE_WEBUI_PYTHON=.../venv/bin/python \\
    LORA_FORGE_WEBUI_ARGS="--use-cpu all --no-half" python -m pytest -m host tests/host

``LORA_FORGE_WEBUI_ARGS``: flags that this machine needs to run it (for Forge on a CPU ``--always-cpu``). The folder is
only read: settings, pictures, LoRAs and extensions are in a temporary ``--data-dir``; checkpoints come from the
folder's models/Stable-diffusion (two of them, if changing is to be tested). Its Python must have our dependencies, as
install.py adds them; we install nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.host import contract
from tests.host.real_program import IS_FORGE, MARKS, WEBUI, Program

pytestmark = MARKS


def test_what_is_shared_and_what_it_costs(program: Program) -> None:
    """Every tensor; less than 60 MB more resident memory."""
    figures = program.call("/lora_forge_test/figures")
    print(json.dumps(figures, indent=1))
    assert all(shared == count > 0 for shared, count in figures["shared"].values())
    assert figures["extra_mb"] < 60


@pytest.mark.parametrize("rule", [rule.__name__ for rule in contract.RULES])
def test_contract(rule: str, program: Program) -> None:
    program.run(rule)


@pytest.mark.parametrize(("accident", "stage"), contract.ACCIDENTS)
def test_an_accident_leaves_no_trace(accident: str, stage: str, program: Program) -> None:
    program.run("an_accident_leaves_no_trace", accident, stage)


@pytest.mark.parametrize("stage", contract.STAGES)
def test_a_killed_thread_leaves_no_trace(stage: str, program: Program) -> None:
    program.run("a_killed_thread_leaves_no_trace", stage)


def test_memory_returns(program: Program) -> None:
    """To within 50 MB, once the libraries are loaded and the allocator is warm."""
    program.run("a_run_that_is_done_leaves_no_trace")
    assert program.run("a_run_that_is_done_leaves_no_trace")["left_mb"] < 50


def test_a_change_of_checkpoint_waits(program: Program) -> None:
    if len(list((Path(WEBUI) / "models" / "Stable-diffusion").glob("*.safetensors"))) < 2:
        pytest.skip("one checkpoint only")
    program.run("a_change_of_checkpoint_comes_afterwards" if IS_FORGE else "a_change_of_checkpoint_waits")


def test_low_bits(program: Program) -> None:
    """Plain floats of eight bits are trained on, what is quantized otherwise is refused."""
    if IS_FORGE:
        program.run("low_bits_are_refused")
        program.run("low_bits_are_trained_on")
    else:
        program.run("eight_bits_are_trained_on")


def test_a_baked_file_draws_what_its_strength_drew(program: Program) -> None:
    program.run("a_baked_file_draws_what_its_strength_drew")
