from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# No test may reach a network: hubs are told so before anything imports their client.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read when the client is imported, before a command could
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the commands have it: on a busy machine far faster

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = CHECKOUT.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too (CI always does)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow_too = config.getoption("--slow") or os.environ.get("CI") == "true"
    for item in items:
        if item.get_closest_marker("dev") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="needs the development data beside the checkout (../shared)"))
        if item.get_closest_marker("slow") and not slow_too:
            item.add_marker(pytest.mark.skip(reason="slow: runs in CI, or with --slow"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The development data beside the checkout; only for tests marked `dev`."""
    if not SHARED.is_dir():
        pytest.skip("needs the development data beside the checkout (../shared)")
    return SHARED


@pytest.fixture
def load_benchmark(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a script of benchmarks/ as a module, by its name."""

    def load(name: str) -> Any:
        path = checkout / "benchmarks" / f"{name}.py"
        if not path.exists():
            pytest.skip("benchmarks are not part of the source distribution")
        monkeypatch.syspath_prepend(path.parent)
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)  # where its dataclasses look themselves up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def virtual_cuda(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CUDA device that is none: `with virtual_cuda() as memory`."""
    if not (checkout / "benchmarks").is_dir():
        pytest.skip("benchmarks are not part of the source distribution")
    monkeypatch.syspath_prepend(checkout / "benchmarks")
    return importlib.import_module("common.virtual_cuda").virtual_cuda


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser. Closed after each file of tests: while it is open, the thread has a running event loop."""
    pytest.importorskip("playwright", reason="needs the package playwright")
    from realmaster.errors import RealMasterError
    from realmaster.web.study.visitor import open_browser

    opening = open_browser()
    try:
        browser = opening.__enter__()
    except RealMasterError as error:
        pytest.skip(str(error))
    yield browser
    opening.__exit__(None, None, None)
