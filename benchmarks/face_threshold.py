"""Where dlib's distance parts the same person from another, across a change of look: calibrates the pairs' filter.

    python benchmarks/face_threshold.py PAIRS [PAIRS ...]

Exact pairs know who is who: the faces of the engine look and of the camera look of one scene, matched in place, are the
same people; those of two scenes are not. Each scene counts once. Needs the extra `faces`; some seconds a frame. Writes
a dated file into benchmarks/results/ with every distance.
"""

from __future__ import annotations

import argparse
import logging
from itertools import product
from pathlib import Path

import numpy as np
from common import RESULTS, describe_place, keep

from realmaster.data.pair_set import PairRow, has_split, read_rows
from realmaster.models.faces import Face, distance, match_faces
from realmaster.models.faces_dlib import DlibFaces

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> Path | None:
    """Measure and keep; give the file of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=Path, default=[Path("pairs")])
    parser.add_argument("--most", type=int, default=10_000, help="scenes")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    rows = one_row_a_scene(given.pairs)[: given.most]
    if not rows:
        print(f"no exact pairs in {', '.join(map(str, given.pairs))}: render some with people, and name their folder")
        return None
    faces = DlibFaces()
    scenes: dict[str, list[tuple[Face, Face]]] = {}  # of each scene: its faces, as engine and as camera
    for number, row in enumerate(rows, start=1):
        if found := same_people(row, faces):
            scenes[row.name] = found
        logger.info("%d/%d %s: %d faces; %d scenes have any", number, len(rows), row.name, len(found), len(scenes))
    same = {name: [distance(engine, camera) for engine, camera in found] for name, found in scenes.items()}
    others = [
        distance(engine, camera)
        for one, other in product(scenes, scenes)
        if one != other
        for (engine, _), (_, camera) in product(scenes[one], scenes[other])
    ]
    of_all = [value for values in same.values() for value in values]
    worst = [max(values) for values in same.values()]
    result = {
        "face_model": faces.name,
        "num_scenes_looked_at": len(rows),
        "num_scenes_with_faces": len(scenes),
        "num_same": len(of_all),
        "num_other": len(others),
        "same": [round(value, 4) for value in of_all],
        "other_percentiles": {str(p): float(np.percentile(others, p)) for p in (0, 0.1, 1, 5, 25, 50, 75, 100)},
        "same_percentiles": {str(p): float(np.percentile(of_all, p)) for p in (0, 25, 50, 75, 90, 95, 99, 100)},
        # share of scenes kept (their worst face passes) and of other people let through, by threshold
        "thresholds": {
            f"{bound:.2f}": {
                "scenes_kept": float(np.mean(np.array(worst) <= bound)),
                "faces_kept": float(np.mean(np.array(of_all) <= bound)),
                "others_let_through": float(np.mean(np.array(others) <= bound)),
            }
            for bound in np.arange(0.3, 0.701, 0.02)
        },
    }
    return keep(describe_place("cpu") | result, given.output, "face_threshold")


def one_row_a_scene(folders: list[Path]) -> list[PairRow]:
    """Choose the first row of each scene: its id up to "_"."""
    rows: dict[str, PairRow] = {}
    for folder in folders:
        for split in ("train", "test", "all"):
            if has_split(folder, split if split != "all" else "manifest"):
                for row in read_rows(folder, split):
                    rows.setdefault(row.name.partition("_")[0], row)
    return list(rows.values())


def same_people(row: PairRow, faces: DlibFaces) -> list[tuple[Face, Face]]:
    """Find the faces of the first frame in both looks, matched in place."""
    wanted = faces.find(row.engine_frames()[0])
    matches = match_faces(wanted, faces.find(row.camera_frames()[0]) if wanted else [])
    return [(match.first, match.second) for match in matches if match.by == "position"]


if __name__ == "__main__":
    print(main())
