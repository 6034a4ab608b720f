"""The one tree of errors.

Every message finishes the sentence: what was expected, what came, what to do. The library raises; `cli/` prints the
message as one line and exits with `exit_code`.
"""

from __future__ import annotations


class RealMasterError(Exception):
    """Anything RealMaster refuses to do, with the reason and the remedy in one line."""

    exit_code = 2


class MediaError(RealMasterError):
    """A file that cannot be read or written as video or images."""


class TruncatedMediaError(MediaError):
    """A clip that ended early: what decodes was used, and the caller is told (exit code 3)."""

    exit_code = 3


class OutputError(RealMasterError):
    """An output that exists already, cannot be written, or equals the input."""


class ConfigError(RealMasterError):
    """A setting, profile or recipe that is unknown, out of bounds, or contradicts another."""


class DataError(RealMasterError):
    """Training data that cannot be used: a manifest, its rows, or a cache made from other data or models."""


class AdapterError(RealMasterError):
    """An adapter for another base or reference mode, or a file that is no safetensors adapter."""


class MissingWeightsError(RealMasterError):
    """Weights that are not on this machine; the message says where they come from."""


class MissingExtraError(RealMasterError):
    """An optional package that is not installed; the message holds the install command."""


class NumericalError(RealMasterError):
    """A model that returned NaN or infinity."""


class MemoryLimitError(RealMasterError):
    """Not enough memory; the message says which setting to lower."""


class StudyError(RealMasterError):
    """A user study that cannot be made, opened or served: its clips, its folder, its database."""


class ClusterError(RealMasterError):
    """A cluster that does not answer, or has not what a run asks of it."""
