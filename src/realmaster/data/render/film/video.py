"""Write a clip's frames as H.264: for training without loss that could be seen, or small enough for a repository."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from realmaster.data.render.settings import ClipSettings
from realmaster.media.encode import Encoding
from realmaster.media.output import put_in_place
from realmaster.media.sinks import VideoSink
from realmaster.types import ClipInfo

Frame = npt.NDArray[np.uint8]

FOR_TRAINING = Encoding("libx264", "yuv444p", options={"crf": "10", "preset": "medium"})
FOR_THE_REPOSITORY = Encoding("libx264", "yuv420p", options={"crf": "18", "preset": "veryslow"})


def write_video(path: Path, frames: Iterable[Frame], clip: ClipSettings, encoding: Encoding = FOR_TRAINING) -> float:
    """Write frames, uint8 [H, W, 3] RGB, bt709 with its tags, under a temporary name and then the real one.

    Returns:
        The mean over the frames of their contrast: the standard deviation of all values, 0..127.

    Raises:
        OutputError: the size cannot be encoded. OSError: the file cannot be written.
    """
    info = ClipInfo(width=clip.width, height=clip.height, frame_rate=Fraction(clip.frame_rate))
    sink = VideoSink(path, encoding, info, audio_from=None, audio_start=Fraction(0))
    contrasts = []
    try:
        for frame in frames:
            sink.write(frame)
            contrasts.append(float(frame.std()))
        sink.finish()
        put_in_place(sink.part, sink.target)
    except BaseException:
        sink.drop()
        raise
    return float(np.mean(contrasts))
