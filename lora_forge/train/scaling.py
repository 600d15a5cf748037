"""Loss scaling for fp16.

Our own scaler, because torch's is bound to one device kind in the versions hosts ship, and because its whole state is
two numbers that a resumed run can restore.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LossScaler:
    """Dynamic loss scale (arXiv 1710.03740, section 3.2): halved on overflow, doubled after a calm stretch.

    Off (scale 1, never changed) unless the network computes in fp16.
    """

    is_on: bool
    scale: float = 65536.0
    calm_steps: int = 0
    growth_interval: int = 2000

    @property
    def factor(self) -> float:
        """What the loss is multiplied with before backward."""
        return self.scale if self.is_on else 1.0

    def update(self, is_finite: bool) -> None:
        """Take in whether this step's gradients were finite."""
        if not self.is_on:
            return
        if not is_finite:
            self.scale, self.calm_steps = self.scale / 2, 0
            return
        self.calm_steps += 1
        if self.calm_steps == self.growth_interval:
            self.scale, self.calm_steps = self.scale * 2, 0
