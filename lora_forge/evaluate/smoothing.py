"""What a score is at a cell, when its few pictures are read together with those of the cells around it.

One picture a cell is a noisy thing to choose by. Epochs and strengths lie in order, so a Gaussian process over the two
(Rasmussen and Williams, 2006, chapters 2 and 5) gives for every cell a mean and what is not known of it, whether it was
drawn or not. How far cells resemble each other along either axis, and how much of the differences is noise, is
found from the scores themselves by their marginal likelihood. With many pictures the noise is small, and the means are
the measured ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lora_forge.evaluate.scores import Cell, Measure

Array = npt.NDArray[np.float64]

LEAST_CELLS = 6
"""Fewer scored cells than this tell nothing of their neighbourhood: their means are taken as they are."""

_LENGTHS = (0.15, 0.3, 0.6, 1.2)
"""How far, in shares of an axis, cells still resemble each other."""
_SPREADS = (0.03, 0.1, 0.2, 0.4)
"""Standard deviation of the surface about its mean."""
_NOISES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
"""Standard error of a cell, in shares of the measured one, which is on the careful side."""
_JITTER = 1e-9


@dataclass(frozen=True)
class Smoothed:
    """One score at cells. ``mean`` (n,), held in 0..1; ``covariance`` (n, n) of what is not known of it."""

    mean: Array
    covariance: Array


def smooth(measures: Mapping[Cell, Measure], cells: Sequence[Cell]) -> Smoothed:
    """The score at each of ``cells``, from what was measured (at least one cell, baseline left out)."""
    return _smooth(tuple(sorted(measures.items(), key=lambda one: one[0])), tuple(cells))


@lru_cache(maxsize=64)  # a page asks again and again for the same test
def _smooth(measured: tuple[tuple[Cell, Measure], ...], cells: tuple[Cell, ...]) -> Smoothed:
    measures, known = dict(measured), [cell for cell, _ in measured]
    values = np.array([measures[cell].mean for cell in known])
    counts = np.array([measures[cell].count for cell in known], dtype=np.float64)
    variances = np.array([measures[cell].standard_error ** 2 for cell in known])
    if len(known) < LEAST_CELLS:
        return _as_measured(dict(zip(known, zip(values, variances, strict=True), strict=True)), cells)
    noise = float(np.mean(variances * counts)) / counts
    middle = float(np.average(values, weights=counts))
    places, wanted = np.split(_places([*known, *cells]), [len(known)])
    lengths, spread, share = _fit(places, values - middle, float(np.mean(noise)))
    return _posterior(places, values, share**2 * noise, wanted, lengths, spread)


def _as_measured(known: Mapping[Cell, tuple[float, float]], cells: Sequence[Cell]) -> Smoothed:
    values = [value for value, _ in known.values()]
    other = (float(np.mean(values)), float(np.var(values)) + float(np.mean([error for _, error in known.values()])))
    found = [known.get(cell, other) for cell in cells]
    return Smoothed(np.array([value for value, _ in found]), np.diag([error for _, error in found]))


def _places(cells: Sequence[Cell]) -> Array:
    """(n, 2): epoch and strength, each in shares of its span."""
    raw = np.array(cells, dtype=np.float64)
    spans = raw.max(axis=0) - raw.min(axis=0)
    places: Array = (raw - raw.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    return places


def _kernel(a: Array, b: Array, lengths: Sequence[float]) -> Array:
    """Matern 5/2: smooth, yet it can follow the edge where a run breaks."""
    apart = (a[:, None, :] - b[None, :, :]) / np.array(lengths)
    r = np.sqrt(5.0 * np.sum(apart**2, axis=2))
    kernel: Array = (1.0 + r + r**2 / 3.0) * np.exp(-r)
    return kernel


def _fit(places: Array, values: Array, noise: float) -> tuple[tuple[float, float], float, float]:
    """Lengths, spread and share of the measured error with the highest marginal likelihood.

    The noise is taken as the same everywhere here, so that one decomposition serves all spreads and noises.
    """
    best: tuple[float, tuple[float, float], float, float] = (-np.inf, (0.3, 0.3), 0.2, 1.0)
    spreads, shares = np.array(_SPREADS)[:, None, None], np.array(_NOISES)[None, :, None]
    for across in _LENGTHS:
        for down in _LENGTHS:
            eigenvalues, vectors = np.linalg.eigh(_kernel(places, places, (across, down)))
            turned = vectors.T @ values
            scales = spreads**2 * np.maximum(eigenvalues, 0.0) + shares**2 * noise + _JITTER
            fits = -0.5 * np.sum(np.log(scales) + turned**2 / scales, axis=2)
            at = np.unravel_index(int(np.argmax(fits)), fits.shape)
            if fits[at] > best[0]:
                best = (float(fits[at]), (across, down), _SPREADS[at[0]], _NOISES[at[1]])
    return best[1:]


def _posterior(
    places: Array, values: Array, noise: Array, wanted: Array, lengths: Sequence[float], spread: float
) -> Smoothed:
    """Means and covariance at ``wanted``; the mean of the whole surface is estimated along (section 2.7)."""
    lower = np.linalg.cholesky(spread**2 * _kernel(places, places, lengths) + np.diag(noise + _JITTER))
    whitened_ones = np.linalg.solve(lower, np.ones(len(places)))
    whitened = np.linalg.solve(lower, values)
    level = float(whitened_ones @ whitened / (whitened_ones @ whitened_ones))
    between = np.linalg.solve(lower, spread**2 * _kernel(places, wanted, lengths))
    mean = level + between.T @ (whitened - level * whitened_ones)
    left = 1.0 - between.T @ whitened_ones
    covariance = spread**2 * _kernel(wanted, wanted, lengths) - between.T @ between
    covariance = covariance + np.outer(left, left) / (whitened_ones @ whitened_ones)
    return Smoothed(np.clip(mean, 0.0, 1.0), covariance)
