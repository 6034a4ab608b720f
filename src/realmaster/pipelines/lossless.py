"""Whether a file keeps the numbers of segments as they were: a number that is off by one names another segment.

Separate from `segments`, which reads numbers and cannot see that they were changed before.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from realmaster.errors import MediaError
from realmaster.media.convert import FrameColor
from realmaster.media.exr import is_lossy_exr
from realmaster.media.probe import opened, probe, video_stream

_LOSSLESS = {"ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "rawvideo", "png", "apng", "qtrle", "gif"}


def refuse_lossy_image(path: Path) -> None:
    """Refuse an image of ids that is stored with loss: JPEG, and the lossy kinds of WebP, TIFF and EXR.

    Raises:
        MediaError: it is stored with loss.
    """
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        raise _lossy(path, "JPEG")
    if suffix == ".webp" and path.is_file() and not _is_lossless_webp(path.read_bytes()):
        raise _lossy(path, "lossy WebP")
    if suffix == ".exr" and path.is_file() and is_lossy_exr(path):
        raise _lossy(path, "an EXR with B44 or DWA compression")
    if suffix in (".tif", ".tiff") and path.is_file():
        try:
            with Image.open(path) as image:
                compression = str(image.info.get("compression", ""))
        except (OSError, ValueError, SyntaxError):
            return  # whoever reads it says what is wrong
        if compression in ("jpeg", "tiff_jpeg", "webp"):
            raise _lossy(path, f"a TIFF with {compression} compression")


def refuse_lossy_video(path: Path) -> None:
    """Refuse a video of ids whose codec, colours or depth change the numbers.

    Raises:
        MediaError: it is no video, or does not keep whole numbers from 0 to 255.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        codec = str(stream.codec_context.codec.canonical_name)
        is_lossless = codec in _LOSSLESS or (codec == "h264" and is_lossless_h264(stream.codec_context.extradata))
    if not is_lossless:
        raise _lossy(path, f"the codec {codec}")
    frame = probe(path).decoded
    if any(component.bits > 8 for component in frame.format.components):
        raise _lossy(path, f"{frame.format.name}, which would be rounded to 8 bits")
    if not FrameColor.of(frame).is_full_range:
        raise _lossy(path, f"{frame.format.name} of limited range, in which 256 numbers became 220")


def is_lossless_h264(extradata: bytes | None) -> bool:
    """Tell whether H.264 was written without loss, by the flag that says so in its sequence parameters.

    The flag (qpprime_y_zero_transform_bypass_flag of ITU-T H.264, 7.3.2.1.1) lets blocks pass untransformed; x264 sets
    it only when all of them do.
    """
    data = extradata or b""
    begin = 8 if data[:1] == b"\x01" else data.find(b"\0\0\1\x67") + 3  # in mp4 and mkv, or as a bare stream
    if begin < 3 or data[begin : begin + 2] != b"\x67\xf4":  # parameters of the profile High 4:4:4 Predictive
        return False
    bits = _Bits(data[begin + 4 :])
    bits.unsigned()  # number of the parameters
    if bits.unsigned() == 3:  # 4:4:4
        bits.take(1)
    bits.unsigned()  # depth of luma
    bits.unsigned()  # depth of chroma
    return bits.take(1) == 1


class _Bits:
    """Bits from the highest on; zeros follow the end."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data[:16]) + "1" + "0" * 64
        self._place = 0

    def take(self, count: int) -> int:
        value = self._bits[self._place : self._place + count]
        self._place += count
        return int(value or "0", 2)

    def unsigned(self) -> int:
        """Read an Exp-Golomb number."""
        zeros = 0
        while zeros < 32 and self.take(1) == 0:
            zeros += 1
        return (1 << zeros) - 1 + (self.take(zeros) if zeros else 0)


def _is_lossless_webp(data: bytes) -> bool:
    """Look for a lossy picture among the chunks behind the first 12 bytes: name, size, content padded to even."""
    place = 12
    while place + 8 <= len(data):
        if data[place : place + 4] in (b"VP8 ", b"ANMF"):
            return False
        place += 8 + (int.from_bytes(data[place + 4 : place + 8], "little") + 1) // 2 * 2
    return True


def _lossy(path: Path, found: str) -> MediaError:
    return MediaError(
        f"{path}: expected ids that are stored without loss, found {found}: export them as PNG, .npz, or a lossless "
        "video (FFV1, grey or RGB)"
    )
