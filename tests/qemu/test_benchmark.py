"""The benchmark runs, and what it checks holds: speed, size and memory on a Cortex-M4."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import MOST_INSTRUCTIONS, Measurement
from benchmarks.picture import said
from benchmarks.readme import IN_README, PICTURE, README, cells, compiler_of, is_of, tables_in
from microtvm.target import load_board
from tests.conftest import ROOT, require_module, shared_models
from tests.golden.mlperf import MODELS
from tests.project.image import require_board_tools

BOARD = "qemu-mps2-an386"
SCRIPT = ROOT / "benchmarks" / "mlperf_tiny.py"
HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
"""Without it one test says what the user is told; under CI it must be there."""


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
    for m in map(Measurement.of_json, found["measurements"]):
        assert said(m.instructions or 0, m.peer.instructions or 0) in PICTURE.read_text()
    assert_same_figures(found)


def assert_same_figures(found: dict[str, Any]) -> None:
    """The README's tables have exactly what was measured, under the compiler that they name.

    Counts differ with the compiler: under another one the test is skipped, which says so.
    """
    text = README.read_text(encoding="utf-8")
    tables = tables_in(text)
    for m in map(Measurement.of_json, found["measurements"]):
        board = load_board(m.board)
        if not is_of(text, board):
            pytest.skip(f"the README's figures are of another compiler than {compiler_of(board)}")
        # A column is left out where no model has a figure.
        row = [cell for cell in tables[m.board][m.model] if cell]
        assert row == [cell for cell in cells(m) if cell], (m.board, m.model)


OTHERS = {board: names for board, names in IN_README.items() if board != BOARD}
"""What the README shows of other machines."""


@pytest.mark.qemu
@pytest.mark.parametrize("board", OTHERS)
def test_targets_are_met_elsewhere(board: str, tmp_path: Path) -> None:
    require_board_tools(load_board(board))
    file = tmp_path / "found.json"
    words = [w for model in OTHERS[board] for w in ("--model", model)]
    done = benchmark("--board", board, "--models", shared_models(), "--json", file, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert {m["model"] for m in found["measurements"]} == set(OTHERS[board])
    assert [t for t in found["targets"] if not t["met"]] == []
    speed = {t["model"] for t in found["targets"] if t["name"] == "instructions"}
    assert speed == MOST_INSTRUCTIONS[board].keys()
    assert_same_figures(found)


@pytest.mark.qemu
def test_pictures_are_drawn(tmp_path: Path) -> None:
    """The same bytes each time, with the figures as text."""
    require_module("matplotlib")
    require_board_tools(load_board(BOARD))
    words = ("--board", BOARD, "--models", shared_models(), "--model", "ad01_int8", "--picture")
    for name in ("a.svg", "b.svg", "c.png"):
        done = benchmark(*words, tmp_path / name)
        assert done.returncode == 0, done.stderr
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for words in ("ad01_int8", "fully connected", "TFLM: 582 k", "board: 490 k"):
        assert words in text
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    require_module("matplotlib")
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
