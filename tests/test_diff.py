"""Faults of one bit in generated kernels are found: the operator, the tensor, the element."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.diff import compare, diff_project
from microtvm.errors import UserError
from microtvm.inference import prepare
from microtvm.project import Project, build_project, create_project
from microtvm.target import load_board
from tests.cli.conftest import CommandLine
from tests.conftest import ROOT, require_tool, shared_models

DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keyword spotter for the host: twelve operators."""
    require_tool("make")
    folder = tmp_path_factory.mktemp("kws") / "p"
    project = prepare(shared_models() / "kws_int8.tflite", load_board("host"), folder)
    return project.library.folder


def with_change(
    library: Path, folder: Path, pattern: str, new: str | Callable[[re.Match[str]], str]
) -> Project:
    """A built project of the library with one place of its C source changed."""
    project = create_project(library, load_board("host"), folder)
    source = project.library.folder / f"{project.library.prefix}.c"
    text, count = re.subn(pattern, new, source.read_text(), count=1, flags=re.DOTALL)
    assert count == 1
    source.write_text(text)
    build_project(project)
    return project


def with_flip(library: Path, folder: Path, index: int, element: int, bit: int) -> Project:
    """One bit of one byte of an operator's output is the wrong one."""
    metadata = json.loads((library / "metadata.json").read_text())
    operator = metadata["operators"][index]
    (name,) = operator["outputs"]
    (tensor,) = [each for each in metadata["tensors"] if each["name"] == name]
    at = tensor["offset"] + element
    head = rf"(MTVM_CALLED void {operator['function']}\(uint8_t \*arena\)\n{{.*?)\n}}\n"
    return with_change(
        library, folder, head, rf"\1\n    arena[{at}] = (uint8_t)(arena[{at}] ^ {1 << bit}u);\n}}\n"
    )


@pytest.mark.parametrize(
    ("index", "element", "bit"), [(0, 0, 7), (3, 1234, 6), (8, 77, 7), (11, 2, 0)]
)
def test_flipped_bit_is_found(
    library: Path, index: int, element: int, bit: int, tmp_path: Path
) -> None:
    project = with_flip(library, tmp_path / "p", index, element, bit)
    model = shared_models() / "kws_int8.tflite"
    report = diff_project(project, model, every=True)
    finding = report.finding
    assert finding is not None
    operator = project.library.metadata["operators"][index]
    assert (finding.operator, finding.kernel) == (operator["name"], operator["kernel"])
    difference = finding.difference
    (tensor,) = [t for t in project.library.metadata["tensors"] if t["name"] == difference.tensor]
    assert np.ravel_multi_index(difference.index, tensor["shape"]) == element
    assert difference.count == 1
    assert int(difference.found) ^ int(difference.expected) in (1 << bit, (1 << bit) - 256)
    bisected = diff_project(project, model)
    if bisected.finding is None:
        # A later operator has hidden it: the outputs are what they should be.
        assert index < 11
        assert bisected.compared == 1
    else:
        assert bisected.finding == finding
        assert bisected.compared < 2 * report.compared


def test_flipped_bit_of_a_weight_is_found(library: Path, tmp_path: Path, cli: CommandLine) -> None:
    model = shared_models() / "kws_int8.tflite"
    operator = json.loads((library / "metadata.json").read_text())["operators"][4]
    weights = rf"(static const int8_t {operator['function']}_conv2d_\d+\[\d+\] = {{\s*)(-?\d+),"
    project = with_change(
        library, tmp_path / "p", weights, lambda found: f"{found[1]}{int(found[2]) ^ 64},"
    )
    ended = cli("diff", model, "--project", project.folder, "--every", "--json")
    assert (ended.status, ended.err) == (1, "")
    assert not ended.json["equal"]
    found = ended.json["difference"]
    assert (found["operator"], found["kernel"]) == (operator["name"], operator["kernel"])
    # One channel of one layer, at every place where the input is not zero.
    assert 1 <= found["differing"] <= found["elements"] // 64
    ended = cli("diff", model, "--project", project.folder, "--every")
    assert (ended.status, ended.err) == (1, "")
    assert f"operator {operator['name']} (conv2d, {operator['kernel']}) is the first" in ended.out
    assert f"{found['tensor']}[" in ended.out


def test_equal_model_is_equal(cli: CommandLine) -> None:
    require_tool("make")
    ended = cli.ok("diff", DIGITS, "--board", "host", "--every", "--json")
    assert ended.json["equal"]
    assert ended.json["compared"] > 2
    assert ended.json["difference"] is None
    assert (
        "equals the reference: 1 inference, 1 tensor compared"
        in cli.ok("diff", DIGITS, "--board", "host").out
    )


def test_every_run_of_a_batch_is_compared(tmp_path: Path, cli: CommandLine) -> None:
    require_tool("make")
    generator = np.random.default_rng(3)
    np.savez(tmp_path / "in.npz", image=generator.integers(-128, 128, (3, 1, 8, 8, 1), np.int8))
    ended = cli.ok("diff", DIGITS, "--board", "host", "--input", tmp_path / "in.npz", "--json")
    assert ended.json["runs"] == 3


def test_other_model_is_refused(library: Path, tmp_path: Path) -> None:
    project = create_project(library, load_board("host"), tmp_path / "p")
    build_project(project)
    with pytest.raises(UserError, match=r"digits_int8\.tflite has no value .* project's model has"):
        diff_project(project, DIGITS)


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ([1.0, 2.0], [1.0, 2.00001], True),
        ([1.0, 2e6], [1.0, 2e6 + 1], True),
        ([1.0, 2.0], [1.0, 2.001], False),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], True),
        ([np.inf], [-np.inf], False),
        ([1.0], [np.nan], False),
    ],
)
def test_floats_are_compared_with_a_tolerance(
    expected: list[float], found: list[float], same: bool
) -> None:
    pair: Any = (np.array(expected, np.float32), np.array(found, np.float32))
    assert (compare("x", *pair, 1e-5) is None) == same


def test_integers_must_be_equal() -> None:
    expected = np.array([[1, 2], [3, -128]], np.int8)
    found = np.array([[1, 3], [3, 127]], np.int8)
    difference = compare("x", expected, found, 1e9)
    assert difference is not None
    assert (difference.index, difference.count, difference.largest) == ((0, 1), 2, 255)
    assert str(difference) == "x[0, 1] is 3, expected 2; 2 of 4 elements differ, by at most 255"
    assert compare("x", expected, expected.copy(), 0.0) is None
