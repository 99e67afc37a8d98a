"""The digits network in every format, exported once, and what its inferences must give."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from microtvm.cli import main
from microtvm.export import list_formats, load_format
from microtvm.frontend import load_model
from microtvm.ops.evaluate import evaluate_graph
from microtvm.util import Array
from tests.conftest import ROOT, require_tool

DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"
NAME = "digits_int8"
IMAGES = 5


def export(*words: object) -> None:
    """`microtvm export`, which must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(["export", *map(str, words)])
    assert stop.value.code == 0


def run(*argv: object, cwd: Path | None = None, stdin: bytes = b"") -> bytes:
    """What a program prints, which must succeed."""
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, input=stdin, capture_output=True, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return done.stdout


def python_tool(module: str, program: str) -> str:
    """The path of a program that a Python package installs; as `require_tool` where it is not."""
    beside = Path(sys.executable).with_name(program)
    if beside.is_file():
        return str(beside)
    if importlib.util.find_spec(module) is None and os.environ.get("CI") == "true":
        pytest.fail(f"the Python package {module} is not installed")
    return require_tool(program)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network compiled for any core."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.raises(SystemExit) as stop:
        main(["compile", str(DIGITS), "--cpu", "generic", "-o", str(folder)])
    assert stop.value.code == 0
    return folder


def made_from(name: str, library: Path) -> Path:
    """What a package of the format is made from."""
    return DIGITS if load_format(name).array else library


@pytest.fixture(scope="session")
def packages(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The network in every format, by its name; read only."""
    root = tmp_path_factory.mktemp("packages")
    for name in list_formats():
        export(made_from(name, library), "--format", name, "-o", root / name)
    return {name: root / name for name in list_formats()}


@pytest.fixture
def copied(packages: Mapping[str, Path], tmp_path: Path) -> Mapping[str, Path]:
    """The same, far from where they were made, each in a folder by the model's name."""
    result = {}
    for name, folder in packages.items():
        result[name] = tmp_path / name / NAME
        shutil.copytree(folder, result[name])
    return result


@pytest.fixture(scope="session")
def images() -> Array:
    return np.random.default_rng(4).integers(-128, 128, (IMAGES, 1, 8, 8, 1), np.int8)


@pytest.fixture(scope="session")
def scores(images: Array) -> bytes:
    """What `consumer.c` has to answer to the images, by the numpy meaning of the graph."""
    graph = load_model(DIGITS)
    return b"".join(evaluate_graph(graph, {"image": i})["scores"].tobytes() for i in images)


@pytest.fixture(scope="session")
def printed() -> str:
    """What the examples have to print."""
    graph = load_model(DIGITS)
    image = np.full((1, 8, 8, 1), -128, np.int8)
    found = evaluate_graph(graph, {"image": image})["scores"].ravel()
    return "".join(f"scores[{i}] = {value}\n" for i, value in enumerate(found))
