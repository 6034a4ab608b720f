"""Our figures of time are VBench's own, by its code: where the variables VBENCH and AMT name checkouts of the two.

Skipped elsewhere: neither can be installed as a package (github.com/Vchitect/VBench, github.com/MCG-NKU/AMT; no weights
are needed, random ones are read by both).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from safetensors.torch import save_file

from realmaster.evaluation.interpolation import AmtInterpolator, AmtSettings, _importable
from realmaster.evaluation.metrics.motion_smoothness import motion_smoothness
from realmaster.evaluation.metrics.temporal_flickering import temporal_flickering

Frames = npt.NDArray[np.uint8]
pytestmark = [pytest.mark.slow]


@pytest.fixture
def vbench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """VBench's modules, importable one by one: the package as a whole asks for far more than its two metrics do."""
    checkout = Path(os.environ.get("VBENCH", ""))
    if not (checkout / "vbench" / "motion_smoothness.py").is_file():
        pytest.skip("needs a checkout of VBench, named by the variable VBENCH")
    package, utils, omegaconf = ModuleType("vbench"), ModuleType("vbench.utils"), ModuleType("omegaconf")
    package.__path__ = [str(checkout / "vbench")]
    utils.load_dimension_info = None  # type: ignore[attr-defined]  # of its list of prompts
    network = yaml.safe_load((checkout / "vbench/third_party/amt/cfgs/AMT-S.yaml").read_text())["network"]
    load = SimpleNamespace(load=lambda path: SimpleNamespace(network=Config(network)))
    omegaconf.OmegaConf = load  # type: ignore[attr-defined]
    before, paths = set(sys.modules), list(sys.path)
    for module in (package, utils, omegaconf):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield checkout
    sys.path[:] = paths
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("vbench", "networks", "utils"):
            sys.modules.pop(name, None)


class Config(dict[str, Any]):
    """A mapping whose keys are attributes too, as OmegaConf's are."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@pytest.fixture
def clip(save: Callable[..., Path], make_scene: Callable[..., Frames]) -> Path:
    """A moving clip whose sides are no multiple of the network's."""
    return save("clip.mp4", make_scene(num_frames=7, height=150, width=250, speed=2.0))


def test_temporal_flickering_is_vbenchs(vbench: Path, clip: Path) -> None:
    theirs = import_module("vbench.temporal_flickering")
    frames = np.stack(theirs.get_frames(str(clip)))
    assert temporal_flickering(frames) == pytest.approx(theirs.cal_score(str(clip)), abs=1e-7)


def test_motion_smoothness_is_vbenchs(vbench: Path, clip: Path, tmp_path: Path) -> None:
    code = Path(os.environ.get("AMT", ""))
    if not (code / "networks" / "AMT-S.py").is_file():
        pytest.skip("needs a checkout of AMT, named by the variable AMT")
    torch.manual_seed(0)
    with _importable(code):
        weights = import_module("networks.AMT-S").Model(corr_radius=3, corr_lvls=4, num_flows=3).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "amt-s.pth")
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "amt-s.safetensors")

    theirs = import_module("vbench.motion_smoothness")
    judge = theirs.MotionSmoothness(
        str(vbench / "vbench/third_party/amt/cfgs/AMT-S.yaml"), tmp_path / "amt-s.pth", "cpu"
    )
    frames = np.stack(theirs.FrameProcess().get_frames(str(clip)))
    ours = AmtInterpolator(AmtSettings(code=code, weights=tmp_path / "amt-s.safetensors"))
    assert motion_smoothness(frames, ours) == pytest.approx(float(judge.motion_score(str(clip))), abs=1e-7)
