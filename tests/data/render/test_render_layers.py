"""The reader of Blender's multilayer EXR files, on a file written by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from realmaster.data.render.film.layers import read_layers


def write_exr(path: Path, channels: dict[str, np.ndarray], *, compression: int = 0, flags: int = 0) -> None:
    """Write channels [H, W] of float32, float16 or uint32, alphabetically, without compression, last line first."""
    kinds = {np.dtype("u4"): 0, np.dtype("f2"): 1, np.dtype("f4"): 2}
    ordered = sorted(channels.items())
    height, width = ordered[0][1].shape
    listed = b"".join(n.encode() + b"\0" + struct.pack("<iIii", kinds[c.dtype], 0, 1, 1) for n, c in ordered) + b"\0"
    attributes = {
        "channels": ("chlist", listed),
        "compression": ("compression", bytes([compression])),
        "dataWindow": ("box2i", struct.pack("<4i", 0, 0, width - 1, height - 1)),
    }
    header = b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | flags)
    for name, (kind, value) in attributes.items():
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    header += b"\0"
    lines = [b"".join(channel[y].tobytes() for _, channel in ordered) for y in range(height)]
    body = b"".join(struct.pack("<ii", y, len(lines[y])) + lines[y] for y in reversed(range(height)))
    path.write_bytes(header + bytes(8 * height) + body)


def test_every_channel_is_read_as_stored(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    channels = {
        "ViewLayer.Depth.Z": generator.normal(size=(5, 7)).astype(np.float32) * 1e10,
        "ViewLayer.Vector.W": generator.normal(size=(5, 7)).astype(np.float16),
        "ViewLayer.IndexOB.X": generator.integers(0, 99, (5, 7)).astype(np.uint32),
    }
    write_exr(tmp_path / "a.exr", channels)
    read = read_layers(tmp_path / "a.exr")
    assert read.keys() == channels.keys()
    for name, channel in channels.items():
        assert read[name].dtype == np.float32
        np.testing.assert_array_equal(read[name], channel.astype(np.float32))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    channels = {"Z": np.zeros((2, 2), np.float32)}
    write_exr(tmp_path / "zip.exr", channels, compression=3)
    with pytest.raises(ValueError, match="without compression"):
        read_layers(tmp_path / "zip.exr")
    write_exr(tmp_path / "parts.exr", channels, flags=0x1000)
    (tmp_path / "no.exr").write_bytes(b"no picture")
    for name in ("parts.exr", "no.exr"):
        with pytest.raises(ValueError, match="single-part"):
            read_layers(tmp_path / name)
