"""What a plan is told of the transfer: a time measured by the code that will do it."""

from __future__ import annotations

import pytest

from realmaster.models.profiles import load_profile
from realmaster.pipelines import carry_time
from realmaster.pipelines.carry import Carrier
from realmaster.types import VideoShape


@pytest.mark.parametrize("profile", ["nano", "wan2.1-1.3b"])
@pytest.mark.parametrize("size", [(1, 1), (36, 64), (300, 20)])
def test_a_frame_of_any_size_takes_some_time(profile: str, size: tuple[int, int]) -> None:
    assert carry_time.time_carrying(load_profile(profile), VideoShape(9, *size)) > 0


def test_of_a_large_frame_a_smaller_one_is_tried_and_its_time_grows_as_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried, carry = [], Carrier.carry
    monkeypatch.setattr(Carrier, "carry", lambda self, *call: tried.append(call[0].frames.shape) or carry(self, *call))
    monkeypatch.setattr(carry_time.time, "perf_counter", iter([10.0, 16.0]).__next__)
    monkeypatch.setattr(carry_time, "_PIXELS", 64 * 36)
    assert carry_time.time_carrying(load_profile("nano"), VideoShape(9, 72, 128)) == pytest.approx(3.0 * 4)
    assert {shape[1:3] for shape in tried} == {(36, 64)}
