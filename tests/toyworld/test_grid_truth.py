"""One short run from its photos to the recommended cell, for real: trained, drawn, scored, and held against the truth.

The ten recorded runs of ``test_recorded_grids`` were made by the same functions.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_forge.toyworld import checkpoint_path

EPOCHS, STRENGTHS = 4, (0.0, 0.5, 1.0)


@pytest.mark.slow
@pytest.mark.once
def test_a_short_run_is_read_as_it_truly_is(tmp_path: Path) -> None:
    """Four epochs of the third good way; what whole runs give stands in benchmarks/README.md."""
    pytest.importorskip("diffusers")
    from benchmarks.toyworld_grids import config_of, draw, grid_of, train_run
    from benchmarks.toyworld_scores import judging_of, own_pictures, score_pictures, truths
    from lora_forge.evaluate.recommend import recommend
    from lora_forge.evaluate.scores import BASELINE, surface_of
    from lora_forge.host.standalone import StandaloneHost
    from lora_forge.toyworld.judge import load_judge

    host, eye = StandaloneHost(checkpoint_path(), most_pictures=64), load_judge()
    config = config_of("good", seed=2, epochs=EPOCHS)
    train_run(config, tmp_path, host)
    grid = grid_of(config, tmp_path, strengths=STRENGTHS)
    draw(grid, host, eye)
    surface = surface_of(
        grid.plan, score_pictures(grid.plan, own_pictures(grid), judging_of(tmp_path / "project").judge)
    )
    truth = truths(grid, eye)
    best = recommend(surface)
    assert surface[BASELINE].identity is not None
    assert surface[BASELINE].identity.mean < 0.4
    assert best.strength == 1.0
    assert truth[best.epoch, best.strength].quality >= max(one.quality for one in truth.values()) - 0.1
    assert truth[best.epoch, best.strength].identity >= 0.7
    assert truth[best.epoch, best.strength].obedience >= 0.9
