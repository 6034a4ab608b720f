"""The running average of trained weights: what is validated and shipped, where the trained ones are still noisy.

Separate because nano's own loop and the adapter's run keep it alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An exponential average of named parameters: a_i = d a_{i-1} + (1 - d) w_i, with d lower in the first steps."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        """Begin at the parameters as they are."""
        self.parameters, self.decay = dict(parameters), decay
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, index: int) -> None:
        """Take in the parameters after optimizer step `index`, counted from 0."""
        decay = min(self.decay, (1 + index) / (10 + index))
        for name, parameter in self.parameters.items():
            self.weights[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def keep(self) -> None:
        """Leave the average in the parameters for good."""
        for name, parameter in self.parameters.items():
            parameter.copy_(self.weights[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average into the parameters, and the trained ones back afterwards."""
        trained = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.keep()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(trained[name])
