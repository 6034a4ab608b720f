"""Motion priors: what the frame between two others should look like, by AMT-S or by optical flow.

Separate from the metric that asks, because the two priors must never meet in one column: each carries its name. AMT-S
is the user's: its code and weights are for non-commercial use, so both are read from the user's own folder.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import ConfigError, MissingWeightsError, NumericalError
from realmaster.evaluation.metrics.frames import grey
from realmaster.media.motion import follow, registration

Frame = npt.NDArray[np.uint8]
_MULTIPLE = 16  # AMT wants sides that divide by this; the border is repeated
CONVERT = "docs/evaluation.md has the line that converts amt-s.pth to safetensors"


class Interpolator(Protocol):
    """Makes the frame in the middle of two."""

    name: str

    def middle(self, start: Frame, end: Frame) -> Frame:
        """Make the middle frame: uint8 [H, W, 3] each."""


class FlowInterpolator:
    """Both frames moved half way along their optical flow (DIS, full resolution), and averaged."""

    name = "DIS flow"

    def middle(self, start: Frame, end: Frame) -> Frame:
        """Make the middle frame: uint8 [H, W, 3] each, sides of 32 pixels and more."""
        a, b = grey(start), grey(end)
        forward, backward = registration(a, b), registration(b, a)
        # the motion at a pixel of the middle frame is taken from the same pixel of its neighbours
        halves = follow(start, -0.5 * forward), follow(end, -0.5 * backward)
        return np.asarray(np.clip(np.rint((halves[0] + halves[1]) / 2), 0, 255), np.uint8)


class AmtSettings(Settings):
    """Where AMT-S is."""

    code: Path = Field(description="a checkout of AMT, which holds networks/AMT-S.py")
    weights: Path = Field(description="amt-s.pth converted to .safetensors")


class AmtInterpolator:
    """AMT-S, as VBench runs it: corr_radius 3, corr_lvls 4, num_flows 3, the middle at time 1/2, no down-scaling."""

    def __init__(self, settings: AmtSettings, *, device: str = "cpu") -> None:
        """Load code and weights.

        Raises:
            MissingWeightsError: code or weights are not there, or do not fit each other.
        """
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        check_amt(settings)
        try:
            with _importable(settings.code):
                network = import_module("networks.AMT-S").Model(corr_radius=3, corr_lvls=4, num_flows=3)
            network.load_state_dict(load_file(settings.weights))
        except (ImportError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
            raise MissingWeightsError(
                f"{settings.weights}: expected weights of {settings.code}/networks/AMT-S.py, could not load them "
                f"({str(error).splitlines()[0]}): {CONVERT}"
            ) from error
        self._network: Any = network.eval().requires_grad_(False).to(device)
        self._device = torch.device(device)
        self.name = f"AMT-S ({hashlib.sha256(settings.weights.read_bytes()).hexdigest()[:12]})"

    def middle(self, start: Frame, end: Frame) -> Frame:
        """Make the middle frame: uint8 [H, W, 3] each.

        Raises:
            NumericalError: the network gave NaN or infinity.
        """
        import torch

        a, b = (self._tensor(frame) for frame in (start, end))  # [1, 3, H', W']
        height, width = start.shape[:2]
        top, left = (a.shape[-2] - height) // 2, (a.shape[-1] - width) // 2
        with torch.inference_mode():
            time = torch.full((1, 1, 1, 1), 0.5, device=self._device)
            made = self._network(a, b, time, scale_factor=1.0, eval=True)["imgt_pred"]
        if not torch.isfinite(made).all():
            raise NumericalError(
                f"{self.name}: expected a finite frame, got NaN or infinity: its sides have to be 128 px and more"
            )
        made = made[0, :, top : top + height, left : left + width].clamp(0, 1) * 255.0
        return np.asarray(made.permute(1, 2, 0).cpu().numpy(), np.uint8)  # cut, not rounded, as VBench does

    def _tensor(self, frame: Frame) -> Any:
        import torch

        tensor = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].to(self._device, torch.float32) / 255.0
        down, right = -frame.shape[0] % _MULTIPLE, -frame.shape[1] % _MULTIPLE
        pad = (right // 2, right - right // 2, down // 2, down - down // 2)
        return torch.nn.functional.pad(tensor, pad, mode="replicate")


def check_amt(settings: AmtSettings) -> None:
    """Refuse folders without code or weights.

    Raises:
        MissingWeightsError: with what was expected there.
        ConfigError: the weights are no safetensors file, and nothing else is read.
    """
    if not (settings.code / "networks" / "AMT-S.py").is_file():
        raise MissingWeightsError(
            f"{settings.code}: expected networks/AMT-S.py there, found none: clone github.com/MCG-NKU/AMT and name it"
        )
    if settings.weights.suffix != ".safetensors":
        raise ConfigError(f"{settings.weights}: expected a .safetensors file, got another kind: {CONVERT}")
    if not settings.weights.is_file():
        raise MissingWeightsError(f"{settings.weights}: expected the weights of AMT-S, found none: {CONVERT}")


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let AMT's own imports (`networks`, `utils`) be found while it is loaded, and take them away again."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("networks", "utils"):
                del sys.modules[name]
