"""What the adapter of a run says of itself.

Separate from the run because it is the contract with whoever loads the file: `models/adapter_metadata.py` checks it.
"""

from __future__ import annotations

from collections.abc import Iterable

from realmaster.models.adapter_metadata import AdapterMetadata, Expert
from realmaster.models.profiles import Profile
from realmaster.training.dataset import CachedDataset
from realmaster.training.settings import TrainSettings


def describe_adapter(
    settings: TrainSettings, profile: Profile, dataset: CachedDataset, expert: Expert, experts: Iterable[Expert]
) -> AdapterMetadata:
    """Say what an expert's file was trained on and how it has to be used."""
    buckets = [dataset.bucket(index) for index in range(len(dataset))]
    sizes = sorted({(b.num_frames, b.height, b.width) for b in buckets})
    return AdapterMetadata.from_mapping(
        {
            "base_model": profile.checkpoint.hub or profile.name,
            "base_revision": profile.checkpoint.revision,
            "profile": profile.name,
            "rank": settings.adapter.rank,
            "alpha": settings.adapter.alpha,
            "reference": settings.reference.mode,
            "reference_scale": settings.data.encode.reference_scale,
            "reference_adapted": settings.reference.adapted,
            "frame_rate": settings.data.encode.frame_rate,
            "sizes": [dict(zip(("num_frames", "height", "width"), size, strict=True)) for size in sizes],
            "expert": expert,
            "experts": list(experts),
            "data_digest": dataset.digest,
        },
        source="this run",
    )
