from __future__ import annotations

import numpy as np

from lora_forge.model.philox import normal


def test_it_gives_an_nvidia_cards_numbers() -> None:
    """What ``torch.randn(3, 4, device="cuda")`` gives for seed 0, as AUTOMATIC1111's ``rng_philox.py`` has it."""
    on_the_card = [
        [-0.92466259, -0.42534415, -2.6438457, 0.14518388],
        [-0.12086647, -0.57972564, -0.62285122, -0.32838709],
        [-1.07454231, -0.36314407, -1.67105067, 2.26550497],
    ]
    drawn = normal(0, (3, 4))
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, on_the_card, rtol=0, atol=2e-6)


def test_a_seeds_upper_half_counts_and_the_shape_does_not() -> None:
    low, high = normal(7, (4, 8, 8)), normal(7 + 2**32, (4, 8, 8))
    assert np.abs(low - high).max() > 1
    assert np.array_equal(normal(7, (256,)), low.reshape(-1))


def test_the_numbers_are_normal() -> None:
    drawn = normal(5, (200_000,)).astype(np.float64)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    assert abs((drawn**4).mean() - 3) < 0.1
