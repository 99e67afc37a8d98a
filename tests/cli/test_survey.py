"""`microtvm check --boards`: what fits where, measured once for each core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from microtvm.errors import ModelError
from microtvm.pipeline import Compiled, compile_model
from microtvm.project import Demand, Project, build_project
from microtvm.survey import BoardResult, CoreResult, _on_board, machine_for, survey
from microtvm.target import Cpu, load_board, load_cpu
from tests.cli.conftest import M4, CommandLine
from tests.conftest import require_tool

SMALL = """
inherits = ["nucleo_f411re"]
memory.ram.size_bytes = 0x100
"""


@pytest.mark.qemu
def test_boards_share_what_is_measured_of_their_core(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
        require_tool(tool)
    (tmp_path / "small.toml").write_text(SMALL)
    asked = f"nucleo_f411re,nucleo_f401re,rpi_pico,esp32s3_devkitm,{M4},{tmp_path / 'small.toml'}"
    found = cli.ok("check", pair, "--boards", asked, "--json").json["boards"]
    by_name = {row["board"]: row for row in found}
    fast, slow = by_name["nucleo_f411re"], by_name["nucleo_f401re"]
    run = cli.ok("run", pair, "--board", M4, "--json").json
    assert fast["cycles"] == slow["cycles"] == run["cycles"]
    assert fast["seconds"] == run["cycles"] / 96e6
    assert fast["flash_bytes"] == run["memory"]["flash_bytes"]["total"]
    ram = run["memory"]["ram_bytes"]
    # The stack that the board reserves, as `create` counts it.
    assert fast["ram_bytes"] == ram["arena"] + ram["static"] + 4096
    assert fast["spare_flash_bytes"] == 512 * 1024 - fast["flash_bytes"]
    assert fast["spare_ram_bytes"] == 128 * 1024 - fast["ram_bytes"]
    assert "Arm 100166" in fast["cycles_model"]
    assert by_name["rpi_pico"]["cycles"] > fast["cycles"], "a float on a core without an FPU"
    assert not by_name["small"]["fits"]
    assert by_name["small"]["spare_ram_bytes"] == 256 - fast["ram_bytes"]
    esp = by_name["esp32s3_devkitm"]
    assert (esp["exact"], esp["cycles"], esp["seconds"]) == (False, None, None)
    assert "no machine that is emulated here" in esp["note"]
    assert by_name[M4]["seconds"] is None
    assert "has no clock of its own" in by_name[M4]["note"]


def test_cores_that_have_the_same_are_compiled_for_once(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ESP32 and ESP32-S3 have the same features, the S2 has no FPU."""
    compiled: list[str] = []

    def counted(model: Path, cpu: Cpu, **options: Any) -> Compiled:
        compiled.append(cpu.name)
        return compile_model(model, cpu, **options)

    monkeypatch.setattr("microtvm.survey.compile_model", counted)
    steps: list[str] = []
    boards = [load_board(n) for n in ("esp32_devkitc_wroom", "esp32s3_devkitm", "feathers2")]
    found = survey(pair, boards, progress=lambda what, done, total: steps.append(what))
    assert compiled == ["esp32", "esp32s2"]
    assert steps == [f"compiling for {name}" for name in ("esp32", "esp32s3", "esp32s2")]
    assert [each.core.cpu.name for each in found] == ["esp32", "esp32s3", "esp32s2"]
    assert found[0].core.demand == found[1].core.demand


