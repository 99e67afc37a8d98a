"""Damaged .npz files: a UserError whatever byte is wrong, or arrays of the right shapes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.device import Description, load_metadata
from microtvm.errors import UserError
from microtvm.inference import described_inputs, prefix_of
from microtvm.npz import load_inputs, random_inputs, save_outputs
from microtvm.pipeline import check_prefix, compile_model
from microtvm.target import load_cpu
from tests.cli.conftest import pair_inputs


@pytest.fixture(scope="module")
def model(pair: Path) -> Description:
    return load_metadata(compile_model(pair, load_cpu("host")).library.metadata)


def test_inputs_are_known_before_anything_is_compiled(pair: Path, model: Description) -> None:
    """All that arrays are compared with, and messages name."""
    early = described_inputs(pair)
    known = [
        [(t.name, t.source, t.shape, t.dtype, t.scale, t.zero_point) for t in each.inputs]
        for each in (early, model)
    ]
    assert known[0] == known[1]
    assert len(known[0]) == 3
    assert early.name == model.name


def check_damaged(file: Path, content: bytes, model: Description) -> bool:
    """Whether the content was refused by name; if not, it must still be three arrays that fit."""
    file.write_bytes(content)
    try:
        inputs = load_inputs(file, model)
    except UserError as error:
        return str(file) in error.message
    for run in inputs.runs:
        assert {n: (a.shape, a.dtype) for n, a in run.items()} == {
            t.name: (t.shape, t.dtype) for t in model.inputs
        }
    return False


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_damage_is_told(model: Description, tmp_path: Path, save: Any) -> None:
    stream = io.BytesIO()
    save(stream, **pair_inputs(1))
    whole = stream.getvalue()
    file = tmp_path / "in.npz"
    assert not check_damaged(file, whole, model)
    generator = np.random.default_rng(7)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(int(generator.integers(1, 4))):
            damaged[int(generator.integers(len(whole)))] = int(generator.integers(256))
        refused += check_damaged(file, bytes(damaged), model)
    # A checksum guards the arrays, but not every byte of an archive means something.
    assert refused > 500
    for end in range(0, len(whole), 7):
        assert check_damaged(file, whole[:end], model)


def test_outputs_may_have_any_name(tmp_path: Path) -> None:
    """Also those that numpy.savez takes for its own arguments."""
    file = tmp_path / "out.npz"
    arrays = {"file": np.arange(3), "allow_pickle": np.float32(1.5), "a": np.zeros((0, 2), np.int8)}
    save_outputs(file, arrays)
    with np.load(file) as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == np.asarray(array).dtype


def test_random_inputs_use_the_whole_range(model: Description) -> None:
    first, second = random_inputs(model), random_inputs(model)
    assert not first.stacked
    (run,) = first.runs
    for tensor in model.inputs:
        np.testing.assert_array_equal(run[tensor.name], second.runs[0][tensor.name])
        assert (run[tensor.name].shape, run[tensor.name].dtype) == (tensor.shape, tensor.dtype)
    assert len(np.unique(run["a"])) > 1


def test_other_byte_order_is_the_same_number(model: Description, tmp_path: Path) -> None:
    inputs = pair_inputs(5)
    np.savez(
        tmp_path / "in.npz", **{n: a.astype(a.dtype.newbyteorder(">")) for n, a in inputs.items()}
    )
    (run,) = load_inputs(tmp_path / "in.npz", model).runs
    for name, array in inputs.items():
        np.testing.assert_array_equal(run[name], array)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("kws_int8.tflite", "kws_int8"),
        ("My Model-v2.tflite", "my_model_v2"),
        ("2024.tflite", "m_2024"),
        ("ß.tflite", "m__"),
        ("math.tflite", "m_math"),
        ("Board.tflite", "m_board"),
        ("mtvm_model.tflite", "m_mtvm_model"),
        ("x" * 60, "x" * 40),
    ],
)
def test_prefix_is_an_identifier(name: str, prefix: str) -> None:
    assert prefix_of(Path("folder", name)) == prefix
    assert check_prefix(prefix) == prefix
