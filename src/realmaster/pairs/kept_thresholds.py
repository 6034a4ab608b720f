"""The thresholds that a set is judged by: those of its last filter, else those it was begun with.

Separate from `thresholds`, which decides and knows no set.
"""

from __future__ import annotations

import json
import logging

from realmaster.errors import DataError
from realmaster.pairs.store import Place, Store, folder_of, open_store, read_text, write_text
from realmaster.pairs.thresholds import Thresholds

logger = logging.getLogger(__name__)

THRESHOLDS = "thresholds.json"


def thresholds_of(store: Store, begun_with: Thresholds) -> Thresholds:
    """Give the thresholds that judge new clips of a set; the first run writes down those it has.

    Raises:
        DataError: the file was edited into nonsense.
    """
    if not store.exists(THRESHOLDS):
        _write(store, begun_with)
        return begun_with
    found = _read(store)
    if found != begun_with:
        logger.warning(
            "%s: new clips are judged by %s, written by the first run or the last filter, not by the settings of this "
            "run: change it with `realmaster pairs filter`",
            store.root,
            THRESHOLDS,
        )
    return found


def thresholds_now(store: Store, begun_with: Thresholds) -> Thresholds:
    """Give the thresholds that judge a clip at this moment: a filter may have changed them since the run began.

    Raises:
        DataError: the file was edited into nonsense.
    """
    return _read(store) if store.exists(THRESHOLDS) else begun_with


def last_thresholds(place: Place) -> Thresholds:
    """Give the thresholds of a set, the usual ones where none are written down or the set is a new one.

    Raises:
        DataError: the file was edited into nonsense.
    """
    folder = folder_of(place)
    if folder is not None and not folder.is_dir():
        return Thresholds()
    store = open_store(place)
    return _read(store) if store.exists(THRESHOLDS) else Thresholds()


def write_thresholds(place: Place, thresholds: Thresholds) -> None:
    """Write down what a filter decided by."""
    _write(open_store(place), thresholds)


def _read(store: Store) -> Thresholds:
    try:
        values = json.loads(read_text(store, THRESHOLDS))
    except ValueError as error:
        raise DataError(f"{store.root}/{THRESHOLDS}: expected thresholds as JSON, it is none: remove it") from error
    return Thresholds.from_mapping(values, source=f"{store.root}/{THRESHOLDS}")


def _write(store: Store, thresholds: Thresholds) -> None:
    write_text(store, THRESHOLDS, json.dumps(thresholds.model_dump(mode="json"), indent=1) + "\n")
