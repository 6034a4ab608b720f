"""RealMaster lifts rendered video into photoreal video and keeps geometry, motion and identity.

Importing this package is free: nothing heavy (torch, diffusers, OpenCV) is loaded until a name that needs it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realmaster.errors import RealMasterError as RealMasterError
    from realmaster.pipelines.translate import Translator as Translator

__version__ = "0.1.0"
__all__ = ["RealMasterError", "Translator", "__version__"]

_LAZY = {"RealMasterError": "realmaster.errors", "Translator": "realmaster.pipelines.translate"}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'realmaster' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
