"""The house itself: who may import whom, what is loaded when, what the wheel holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample_clips import count_frames, write_clip

SOURCE = Path(__file__).resolve().parents[1] / "src" / "realmaster"
# Each room may import the rooms of the lines above its own, and itself. A new folder or file has to be placed here.
ROOMS = (
    ("errors",),
    ("types", "config", "optional"),
    ("media", "diffusion"),
    ("models",),
    ("pipelines",),
    ("data",),
    ("training", "evaluation"),
    ("pairs",),
    ("cluster", "web"),
    ("cli",),
)
LEVEL = {room: level for level, line in enumerate(ROOMS) for room in line}
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "peft", "av", "cv2", "numpy"}
MAX_WHEEL_BYTES = 48_000_000


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of realmaster in a file; a module named in a string for later counts too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the full name instead of a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = re.findall(r"^(realmaster(?:\.\w+)+)(?::\w+)?$", node.value)
            names = [name for name in named if name.split(".")[1] in LEVEL]  # others are groups of entry points
        for name in names:
            parts = name.split(".")
            if parts[0] == "realmaster" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


def test_every_file_and_folder_has_its_place_among_the_rooms() -> None:
    there = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert there <= LEVEL.keys(), f"place {there - LEVEL.keys()} in ROOMS and in docs/concepts.md"


def test_each_room_imports_only_rooms_above_it() -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {room} may not know {other}"
        for path in sorted(SOURCE.rglob("*.py"))
        if (room := room_of(path)) not in ("__init__", "__main__")
        for line, other in imported_rooms(path)
        if other != room and LEVEL.get(other, 99) >= LEVEL[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_an_arrow_in_the_wrong_direction_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("import realmaster.cli.main\nfrom realmaster import models\nname = 'realmaster.web.app:run'\n")
    assert list(imported_rooms(file)) == [(1, "cli"), (2, "models"), (3, "web")]


def test_only_the_command_line_prints_and_exits() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        if room_of(path) == "cli":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "exit", "quit", "sys.exit", "os._exit", "click.echo"):
                wrong.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {called}")
    assert not wrong, "\n".join(wrong)


def loaded_after(statement: str) -> set[str]:
    """Names of the top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import realmaster",
        "from realmaster.cli.main import main; main(['--help'])",
        "from realmaster.cli.main import main; main(['--version'])",
        "from realmaster.cli.main import main; main(['translate', '--help'])",
        "from realmaster.cli.main import main; main(['doctor', '--help'])",
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(statement: str) -> None:
    assert not loaded_after(statement) & HEAVY


def test_pickled_files_are_read_nowhere() -> None:
    banned = re.compile(r"\btorch\.load\(|\bpickle\b|allow_pickle=True|yaml\.load\(")
    wrong = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if banned.search(path.read_text("utf-8"))]
    assert not wrong, f"only safetensors and plain text are read: {wrong}"


def test_the_pins_fit_the_project(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    pins = (checkout / "constraints.txt").read_text()
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in asked}
    assert names <= pinned, f"run `make pins`: {names - pinned} have no pin"
    assert "+" not in pins, "a local version such as +cpu is to be had on one kind of machine only"


@pytest.fixture(scope="session")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and source archive of the checkout, built once, without a network."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(checkout)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_the_embedded_models_and_stays_small(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES
    names = zipfile.ZipFile(wheel).namelist()
    assert "realmaster/py.typed" in names
    assert "realmaster/models/profiles/nano.yaml" in names
    assert any(name.startswith("realmaster/") and name.endswith(".safetensors") for name in names)
    assert all(name.startswith(("realmaster/", "realmaster-")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_archive_holds_the_source_and_no_pictures_of_the_repository(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = [name.split("/", 1)[1] for name in tar.getnames()]
    assert {"pyproject.toml", "README.md", "LICENSE", "src/realmaster/__init__.py", "tests/test_house.py"} <= set(names)
    assert not [name for name in names if name.startswith(("docs/", "assets/", "runs/", "outputs/"))]


@pytest.mark.slow
def test_the_wheel_alone_translates_in_an_empty_environment(dist: Path, tmp_path: Path) -> None:
    """The wheel goes into a new environment; its dependencies are not fetched again but shared from this one."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    install = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=120)
    (packages,) = environment.glob("lib/python*/site-packages")
    # A path in a .pth file shares what is installed here; this checkout is not on it, for its own .pth is not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    where = [str(python), "-c", "import realmaster; print(realmaster.__file__)"]
    found = subprocess.run(where, capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60).stdout
    assert found.startswith(str(packages))

    clip = write_clip(tmp_path / "clip.mp4")
    command = [str(environment / "bin" / "realmaster"), "translate", str(clip), "-o", "out.mp4", "--report"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert count_frames(tmp_path / "out.mp4") == 9
    assert (tmp_path / "out.html").is_file()