@pytest.mark.qemu
def test_images_of_one_compilers_options_are_built_once(
    pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only one of the two RV32IMC cores has a table of cycles."""
    for tool in ("make", "riscv64-unknown-elf-gcc", "qemu-system-riscv32"):
        require_tool(tool)
    built: list[str] = []

    def counted(project: Project) -> object:
        built.append(project.board.cpu.name)
        return build_project(project)

    monkeypatch.setattr("microtvm.survey.build_project", counted)
    boards = [load_board(name) for name in ("esp32c3_devkitm", "qemu-riscv32")]
    plain, timed = survey(pair, boards)
    assert built == ["esp32c3"]
    assert plain.core.demand == timed.core.demand
    assert plain.core.cycles is None
    assert timed.core.cycles
    assert "Ibex" in timed.core.cycles_model


def test_progress_is_told_without_a_terminal(cli: CommandLine, pair: Path) -> None:
    done = cli("check", pair, "--boards", "feathers2,esp32_devkitc_wroom")
    assert done.err.splitlines() == [
        "[1/2] compiling for esp32s2",
        "[2/2] compiling for esp32",
    ]
    assert not cli.ok("check", pair, "--boards", "feathers2", "--json").err


def test_text_lists_what_fits_first(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    """On cores that no machine here executes, which need no tools."""
    (tmp_path / "small.toml").write_text(SMALL.replace("nucleo_f411re", "feathers2"))
    text = cli("check", pair, "--boards", f"{tmp_path / 'small.toml'},feathers2").out
    rows = [line.split() for line in text.splitlines()]
    (first,) = [row for row in rows if row[:1] == ["feathers2"]]
    (last,) = [row for row in rows if row[:1] == ["small"]]
    assert (first[2], last[2]) == ("unknown", "no")
    assert rows.index(first) < rows.index(last)
    assert last[4].startswith("-")
    assert first[5:] == ["ram", "-", "[1]"]
    assert "[1] the model's code is not counted, and no time: no machine" in text
    assert "fits unknown: there is room for arena, weights and stack" in text
    assert "time:" not in text.replace("no time:", "")
    assert "the image that was counted" not in text


def test_missing_tools_are_said(
    cli: CommandLine, pair: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = cli.ok("check", pair, "--boards", "nucleo_f411re", "--json").json["boards"]
    assert not row["exact"]
    assert row["fits"] is None
    assert row["note"].endswith("time: make, which builds for cortex-m4, is not on the PATH")


def test_unknown_board_is_named(cli: CommandLine, pair: Path) -> None:
    assert "there is no board 'nucleo'" in cli.refused("check", pair, "--boards", "nucleo")
    assert "there is no board 'nucleo'" in cli.refused("check", pair, "--boards", "all,nucleo")


def test_boards_are_listed_once(cli: CommandLine, pair: Path) -> None:
    asked = "esp32s3_devkitm, esp32s3_devkitm"
    (found,) = cli.ok("check", pair, "--boards", asked, "--json").json["boards"]
    assert found["board"] == "esp32s3_devkitm"


def test_host_alone_has_no_memories_to_compare(cli: CommandLine, pair: Path) -> None:
    text = cli.refused("check", pair, "--boards", "host,native-sim")
    assert "--boards names no board with memories of its own: host,native-sim" in text


def test_machines_execute_the_code_of_their_core() -> None:
    def machine(name: str) -> str:
        found = machine_for(load_cpu(name))
        return found.name if found else ""

    assert machine("cortex-m4") == M4
    assert machine("cortex-m0plus") == "qemu-mps2-an385-m0"
    assert machine("cortex-m85") == "qemu-mps3-an547"
    assert machine("hazard3") == "qemu-riscv32"
    assert machine("esp32") == ""
    assert machine("atmega2560") == "arduino-mega2560"


def _result(board_name: str, demand: Demand) -> BoardResult:
    board = load_board(board_name)
    return _on_board(board, CoreResult(board.cpu, demand, True, 1000, "m", "", ""))


def test_parts_that_share_a_memory_are_added_up() -> None:
    """Spresense has one memory for all; elsewhere the fuller of two counts."""
    demand = Demand(arena=1000, weights=2000, code=3000, static=100, stack=0)
    shared = _result("spresense", demand)
    stack = shared.board.stack_bytes
    assert shared.spare_flash == shared.spare_ram == 768 * 1024 - 6100 - stack
    apart = _result("nucleo_f411re", demand)
    assert apart.spare_flash == 512 * 1024 - 5000
    assert apart.spare_ram == 128 * 1024 - 1100 - apart.board.stack_bytes
    assert apart.seconds == 1000 / 96e6


def test_without_a_clock_there_is_no_time() -> None:
    found = _result("nrf5340dk", Demand(1000, 2000, 3000, 100, 0))
    assert found.seconds is None
    assert found.note == "no time: no second source has the board's clock"


def test_core_that_a_model_cannot_be_compiled_for_keeps_no_other_from_an_answer(
    cli: CommandLine, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(model: Path, cpu: Cpu, **options: Any) -> Compiled:
        if cpu.name == "esp32":
            raise ModelError("int has 16 bits here")
        return compile_model(model, cpu, **options)

    monkeypatch.setattr("microtvm.survey.compile_model", compiled)
    words = ("check", pair, "--boards", "esp32_devkitc_wroom,feathers2")
    refused, other = cli.ok(*words, "--json").json["boards"]
    assert (refused["fits"], refused["flash_bytes"], refused["spare_ram_bytes"]) == (0, None, None)
    assert refused["note"] == "can't be compiled for esp32: int has 16 bits here"
    assert other["fits"] is None
    (row,) = [line for line in cli(*words).out.splitlines() if line.startswith("esp32_")]
    assert row.split()[2:6] == ["no", "-", "-", "-"]
