"""The digits network: on the target as in the reference, and as good as the README says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.datasets import load_digits

from microtvm.device import load_metadata
from microtvm.inference import prepare, run_project
from microtvm.npz import Inputs
from microtvm.project import stack_report
from microtvm.target import load_board
from tests.conftest import ROOT, require_tool
from tests.reference import Reference

DIGITS = ROOT / "examples" / "digits"
MODEL = DIGITS / "digits_int8.tflite"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """The demonstration's module, for how it quantises images."""
    spec = importlib.util.spec_from_file_location("digits_demo", DIGITS / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels, and their positions in scikit-learn's data set."""
    with np.load(DIGITS / "digits_test.npz") as data:
        return data["images"], data["labels"], data["positions"]


def test_the_images_are_scikit_learns(held_out: tuple[np.ndarray, ...]) -> None:
    """What is committed is a part of the public data set, with its labels."""
    images, labels, positions = held_out
    digits = load_digits()
    np.testing.assert_array_equal(images, digits.images[positions])
    np.testing.assert_array_equal(labels, digits.target[positions])
    assert len(np.unique(positions)) == len(labels) == 360


def test_the_network_has_what_it_should() -> None:
    """Convolution, depthwise, residual, pool and softmax, in tens of kilobytes."""
    from microtvm.check import check_model

    operators = check_model(MODEL).as_json()["operators"]
    wanted = {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "AVERAGE_POOL_2D", "SOFTMAX"}
    assert wanted <= set(operators)
    assert MODEL.stat().st_size < 50_000


@pytest.mark.parametrize("board", ["host", "qemu-mps2-an386"])
def test_target_and_reference_agree(
    demo: ModuleType, held_out: tuple[np.ndarray, ...], board: str, tmp_path: Path
) -> None:
    """Every score of every held-out image, and the accuracy that follows; the stack is as deep as
    the build says."""
    if board != "host":
        require_tool("qemu-system-arm")
        require_tool("arm-none-eabi-gcc")
    images, labels, _positions = held_out
    project = prepare(MODEL, load_board(board), tmp_path / "p")
    source = load_metadata(project.library.metadata).inputs[0]
    arrays = demo.quantised(images, source.scale, source.zero_point)
    runs = tuple({source.name: a[np.newaxis]} for a in arrays)
    result = run_project(project, Inputs(runs, stacked=True))
    (scores,) = result.outputs.values()
    reference = Reference(MODEL.read_bytes())
    wanted = np.stack([reference.run(a[np.newaxis])[0] for a in arrays])
    np.testing.assert_array_equal(scores, wanted)
    assert np.mean(scores.reshape(len(labels), -1).argmax(axis=1) == labels) >= 0.97
    if board != "host":
        bound = stack_report(project).bound
        assert bound is not None
        assert result.footprint.ram.stack <= bound.total <= 1.5 * result.footprint.ram.stack
