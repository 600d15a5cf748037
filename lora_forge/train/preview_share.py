"""Which of the due previews are drawn, so that drawing takes no more than a share of a run's time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from time import perf_counter


def fits(share: float, spent_s: float, each_s: float, run_s: float) -> bool:
    """Whether a preview of ``each_s`` is drawn now, ``run_s`` into a run of which previews took ``spent_s`` (in it).

    Room is kept for the one at the run's end, so that with both of them drawing stays within ``share`` of a run that
    ends right after it. A share of 0 is no limit.
    """
    return share <= 0 or spent_s + 2 * each_s <= share * (run_s + each_s)


def expected_s(share: float, due: int, first_s: float, each_s: float, steps_s: float) -> float:
    """About how long a run whose steps take ``steps_s`` draws: ``due`` previews, the last one with them.

    The first takes ``first_s`` (it draws the base too). The first and the last are drawn whatever they take.
    """
    if due < 1:
        return 0.0
    every = first_s + (due - 1) * each_s
    if share <= 0:
        return every
    always = first_s + (each_s if due > 1 else 0.0)
    return min(every, max(always, share / (1 - share) * steps_s))


class PreviewBudget:
    """The time of one call of a run: what went by, and what of it were previews.

    A run that is resumed begins to count anew, so its first due preview is drawn.
    """

    def __init__(self, share: float, prompts: int = 1, now: Callable[[], float] | None = None) -> None:
        """``prompts``: pictures of a preview; the first preview draws the base beside them. ``now``: seconds of a clock
        that never goes back."""
        self._share, self._now = share, now or perf_counter
        self._first_part = prompts / (prompts + 1)
        self._began, self._aside_s = self._now(), 0.0
        self._spent_s, self._last_s = 0.0, 0.0

    def allows(self) -> bool:
        """Whether the next due preview is drawn, judged by what the latest one took; the first always is."""
        run_s = self._now() - self._began - self._aside_s
        return not self._spent_s or fits(self._share, self._spent_s, self._last_s, run_s)

    @property
    def last_s(self) -> float:
        """What the latest due preview took, without the base."""
        return self._last_s

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Around a due preview."""
        began = self._now()
        try:
            yield
        finally:
            seconds = self._now() - began
            self._last_s = seconds if self._spent_s else seconds * self._first_part
            self._spent_s += seconds

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Around what counts neither as the run's time nor as a preview's: a pause, a picture that was asked for."""
        began = self._now()
        try:
            yield
        finally:
            self._aside_s += self._now() - began
