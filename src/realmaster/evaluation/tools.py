"""Weights and servers that metrics ask for: where they are, what is missing, and each loaded once.

Separate from the metrics so that what is absent is known before anything is loaded, and said once with its remedy.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import RealMasterError
from realmaster.evaluation.interpolation import AmtSettings
from realmaster.evaluation.judge_client import JudgeSettings
from realmaster.evaluation.metrics.metric import Requirement

if TYPE_CHECKING:
    from realmaster.evaluation.interpolation import AmtInterpolator, FlowInterpolator
    from realmaster.evaluation.judge import Judge
    from realmaster.evaluation.vision import VisionModel
    from realmaster.models.faces import FaceModel

Tool = Literal["arcface", "dlib", "dino", "dinov2", "amt", "judge"]
_EXTRA = "install it with `pip install 'realmaster[faces]'`"


class ToolSettings(Settings):
    """Where the metrics' weights are; what is absent leaves its metrics absent, with the reason."""

    faces: Path | None = Field(None, description="folder of insightface's ONNX files (det_10g, w600k_r50)")
    dlib: bool = Field(True, description="use dlib for identity where it is installed")
    dino: Path | None = Field(None, description="folder of a DINO in transformers' layout, or hub:OWNER/NAME")
    dinov2: Path | None = Field(None, description="folder of a DINOv2 in transformers' layout, or hub:OWNER/NAME")
    amt: AmtSettings | None = Field(None, description="AMT-S: its code and its weights")
    judge: JudgeSettings | None = Field(None, description="the vision-language judge")
    device: str | None = Field(None, description="of DINO and AMT: cpu, cuda; null is the fastest there is")


class Tools:
    """The tools of a run. What is loaded stays loaded; what cannot be had is found out without loading."""

    def __init__(self, settings: ToolSettings | None = None, *, judge_cache: Path | None = None) -> None:
        """Know where the tools are; nothing is loaded yet."""
        self.settings = settings if settings is not None else ToolSettings()
        self._judge_cache = judge_cache
        self._made: dict[str, Any] = {}
        self._lacking: dict[str, Requirement | None] = {}

    def lacking(self, tool: Tool) -> Requirement | None:
        """Say what a tool lacks on this machine, or None."""
        if tool not in self._lacking:
            self._lacking[tool] = self._find_lacking(tool)
        return self._lacking[tool]

    def identity(self, tool: Tool) -> str:
        """Name a tool so that figures of others are never mixed with its own; empty where it is lacking."""
        if self.lacking(tool) is not None:
            return ""
        if tool == "judge":
            from realmaster.evaluation.judge import name_of

            return name_of(self.settings.judge or JudgeSettings())
        self._load(tool)
        return str(self._made[tool].name)

    def arcface(self) -> FaceModel:
        """Give insightface's models."""
        from realmaster.models.faces_insight import InsightFaces

        folder = self.settings.faces
        assert folder is not None
        return self._once("arcface", lambda: InsightFaces(folder))

    def dlib(self) -> FaceModel:
        """Give dlib's models."""
        from realmaster.models.faces_dlib import DlibFaces

        return self._once("dlib", DlibFaces)

    def vision(self, backbone: Literal["dino", "dinov2"]) -> VisionModel:
        """Give a vision transformer."""
        from realmaster.evaluation.vision import VisionModel

        folder = getattr(self.settings, backbone)
        return self._once(backbone, lambda: VisionModel(folder, device=self.device))

    def amt(self) -> AmtInterpolator:
        """Give AMT-S."""
        from realmaster.evaluation.interpolation import AmtInterpolator

        settings = self.settings.amt
        assert settings is not None
        return self._once("amt", lambda: AmtInterpolator(settings, device=self.device))

    def flow_interpolator(self) -> FlowInterpolator:
        """Give the embedded interpolator."""
        from realmaster.evaluation.interpolation import FlowInterpolator

        return FlowInterpolator()

    def judge(self) -> Judge:
        """Give the judge."""
        from realmaster.evaluation.judge import judge_from

        settings = self.settings.judge
        assert settings is not None
        return self._once("judge", lambda: judge_from(settings, self._judge_cache))

    @property
    def device(self) -> str:
        """Where DINO and AMT run."""
        if self.settings.device is not None:
            return self.settings.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _load(self, tool: Tool) -> None:
        if tool == "dino" or tool == "dinov2":
            self.vision(tool)
        else:
            getattr(self, tool)()

    def _find_lacking(self, tool: Tool) -> Requirement | None:
        """Look for files and packages; then load, so that a broken file is one line in the table and not an end."""
        requirement = getattr(self, f"_lacks_{tool}")()
        if requirement is not None:
            return requirement
        try:
            self._load(tool)
        except RealMasterError as error:
            missing, _, remedy = str(error).rpartition(": ")
            return Requirement(missing or str(error), remedy)
        return None

    def _lacks_arcface(self) -> Requirement | None:
        from realmaster.models.faces_insight import HOW

        if self.settings.faces is None:
            return Requirement("no insightface models (tools.faces)", HOW)
        return None if find_spec("onnxruntime") else Requirement("onnxruntime is not installed", _EXTRA)

    def _lacks_dlib(self) -> Requirement | None:
        if not self.settings.dlib:
            return Requirement("dlib is switched off (tools.dlib)", "set it to true")
        return None if find_spec("dlib") else Requirement("dlib is not installed", _EXTRA)

    def _lacks_dino(self, name: str = "dino") -> Requirement | None:
        from realmaster.evaluation.vision import HOW

        return Requirement(f"no weights (tools.{name})", HOW) if getattr(self.settings, name) is None else None

    def _lacks_dinov2(self) -> Requirement | None:
        return self._lacks_dino("dinov2")

    def _lacks_amt(self) -> Requirement | None:
        how = "clone github.com/MCG-NKU/AMT, convert amt-s.pth as docs/evaluation.md says, and set code and weights"
        return Requirement("no AMT-S (tools.amt)", how) if self.settings.amt is None else None

    def _lacks_judge(self) -> Requirement | None:
        judge = self.settings.judge
        if judge is None:
            return Requirement("no judge (tools.judge)", "set endpoint and model of an OpenAI-compatible server")
        if judge.key_env is not None and judge.key is None:
            how = f"set the variable {judge.key_env}, or key_env to null for a server that wants none"
            return Requirement(f"no key in {judge.key_env}", how)
        return None
