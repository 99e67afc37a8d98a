"""The benchmark runs, and what it checks holds: speed, size and memory on a Cortex-M4."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from microtvm.target import load_board
from tests.conftest import ROOT, shared_models
from tests.golden.mlperf import MODELS
from tests.project.image import require_board_tools

BOARD = "qemu-mps2-an386"


@pytest.mark.qemu
def test_targets_are_met_on_a_cortex_m4(tmp_path: Path) -> None:
    require_board_tools(load_board(BOARD))
    file = tmp_path / "found.json"
    script = ROOT / "benchmarks" / "mlperf_tiny.py"
    argv = [sys.executable, str(script), "--board", BOARD, "--models", str(shared_models())]
    text = subprocess.run(
        [*argv, "--json", str(file)], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    found = json.loads(file.read_text())
    measured = {m["model"]: m for m in found["measurements"]}
    assert measured.keys() == set(MODELS)
    assert [t for t in found["targets"] if not t["met"]] == []
    # Four for each model: speed, code, tensors, RAM.
    assert len(found["targets"]) == 4 * len(MODELS)
    peers = json.loads((ROOT / "benchmarks" / "tflm_baselines.json").read_text())
    theirs = peers["machines"]["mps2-an386"]["kws_int8"]
    assert measured["kws_int8"]["peer"]["instructions"] == theirs["instructions"]
    assert f"{measured['kws_int8']['instructions']:,}" in text
    assert f"{theirs['instructions']:,}" in text
