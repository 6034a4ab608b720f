from __future__ import annotations

import sys

import pytest

from realmaster.cluster.connect import RaySettings, connected
from realmaster.errors import ClusterError, MissingExtraError


def test_without_ray_the_message_holds_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'realmaster\[ray\]'"), connected():
        pass


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    with (
        pytest.raises(ClusterError, match="expected a Ray cluster at auto, none answers"),
        connected(RaySettings(address="auto")),
    ):
        pass
