"""The exact pairs score what docs/evaluation.md says, so that nobody changes a definition without noticing."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.evaluation.metrics import colour_change, edge_agreement, psnr, ssim

Frames = npt.NDArray[np.uint8]


def frames_of(path: Path) -> Frames:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.mark.dev
def test_the_untouched_engine_clips_of_the_test_split_score_the_published_figures(shared: Path) -> None:
    rows = [json.loads(line) for line in (shared / "pairs" / "test.jsonl").read_text().splitlines()]
    scores = []
    for row in rows:
        engine, camera = (frames_of(shared / "pairs" / row[key]) for key in ("reference_video", "video"))
        edges = edge_agreement(engine[::6], camera[::6])
        change = colour_change(engine[::6], camera[::6])
        scores.append((psnr(engine, camera), ssim(engine, camera), edges.recall, edges.f1, change))
    mean_psnr, mean_ssim, recall, f1, change = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(15.46, abs=0.01)
    assert mean_ssim == pytest.approx(0.575, abs=0.001)
    assert 0.68 <= recall <= 0.75
    assert 0.70 <= f1 <= 0.78
    assert change == pytest.approx(17.0, abs=0.5)
