"""`microtvm profile`: rows that add up, and boards that can't be profiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.errors import UserError
from microtvm.profile import profile_project
from microtvm.project import build_project, load_project
from tests.cli.conftest import M4, CommandLine, pair_inputs
from tests.conftest import require_tool
from tests.golden.mlperf import model_file

COLUMNS = ("macs", "instructions", "loads", "stores", "cycles")


@pytest.fixture(autouse=True)
def _compiler() -> None:
    require_tool("make")
    require_tool("cc")


@pytest.fixture
def emulated() -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_rows_add_up_to_what_a_run_takes(cli: CommandLine, tmp_path: Path) -> None:
    model = model_file("strww_int8")
    found = cli.ok("profile", model, "--board", M4, "--keep", tmp_path / "k", "--json").json
    rows = [*found["operators"], found["outside"]]
    for column in COLUMNS:
        assert sum(row[column] for row in rows) == found["total"][column], column
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert found["total"]["share"] == 1
    assert all(row["cycles"] >= row["instructions"] for row in rows)
    assert found["outside"]["name"] == "outside operators"
    assert 0 < found["outside"]["instructions"] < 20 * len(found["operators"])
    ran = cli.ok("run", tmp_path / "k" / "project", "--json").json
    for column in ("macs", "instructions", "cycles"):
        assert found["total"][column] == ran[column]
    assert found["cycles_note"] == ran["cycles_note"]
    assert "estimate without wait states" in found["cycles_note"]
    by_name = {row["name"]: row for row in ran["operators"]}
    assert [row["name"] for row in found["operators"]] == list(by_name)
    for row in found["operators"]:
        assert row["ops"]
        assert {k: row[k] for k in by_name[row["name"]]} == by_name[row["name"]]
        if row["macs"]:
            assert row["instructions_a_mac"] == row["instructions"] / row["macs"]
            assert row["cycles_a_mac"] == row["cycles"] / row["macs"]
        else:
            assert row["instructions_a_mac"] is row["cycles_a_mac"] is None


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_the_table_of_a_project(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    cli.ok("create", pair, "--board", M4, "-o", tmp_path / "p")
    np.savez(tmp_path / "in.npz", **pair_inputs(1))
    words = ("profile", tmp_path / "p", "--input", tmp_path / "in.npz")
    total = cli.ok(*words, "--json").json["total"]
    text = cli.ok(*words).out
    lines = text.splitlines()
    assert lines[0].strip() == f"pair on {M4}"
    assert lines[-3].startswith("outside operators")
    figures = [f"{total[column]:,}" for column in COLUMNS[1:]]
    assert lines[-2].split() == ["total", *figures, "100.0%"]
    assert lines[-1].startswith("cycles: an estimate without wait states and caches: Cortex-M4")


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_a_core_without_a_table(cli: CommandLine, pair: Path) -> None:
    board = "qemu-mps2-an500"
    found = cli.ok("profile", pair, "--board", board, "--json").json
    rows = [*found["operators"], found["outside"]]
    assert {row["cycles"] for row in rows} == {found["total"]["cycles"]} == {None}
    assert "not estimated: the Cortex-M7 issues two" in found["cycles_note"]
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert "not estimated: the Cortex-M7" in cli.ok("run", pair, "--board", board).out


def test_the_host_is_refused_before_anything_is_compiled(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    message = cli.refused("profile", "no-such-model.tflite", "--board", "host")
    assert "board host can't be profiled" in message
    assert "hint: choose an emulated board" in message
    cli.ok("create", pair, "--board", "host", "-o", tmp_path / "p")
    assert "board host can't be profiled" in cli.refused("profile", tmp_path / "p")
    project = load_project(tmp_path / "p")
    build_project(project)
    with pytest.raises(UserError, match="board host can't be profiled"):
        profile_project(project)


def test_a_board_is_needed(cli: CommandLine, pair: Path) -> None:
    assert "which board is" in cli.refused("profile", pair)


@pytest.mark.qemu
@pytest.mark.usefixtures("emulated")
def test_without_the_plugin_there_is_no_profile(
    cli: CommandLine, pair: Path, tmp_path: Path, only_these_programs: Any
) -> None:
    cli.ok("create", pair, "--board", M4, "-o", tmp_path / "p")
    cli.ok("profile", tmp_path / "p")
    only_these_programs("make", "arm-none-eabi-gcc", "qemu-system-arm")
    message = cli.failed("profile", tmp_path / "p")
    assert f"pair can't be profiled on {M4}: no host C compiler" in message
    assert "hint: the counting plugin needs a C compiler" in message
