"""Structure by a vision transformer: the distance of DINO features, and of their self-similarity.

The first says whether each place shows the same thing; the second only whether places resemble each other as they did,
which a change of look leaves alone (Tumanyan et al., Splicing ViT Features, 2022). Once for DINO, once for DINOv2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured

if TYPE_CHECKING:
    from realmaster.evaluation.tools import Tools
    from realmaster.evaluation.vision import Features, VisionModel

Backbone = Literal["dino", "dinov2"]


def feature_distance(first: Features, second: Features) -> float:
    """Return 1 - cos between the features of the same patch, mean over patches and frames."""
    import torch

    distances = 1.0 - torch.nn.functional.cosine_similarity(first.patches, second.patches, dim=-1)  # [F, N]
    return max(0.0, float(distances.mean()))  # rounding may bring equal frames below


def self_similarity_distance(first: Features, second: Features) -> float:
    """Return the mean squared difference of the keys' self-similarity, mean over patch pairs and frames.

    S_ij = cos(k_i, k_j) of the last layer's keys; |S - S'|² / N² as in Splice (there summed by the Frobenius norm).
    """
    total = 0.0
    for a, b in zip(first.keys, second.keys, strict=True):
        total += float(((_similarity(a) - _similarity(b)) ** 2).mean())
    return total / len(first.keys)


def _similarity(keys: Any) -> Any:
    import torch

    unit = torch.nn.functional.normalize(keys, dim=-1)
    return unit @ unit.T


def _features(case: Case, model: VisionModel, backbone: Backbone) -> tuple[Features, Features]:
    render: Features = case.once_for_render(backbone, lambda: model.features(case.render))
    output: Features = case.once(backbone, lambda: model.features(case.output))
    return render, output


def _metrics(backbone: Backbone, title: str) -> tuple[Metric, Metric]:
    def distance(case: Case, tools: Tools) -> Figure:
        return measured(feature_distance(*_features(case, tools.vision(backbone), backbone)))

    def self_similarity(case: Case, tools: Tools) -> Figure:
        return measured(self_similarity_distance(*_features(case, tools.vision(backbone), backbone)))

    return (
        Metric(
            f"{backbone}_distance",
            f"{title} distance",
            "structure",
            unit="",
            low=0.0,
            high=2.0,
            direction="lower",
            source=f"1 - cosine of {title} patch features of render and output, over all frames (short side 224)",
            measure=distance,
            lacking=lambda tools: tools.lacking(backbone),
            made_with=lambda tools: tools.identity(backbone),
        ),
        Metric(
            f"{backbone}_self_similarity",
            f"{title} self-similarity",
            "structure",
            unit="",
            low=0.0,
            high=4.0,
            direction="lower",
            source=f"Tumanyan et al., 2022: squared difference of {title} key self-similarities, over all frames",
            measure=self_similarity,
            digits=4,
            lacking=lambda tools: tools.lacking(backbone),
            made_with=lambda tools: tools.identity(backbone),
        ),
    )


METRICS = (*_metrics("dino", "DINO"), *_metrics("dinov2", "DINOv2"))
