"""Runway Aleph, which exists behind the vendor's API only: upload the render, ask for the edit, wait, fetch it.

Everything goes through the vendor's own package (`pip install 'realmaster[runway]'`): uploads, retries, task
polling. The key comes from the environment and is never written down. A run says what it will cost before anything
is sent, and what was charged stands in each clip's record. The paper compares with the first Aleph (`gen4_aleph`),
which the vendor has replaced by `aleph2`: name the model you can get.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field, model_validator

from realmaster.errors import ConfigError, MediaError, RealMasterError
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, Cost, Frames, RenderedClip
from realmaster.evaluation.baselines.grid import at_rate, resized
from realmaster.evaluation.judge_client import LOOPBACK
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.media.output import temporary
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter
from realmaster.optional import require
from realmaster.types import ClipInfo

_MOST_BYTES = 2 * 2**30  # of a result; more is a mistake


class RunwayError(RealMasterError):
    """The server refused, failed, or gave no video; the message says which, and what to do."""


class AlephSettings(BaselineSettings):
    """The model, the key, and what a second costs."""

    prompt: str = Field(
        "Make this video look like real footage filmed by a camera. Keep every shape, motion, face and the framing.",
        description="the instruction, up to 1000 characters; {caption} is the clip's caption",
    )
    model: str = Field("aleph2", description="the vendor's name of it; the paper's was gen4_aleph")
    key_env: str = Field("RUNWAYML_API_SECRET", description="variable that holds the key")
    endpoint: str | None = Field(None, description="address of the API; null is the vendor's")
    ratio: str | None = Field(None, description="output size as the API names it, such as 1280:720; null leaves it out")
    credits_per_second: float = Field(28.0, ge=0, description="price of a second of video, as the vendor lists it")
    min_credits: float = Field(56.0, ge=0, description="least price of a clip")
    dollars_per_credit: float = Field(0.01, ge=0, description="price of a credit")
    timeout_seconds: float = Field(1800.0, gt=0, description="longest wait for one clip")
    poll_seconds: float = Field(6.0, gt=0, description="between two questions whether a clip is done")

    @model_validator(mode="after")
    def _key_stays_secret(self) -> AlephSettings:
        if self.endpoint is not None:
            address = urlsplit(self.endpoint)
            if address.scheme != "https" and not (address.scheme == "http" and address.hostname in LOOPBACK):
                raise ValueError(f"expected https:// where a key is sent, got {self.endpoint!r}")
        return self


class Aleph(Baseline[AlephSettings]):
    """Edit by instruction, on the vendor's machines."""

    settings_class = AlephSettings
    without_effect = frozenset(
        {
            "key_env",
            "endpoint",
            "credits_per_second",
            "min_credits",
            "dollars_per_credit",
            "timeout_seconds",
            "poll_seconds",
        }
    )

    def __init__(self, settings: AlephSettings, *, device: str | None = None) -> None:
        """Ask nothing yet."""
        super().__init__(settings, device=device)
        self.charged: float | None = None  # credits of the last clip

    def lacking(self) -> Requirement | None:
        """Say that the vendor's package or the key is not here."""
        if find_spec("runwayml") is None:
            return Requirement("runwayml is not installed", "install it with `pip install 'realmaster[runway]'`")
        if not os.environ.get(self.settings.key_env):
            return Requirement(f"no key in {self.settings.key_env}", f"set the variable {self.settings.key_env}")
        return None

    def cost(self, clips: Sequence[ClipInfo]) -> Cost | None:
        """Count seconds by the listed price."""
        settings, credits = self.settings, 0.0
        for info in clips:
            seconds = info.duration_seconds or (info.num_frames or 0) / float(info.frame_rate)
            credits += max(settings.min_credits, seconds * settings.credits_per_second)
        how = f"{len(clips)} clips at {settings.credits_per_second:g} credits a second, listed price: check it"
        return Cost(credits, credits * settings.dollars_per_credit, how)

    def report(self) -> dict[str, Any]:
        """Tell what the last clip was charged."""
        return {} if self.charged is None else {"credits": self.charged}

    def translate(self, clip: RenderedClip) -> Frames:
        """Have the clip edited. A request is sent once: a broken run finds its task again and pays nothing twice."""
        with tempfile.TemporaryDirectory(prefix="realmaster-") as name:
            folder = Path(name)
            sent = _write(folder / "render.mp4", clip)
            video = self._fetch(self._edited(sent, clip), folder / "edited.mp4")
            with open_clip(video) as opened:
                rate = opened.info.frame_rate
                frames = np.concatenate(list(opened.chunks(16)))
        timed = at_rate(frames, rate, Fraction(clip.rate), len(clip.frames))
        return resized(timed, clip.frames.shape[1:3])

    def _edited(self, video: Path, clip: RenderedClip) -> str:
        """Upload, ask, wait; give the address of the result."""
        runway, httpx = require("runwayml", extra="runway"), require("httpx", extra="runway")
        settings = self.settings
        asked: dict[str, Any] = {"model": settings.model, "prompt_text": clip.prompt, "seed": clip.seed % 2**32}
        if settings.ratio is not None:
            asked["ratio"] = settings.ratio
        client = runway.RunwayML(api_key=os.environ.get(settings.key_env), base_url=settings.endpoint)
        try:
            with client:
                task = _known_task(clip.state, asked)
                if task is None:
                    uploaded = client.uploads.create_ephemeral(file=video)
                    once = client.with_options(max_retries=0)  # a lost answer may be a task that is paid for
                    task = once.video_to_video.create(video_uri=uploaded.uri, **asked).id
                    _keep_task(clip.state, asked, task)
                return self._wait(client, task, clip)
        except (runway.AuthenticationError, runway.PermissionDeniedError) as error:
            raise RunwayError(
                f"{clip.name}: the server refused the key ({_words(error)}): check {settings.key_env}"
            ) from error
        except runway.RateLimitError as error:
            raise RunwayError(
                f"{clip.name}: the server's limit is reached ({_words(error)}): run again later, what is done is kept"
            ) from error
        except runway.APIStatusError as error:
            raise RunwayError(f"{clip.name}: the server refused ({_words(error)}): correct the settings") from error
        except (runway.APIError, httpx.HTTPError) as error:
            raise RunwayError(f"{clip.name}: the server did not answer ({_words(error)}): try again later") from error

    def _wait(self, client: Any, task: str, clip: RenderedClip) -> str:
        name, end = clip.name, time.monotonic() + self.settings.timeout_seconds
        while True:
            found = client.tasks.retrieve(task)
            if found.status == "SUCCEEDED":
                self.charged = float(found.cost.credits)
                return str(found.output[0])
            if found.status in ("FAILED", "CANCELLED"):
                reason = getattr(found, "failure", None) or found.status.lower()
                if clip.state is not None:
                    clip.state.unlink(missing_ok=True)
                raise MediaError(f"{name}: the task {task} failed ({reason}): change prompt or clip, or leave it out")
            if time.monotonic() > end:
                raise RunwayError(
                    f"{name}: the task {task} took longer than {self.settings.timeout_seconds:g} s: raise "
                    "timeout_seconds and run again, the task is remembered"
                )
            time.sleep(self.settings.poll_seconds)

    def _fetch(self, address: str, path: Path) -> Path:
        parts = urlsplit(address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise RunwayError(f"expected a result at an https:// address, got {parts.scheme}://: try again later")
        try:
            with urllib.request.urlopen(address, timeout=300) as reply:
                data = reply.read(_MOST_BYTES + 1)
        except (urllib.error.URLError, OSError) as error:
            raise RunwayError(f"expected the edited video, could not fetch it ({error}): run again") from error
        if not data or len(data) > _MOST_BYTES:
            raise MediaError(f"expected an edited video of up to 2 GB, got {len(data)} bytes: try again later")
        path.write_bytes(data)
        return path


def _known_task(state: Path | None, asked: dict[str, Any]) -> str | None:
    """Give the task that a broken run began with the same request."""
    try:
        kept = json.loads(state.read_text(encoding="utf-8")) if state is not None else {}
    except (OSError, ValueError):
        return None
    return str(kept["task"]) if kept.get("asked") == asked and "task" in kept else None


def _keep_task(state: Path | None, asked: dict[str, Any], task: str) -> None:
    if state is not None:
        with temporary(state) as part:
            part.write_text(json.dumps({"asked": asked, "task": task}), encoding="utf-8")


def _write(path: Path, clip: RenderedClip) -> Path:
    """Write the render as the API takes it: H.264 in MP4."""
    _, height, width, _ = clip.frames.shape
    if len(clip.frames) < 2:
        raise ConfigError(f"{clip.name}: expected a video, got one frame: leave the clip out")
    with ClipWriter(path, ClipInfo(width, height, Fraction(clip.rate))) as writer:
        writer.write(clip.frames)
    return path


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
