"""The README's reliability table: written whole, and what it says is what was to be reached.

That its exact figures are current is tested where they are measured: `tests/c` and
`tests/device/test_throughput.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import reliability, stack
from benchmarks.fuzz import Figures
from benchmarks.link_echo import EchoFigures
from benchmarks.lossy_link import INFERENCES, Outcome, settings, shares
from benchmarks.model import Search
from benchmarks.reliability import (
    BEGIN,
    COMMANDS,
    LABELS,
    echo_cell,
    fuzz_cell,
    gather,
    in_readme,
    lossy_cell,
    main,
    stack_cell,
    table,
)
from benchmarks.stack import Stack
from tests.conftest import ROOT, require_tool


def numbers(text: str) -> list[float]:
    """All of them, in order."""
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


def test_every_row_names_a_module_of_the_benchmarks() -> None:
    assert set(LABELS) == set(COMMANDS)
    for command in COMMANDS.values():
        assert (ROOT / "benchmarks" / f"{command.split()[0]}.py").is_file()


def test_what_bad_lines_leave_in_the_readme() -> None:
    pattern = r"([\d.]+)%: ([\d,]+) of ([\d,]+) right"
    rates = [[numbers(part)[0] for part in row] for row in re.findall(pattern, in_readme("lossy"))]
    assert [rate for rate, _, _ in rates] == [0.1, 1.0, 5.0]
    assert sum(total for _, _, total in rates) == INFERENCES
    for rate, right, total in rates:
        assert right >= total * (0.98 if rate <= 1 else 0.8)
    assert in_readme("lossy").endswith("; 0 wrong, hung or run twice")


@pytest.mark.parametrize("count", [3, INFERENCES])
def test_all_inferences_are_shared_out(count: int) -> None:
    found = shares(count)
    assert found.keys() == settings().keys()
    assert sum(found.values()) == count
    assert max(found.values()) - min(found.values()) <= 1


def test_what_fuzzing_and_the_echo_give_in_the_readme() -> None:
    assert in_readme("fuzz").endswith(", 0 failures")
    assert numbers(in_readme("fuzz"))[0] > 10_000
    write, read, call = numbers(in_readme("echo"))
    assert min(write, read) >= 0.9
    assert call <= 1.3


def test_cells() -> None:
    outcomes = {name: Outcome(right=7) for name in settings()}
    outcomes["drop 5.0%"] = Outcome(right=4, wrong=1, errors=outcomes["drop 5.0%"].errors)
    outcomes["drop 5.0%"].errors["LinkError"] = 2
    assert lossy_cell(outcomes) == (
        "0.1%: 49 of 49 right; 1.0%: 49 of 49 right; 5.0%: 46 of 48 right; "
        "else a clear error; 1 wrong, hung or run twice"
    )
    figures = [Figures(1000, 1, 90, 1, 1, 1, ""), Figures(500, 1, 10, 1, 1, 1, "a crash")]
    assert fuzz_cell(figures, 9) == "1,500 executions in 9 s, 100 edges, 1 failures"
    assert echo_cell(EchoFigures(0.95, 4.0, 0.0, 1.2, *[0.0] * 5)) == (
        "0.95 of its bytes a second to the device, 4.00 from it; an empty call takes 1.20 of its "
        "time"
    )


def test_the_stacks_cell_has_both_ends_and_the_worst_ratio() -> None:
    found = [Stack("a", 300, 200, ""), Stack("b", 500, 500, ""), Stack("c", 400, 390, "")]
    assert stack_cell(found) == (
        "from 300 bytes, measured 200, to 500, measured 500; at most 1.50 times, at least 1.00 "
        "times what is measured on 3 emulated boards"
    )


def test_what_the_stacks_reach_in_the_readme() -> None:
    most, least = map(float, re.findall(r"at (?:most|least) ([\d.]+) times", in_readme("stack")))
    assert 1 <= least <= most <= 1.5


@pytest.mark.parametrize(("bound", "status"), [(199, 1), (200, 0), (300, 0), (301, 1)])
def test_the_stacks_benchmark_fails_where_a_bound_is_far_off(
    bound: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "measure_all", lambda _: [Stack("a", bound, 200, "")])
    assert stack.main([]) == status


def test_the_table_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {row: f"figure of {row}" for row in LABELS}
    copy = tmp_path / "README.md"
    copy.write_bytes((ROOT / "README.md").read_bytes())
    monkeypatch.setattr(reliability, "README", copy)
    monkeypatch.setattr(reliability, "gather", lambda *_: cells)
    assert main(["--update-readme"]) == 0
    assert {row: in_readme(row) for row in LABELS} == cells
    monkeypatch.setattr(reliability, "gather", lambda *_: dict.fromkeys(LABELS, "x"))
    assert main([]) == 0
    assert in_readme("model") == "figure of model"
    old, new = (path.read_text("utf-8") for path in (ROOT / "README.md", copy))
    assert old[: old.index(BEGIN)] == new[: new.index(BEGIN)]
    assert new.count(BEGIN) == table(cells).count(BEGIN) == 1
    copy.write_text(f"{BEGIN}\n{reliability.END}\n", "utf-8")
    with pytest.raises(KeyError, match="no row"):
        in_readme("model")


@pytest.mark.slow
def test_all_rows_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("gcc", "gcov", "clang", "arm-none-eabi-gcc", "arm-none-eabi-size"):
        require_tool(tool)
    for tool in ("make", "qemu-system-arm"):
        require_tool(tool)
    monkeypatch.setattr(reliability, "measure_echo", lambda: EchoFigures(*[1.0] * 9))
    monkeypatch.setattr(reliability, "BROKEN", ("WINDOW",))
    monkeypatch.setattr(
        reliability, "search", lambda _, *rules: Search(7, 5, len(rules), whole=True, said="")
    )
    monkeypatch.setattr(stack, "emulated_boards", lambda: ["qemu-mps2-an386"])
    cells = gather(2, len(settings()))
    assert set(cells) == set(LABELS)
    assert cells["stack"].endswith(" on 1 emulated boards")
    assert cells["model"] == "7 states, 5 deep, 0 errors; 1 of 1 seeded faults found"
