"""Operators of a user's own, from expression to outputs over the wire."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from microtvm.target import load_board
from tests.conftest import ROOT, require_tool


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = ROOT / "examples" / "user_operator.py"
    spec = importlib.util.spec_from_file_location("user_operator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_operator"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.qemu
def test_on_a_cortex_m4(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    assert example.main("qemu-mps2-an386") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in lines if not line.startswith(" ")] == [
        "192 of 192 elements as NumPy has them",
        "192 of 192 elements as NumPy has them",
        "192 of 192 elements as NumPy has them",
        "260 of 260 elements as NumPy has them",
    ]


@pytest.mark.parametrize("index", range(4))
def test_on_the_host(example: ModuleType, index: int, tmp_path: Path) -> None:
    require_tool("cc")
    board = load_board("host")
    job = example.jobs(board)[index]
    outputs = example.run(job, board, tmp_path)
    for name, expected in job.expected.items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_a_product_gets_the_core_s_own_intrinsic(example: ModuleType) -> None:
    """What schedules a model's dense layer schedules a user's expression."""
    job = example.constant_product(load_board("qemu-mps2-an386"))
    assert job.title.endswith("schedule dsp.matrix_product")
    assert "SMLAD" in job.library.files["product.c"].upper()
