"""Tiny clips of every kind, made at run time; colour is computed here in floats, independently of swscale."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

KR_KB = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
MATRIX_CODE = {"rgb": 0, "bt709": 1, None: 2, "bt601": 6, "bt2020": 9}


def chart(height: int = 48, width: int = 64, patch: int = 16, seed: int = 0) -> Array:
    """Flat patches of random colours, black and white among them: uint8 [H, W, 3]."""
    rows, columns = -(-height // patch), -(-width // patch)
    colors = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    colors[0, 0], colors[-1, -1] = 0, 255
    return np.ascontiguousarray(colors.repeat(patch, 0).repeat(patch, 1)[:height, :width])


def numbered(num_frames: int, height: int = 32, width: int = 32) -> Array:
    """Grey frames that tell their index below 60: level 10 + 4 * index, and a white top left quarter."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:] = 10 + 4 * (index % 60)
        frame[: height // 2, : width // 2] = 250
    return frames


def read_numbers(frames: Array) -> list[int]:
    """Tell the indices of frames made by `numbered`."""
    return [round((float(frame[-4:, -4:].mean()) - 10) / 4) for frame in frames]


def to_yuv(rgb: Array, matrix: str, *, full_range: bool, bits: int = 8) -> list[Array]:
    """Planes Y, Cb, Cr of RGB in 0..255 (or 0..1 floats), by the textbook formula."""
    kr, kb = KR_KB[matrix]
    red, green, blue = np.moveaxis(rgb.astype(np.float64) / (255 if rgb.dtype == np.uint8 else 1), -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    planes = [luma, (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
    unit = 2 ** (bits - 8)
    if full_range:
        scaled = [planes[0] * (2**bits - 1)] + [p * (2**bits - 1) + 128 * unit for p in planes[1:]]
    else:
        scaled = [(16 + 219 * planes[0]) * unit] + [(128 + 224 * p) * unit for p in planes[1:]]
    return [np.clip(np.rint(p), 0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16) for p in scaled]


def video_frame(planes: Sequence[Array], pixel_format: str) -> av.VideoFrame:
    """A frame from planes [h, w] (or packed [h, w, c]) in the pixel format's own order."""
    height, width = planes[0].shape[:2]
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(values).view(np.uint8).reshape(values.shape[0], -1)
        rows[: data.shape[0], : data.shape[1]] = data
        plane.update(rows.tobytes())
    return frame


def write_video(
    path: Path,
    frames: Sequence[av.VideoFrame | Array],
    *,
    rate: Fraction | int = 16,
    encoder: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    times: Sequence[Fraction] | None = None,
    time_base: Fraction | None = None,
    matrix: str | None = "bt709",
    full_range: bool | None = False,
    transfer: int = 1,
    primaries: int = 1,
    pixel_aspect: Fraction | None = None,
    display_matrix: Sequence[int] | None = None,
    audio: tuple[str, int, Array] | None = None,
    pixel_format: str | None = None,
) -> Path:
    """Write frames as they are (RGB arrays go through `pixel_format`, yuv420p by default) with the tags asked for.

    `audio` is (encoder, sample rate, float samples [n]).
    """
    if encoder == "libx264" and options is None:
        options = {"preset": "ultrafast", "qp": "1"}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(encoder, rate=rate, options=options or {})
        first = frames[0]
        is_array = isinstance(first, np.ndarray)
        context = stream.codec_context
        context.width, context.height = (first.shape[1], first.shape[0]) if is_array else (first.width, first.height)
        context.pix_fmt = (pixel_format or "yuv420p") if is_array else first.format.name
        context.time_base = time_base or 1 / Fraction(rate)
        context.colorspace = MATRIX_CODE[matrix]
        context.color_range = {None: 0, False: 1, True: 2}[full_range]
        context.color_trc, context.color_primaries = transfer, primaries
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect
        if display_matrix is not None:
            stream.set_display_matrix(display_matrix)
        sound = container.add_stream(audio[0], rate=audio[1], layout="mono") if audio else None
        for index, content in enumerate(frames):
            if is_array:
                content = av.VideoFrame.from_ndarray(content, format="rgb24").reformat(
                    format=context.pix_fmt, dst_colorspace=1, src_color_range=2, dst_color_range=1
                )
            content.pts = index if times is None else round(times[index] / context.time_base)
            content.time_base = context.time_base
            container.mux(stream.encode(content))
        container.mux(stream.encode(None))
        if sound is not None and audio is not None:
            container.mux(_encode_sound(sound, audio[2], audio[1]))
    return path


def _encode_sound(stream: Any, samples: Array, rate: int) -> list[Any]:
    packets = []
    kind = stream.codec_context.format.name
    for begin in range(0, len(samples), 1024):
        block = samples[None, begin : begin + 1024].astype(np.float32)
        if kind.startswith("s16"):
            block = (block * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(block, format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def write_exr(path: Path, rgb: Array, *, half: bool = False, alpha: Array | None = None) -> Path:
    """Write linear floats [H, W, 3] as an EXR image."""
    planes = [rgb[..., 1], rgb[..., 2], rgb[..., 0]] + ([] if alpha is None else [alpha])
    name = "gbrpf32le" if alpha is None else "gbrapf32le"
    frame = video_frame([plane.astype(np.float32) for plane in planes], name)
    frame.pts = 0
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("exr", rate=1, options={"format": "half" if half else "float"})
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, name
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
