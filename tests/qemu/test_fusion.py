"""The command that bounds what one kernel for two convolutions could save."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fusion import arena_of, pairs_of, touched, without_copies
from microtvm.pipeline import compile_model
from microtvm.target import load_board, load_cpu
from tests.conftest import ROOT, shared_models
from tests.golden.mlperf import model_file
from tests.project.image import require_board_tools

BOARD = "qemu-mps2-an386"
SCRIPT = ROOT / "benchmarks" / "fusion.py"


def fusion(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.qemu
def test_a_common_kernel_would_take_more_than_it_saves(tmp_path: Path) -> None:
    """On a Cortex-M4: neither memory nor time, of a model of four pairs."""
    require_board_tools(load_board(BOARD))
    file = tmp_path / "found.json"
    words = ("--model", "strww_int8", "--board", BOARD, "--models", shared_models())
    done = fusion(*words, "--json", file)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(file.read_text())
    assert len(found["pairs"]) == 4
    assert found["arena_bytes"] <= found["arena_fused_bytes"]
    assert found["arena_bytes"] < found["arena_apart_bytes"]
    for pair in found["pairs"]:
        # Four bytes take at least a load, two words of two elements, and their stores.
        assert 5 / 4 * pair["intermediate_bytes"] <= pair["most_saved"] < pair["instructions"] / 20
    assert found["most_saved"] == sum(pair["most_saved"] for pair in found["pairs"])
    assert found["strips_cost"] > found["most_saved"]
    for value in (found["arena_bytes"], found["most_saved"], found["instructions"]):
        assert f"{value:,}" in done.stdout


def test_a_model_that_is_not_there() -> None:
    done = fusion("--model", "missing.tflite", "--board", BOARD)
    assert done.returncode == 1
    assert "missing.tflite" in done.stderr


@pytest.mark.parametrize(("model", "count"), [("kws_int8", 4), ("vww_int8", 13), ("ad01_int8", 0)])
def test_pairs(model: str, count: int) -> None:
    compiled = compile_model(model_file(model), load_cpu("cortex-m4"))
    steps = pairs_of(compiled)
    assert len(steps) == count
    assert arena_of(compiled, [], 4) == compiled.layout.arena_bytes


def test_copies_are_what_is_left_out() -> None:
    """On cores that unpack, the unpacking; on those that read data where it lies, nothing."""
    for cpu, copies in (("cortex-m4", True), ("cortex-m55", False)):
        compiled = compile_model(model_file("strww_int8"), load_cpu(cpu))
        for step in pairs_of(compiled):
            kernel = compiled.kernels[step + 1]
            x = kernel.program.params[0]
            assert x in touched(kernel.program.body)
            assert (x in touched(without_copies(kernel).program.body)) != copies
