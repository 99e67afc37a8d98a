"""The benchmark runs, and what it checks holds: speed, size and memory on a Cortex-M4."""

from __future__ import annotations

import importlib.util
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
SCRIPT = ROOT / "benchmarks" / "mlperf_tiny.py"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


def benchmark(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.qemu
def test_targets_are_met_on_a_cortex_m4(tmp_path: Path) -> None:
    require_board_tools(load_board(BOARD))
    file = tmp_path / "found.json"
    done = benchmark("--board", BOARD, "--models", shared_models(), "--json", file)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    measured = {m["model"]: m for m in found["measurements"]}
    assert measured.keys() == set(MODELS)
    assert [t for t in found["targets"] if not t["met"]] == []
    # Four for each model: code, tensors, flash, RAM; speed of the five of integers and of one of
    # floats, cycles of the five.
    assert len(found["targets"]) == 4 * len(MODELS) + 6 + 5
    peers = json.loads((ROOT / "benchmarks" / "tflm_baselines.json").read_text())
    theirs = peers["machines"]["mps2-an386"]["kws_int8"]
    kws = measured["kws_int8"]
    assert kws["peer"]["instructions"] == theirs["instructions"]
    for value in (kws["instructions"], kws["cycles"], theirs["instructions"], 5_200_000):
        assert f"{value:,}" in done.stdout
    assert kws["published_cycles"] == 5_200_000
    for m in measured.values():
        rows = [*m["profile"]["operators"], m["profile"]["outside"]]
        assert sum(row["instructions"] for row in rows) == m["instructions"]
        assert sum(row["cycles"] for row in rows) == m["cycles"]
        assert m["compile_s"] > 0


OTHERS = {
    "qemu-mps3-an547": (*MODELS,),
    "qemu-mps2-an385": ("kws_int8", "resnet8_int8"),
    "qemu-mps2-an385-m0": ("kws_int8",),
    "qemu-riscv32": ("kws_int8",),
}
"""Machines with targets of their own, and the models that have them."""


@pytest.mark.qemu
@pytest.mark.parametrize("board", OTHERS)
def test_targets_are_met_elsewhere(board: str, tmp_path: Path) -> None:
    require_board_tools(load_board(board))
    file = tmp_path / "found.json"
    words = [w for model in OTHERS[board] for w in ("--model", model)]
    done = benchmark("--board", board, "--models", shared_models(), "--json", file, *words)
    assert done.returncode == 0, done.stderr
    targets = json.loads(file.read_text())["targets"]
    assert [t for t in targets if not t["met"]] == []
    assert {t["model"] for t in targets if t["name"] == "instructions"} >= set(OTHERS[board]) - {
        "ad01_fp32"
    }


@pytest.mark.qemu
@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="matplotlib is not installed")
def test_pictures_are_drawn(tmp_path: Path) -> None:
    """The same bytes each time, with the figures as text."""
    require_board_tools(load_board(BOARD))
    words = ("--board", BOARD, "--models", shared_models(), "--model", "ad01_int8", "--picture")
    for name in ("a.svg", "b.svg", "c.png"):
        done = benchmark(*words, tmp_path / name)
        assert done.returncode == 0, done.stderr
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for said in ("ad01_int8", "fully connected", "TFLM: 582 k", "board: 490 k"):
        assert said in text
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="matplotlib is not installed")
def test_other_pictures_are_refused(tmp_path: Path) -> None:
    done = benchmark("--board", BOARD, "--picture", tmp_path / "a.bmp")
    assert done.returncode == 2
    assert "a picture is one of .png, .svg" in done.stderr


@pytest.mark.skipif(HAS_MATPLOTLIB, reason="matplotlib is installed")
def test_pictures_need_matplotlib(tmp_path: Path) -> None:
    done = benchmark("--board", BOARD, "--picture", tmp_path / "a.svg")
    assert done.returncode == 2
    assert "pip install 'microtvm[bench]'" in done.stderr


def test_the_readme_has_its_own_choice() -> None:
    done = benchmark("--update-readme", "--board", BOARD)
    assert done.returncode == 2
    assert "--update-readme chooses models and boards itself" in done.stderr
