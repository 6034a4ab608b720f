"""Features of a vision transformer (DINO, DINOv2) for every patch of a frame.

Separate from the metrics so that the frames' way into the model is stated once: short side 224, sides cut to whole
patches, the model's own mean and deviation, positions interpolated.

Letters: F frames, N patches, D width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MissingWeightsError

Clip = npt.NDArray[np.uint8]  # [F, H, W, 3]
_SHORT_SIDE = 224
_BATCH = 8
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, where the folder does not say
_HUB = "hub:"
_FILES = ["config.json", "preprocessor_config.json", "*.safetensors"]  # nothing that would have to be unpickled
HOW = (
    "name a folder with facebook/dino-vits16 or facebook/dinov2-base in transformers' layout (safetensors), or "
    "hub:OWNER/NAME to fetch one"
)


class Features(NamedTuple):
    """Of one clip."""

    patches: Any  # tensor [F, N, D], last layer, normalised by the model
    keys: Any  # tensor [F, N, D], keys of the last layer's attention


class VisionModel:
    """A transformers ViT, DINOv2 or relative, from a folder or the hub."""

    def __init__(self, place: Path, *, device: str = "cpu") -> None:
        """Load the model from a folder, or fetch it where `place` is hub:OWNER/NAME or hub:OWNER/NAME@REVISION.

        Raises:
            MissingWeightsError: there is no vision transformer in the folder, or none to be had from the hub.
        """
        from transformers import AutoModel

        folder = find_folder(place)
        check_folder(folder)
        try:
            with _no_bar():
                model = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
            self._patch = int(model.config.patch_size)
            keys = [module for name, module in model.named_modules() if name.endswith((".key", ".k_proj"))]
            self._last_key = keys[-1]
        except (OSError, ValueError, AttributeError, IndexError, TypeError) as error:
            raise MissingWeightsError(
                f"{folder}: expected a vision transformer, transformers could not load one "
                f"({str(error).splitlines()[0]}): {HOW}"
            ) from error
        self._model = model.eval().requires_grad_(False).to(device)
        self._mean, self._deviation = _normalisation(folder)
        self._device = device
        self.name = identity_of(folder, str(place) if is_on_hub(place) else folder.name)

    def features(self, frames: Clip) -> Features:
        """Compute features: uint8 [F, H, W, 3] to [F, N, D], on the model's device."""
        import torch

        patches, keys, caught = [], [], []
        handle = self._last_key.register_forward_hook(lambda module, inputs, output: caught.append(output))
        try:
            with torch.inference_mode():
                for start in range(0, len(frames), _BATCH):
                    pixels, count = self._pixels(frames[start : start + _BATCH])
                    names = {} if "dinov2" in self._model.config.model_type else {"interpolate_pos_encoding": True}
                    output = self._model(pixel_values=pixels, **names).last_hidden_state
                    patches.append(output[:, -count:].float())  # tokens for class and registers come first
                    keys.append(caught.pop()[:, -count:].float())
        finally:
            handle.remove()
        return Features(torch.cat(patches), torch.cat(keys))

    def _pixels(self, frames: Clip) -> tuple[Any, int]:
        """Bring frames to the model: float [f, 3, h, w], and the number of patches."""
        import torch

        scale = _SHORT_SIDE / min(frames.shape[1:3])
        height, width = (max(1, round(side * scale / self._patch)) for side in frames.shape[1:3])
        size = (width * self._patch, height * self._patch)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        resized = np.stack([cv2.resize(frame, size, interpolation=interpolation) for frame in frames])
        unit = (resized.astype(np.float32) / 255.0 - self._mean) / self._deviation
        return torch.from_numpy(unit.astype(np.float32).transpose(0, 3, 1, 2).copy()).to(self._device), height * width


def check_folder(folder: Path) -> None:
    """Refuse a folder without a model.

    Raises:
        MissingWeightsError: config.json or the safetensors file is missing.
    """
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise MissingWeightsError(f"{folder}: expected config.json and model.safetensors, found neither or one: {HOW}")


def is_on_hub(place: Path) -> bool:
    """Tell a model on the hub from a folder."""
    return str(place).startswith(_HUB)


def find_folder(place: Path) -> Path:
    """Give a model's folder; from the hub it is fetched into the hub's cache, once.

    Raises:
        MissingWeightsError: the hub cannot be reached, or has no such model.
    """
    if not is_on_hub(place):
        return place
    from huggingface_hub import snapshot_download

    name, _, revision = str(place).removeprefix(_HUB).partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_FILES))
    except (OSError, ValueError) as error:  # the hub's errors are kinds of these
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise MissingWeightsError(f"{place}: expected to fetch it, could not ({reason}): {HOW}") from error


def identity_of(folder: Path, name: str) -> str:
    """Name a model, with the digest of its configuration and weights."""
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:  # the header and the first weights tell two checkpoints apart
            digest.update(str(file.stat().st_size).encode() + stream.read(1 << 20))
    return f"{name} ({digest.hexdigest()[:12]})"


@contextmanager
def _no_bar() -> Iterator[None]:
    """Keep transformers' progress bar off the terminal: only the command line prints."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


def _normalisation(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    file = folder / "preprocessor_config.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    mean, deviation = values.get("image_mean") or _MEAN, values.get("image_std") or _DEVIATION
    return np.array(mean, np.float32), np.array(deviation, np.float32)
