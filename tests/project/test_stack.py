"""The bound on an image's stack, held against what the compiler and the disassembler say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.boards import emulated_boards
from benchmarks.stack import DIGITS, measure
from microtvm.errors import FitError
from microtvm.project import (
    Built,
    build_project,
    check_stack,
    create_project,
    load_project,
    stack_report,
)
from microtvm.project.make import STACK_GUARD_BYTES, Baremetal
from microtvm.stack import stack_bound
from microtvm.stack.flow import Flow
from microtvm.stack.memory import Memory
from microtvm.target import data_folder, load_board
from tests.conftest import require_tool
from tests.project.image import EMULATED, TINY, require_board_tools

CALL = re.compile(r"^ *([0-9a-f]+):\s+(?:bl|jal|call|c\.jal)\s+(?:ra,\s*)?(?:0x)?([0-9a-f]+)\b")


@pytest.fixture
def image(served: Built) -> Built:
    """Of a board, not of the host."""
    if served.project.platform != Baremetal():
        pytest.skip("a process of the host has no bound")
    return served


def reached(flow: Flow) -> list[int]:
    """Functions that the image calls without pointers, and those that pointers in it point to."""
    found: set[int] = set()
    pending = {flow.memory.entry} | flow.memory.pointers()
    while pending:
        at = pending.pop()
        found.add(at)
        pending |= {s.target for s in flow.frame(at).sites if s.target is not None} - found
    return sorted(found)


def test_frames_are_the_compilers(image: Built) -> None:
    """GCC's own figures, of every function that it did not inline everywhere."""
    flow = Flow(Memory(image.elf))
    own = {}
    for at in reached(flow):
        frame = flow.frame(at)
        own[frame.function.name] = frame.own_bytes
    compared = 0
    for file in image.elf.parent.rglob("*.su"):
        for line in file.read_text().splitlines():
            place, size, kind = line.split("\t")
            name = place.rsplit(":", 1)[1]
            assert "dynamic" not in kind, line
            if name in own:
                assert own[name] == int(size), line
                compared += 1
    assert compared >= 20


def test_calls_are_the_disassemblers(image: Built) -> None:
    """All calls that objdump sees in code that is reached, and no others. What follows a call that
    never returns is not reached: only the start-up code has that, behind main()."""
    board = image.project.board
    objdump = require_tool(f"{board.cpu.prefix}objdump")
    text = subprocess.run(
        [objdump, "-d", "-M", "no-aliases", image.elf]
        if board.cpu.family == "riscv"
        else [objdump, "-d", image.elf],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    seen = {}
    for line in text.splitlines():
        found = CALL.match(re.sub(r"\t[0-9a-f ]+\t", "\t", line, count=1))
        if found:
            seen[int(found[1], 16)] = int(found[2], 16)
    flow = Flow(Memory(image.elf))
    sites: dict[int, int] = {}
    inside: set[int] = set()
    for at in reached(flow):
        frame = flow.frame(at)
        inside |= set(range(frame.function.start, frame.function.end))
        sites |= {s.address: s.target for s in frame.sites if s.target and s.address in seen}
    wanted = {at: target for at, target in seen.items() if at in inside}
    missed = wanted.keys() - sites.keys()
    assert sites == {at: target for at, target in wanted.items() if at not in missed}
    assert {flow.memory.function(at).name for at in missed} <= {"mtvm_start"}
    assert len(sites) >= 20


def test_a_fault_has_room_for_its_handler(image: Built) -> None:
    """Start-up code gives it what is between these two, above the guard."""
    folder = data_folder("project_templates") / "baremetal"
    family = image.project.board.cpu.family
    source = (folder / "start" / f"{family}.c").read_text()
    (room,) = re.findall(r"#define FAULT_STACK_BYTES (\d+)", source)
    (guard,) = re.findall(
        r"#define STACK_GUARD_BYTES (\d+)", (folder / "src/platform.h").read_text()
    )
    assert int(guard) == STACK_GUARD_BYTES
    bound = stack_bound(image.elf, entry="mtvm_fault")
    assert 32 < bound.total <= int(room) - int(guard)


def test_path_is_of_functions_that_call_each_other(image: Built) -> None:
    report = stack_report(image.project)
    assert report.bound is not None
    names = [level.function for level in report.bound.path]
    assert names[:3] == ["mtvm_start", "main", "mtvm_server_poll"]
    assert report.usable_bytes == image.project.stack_bytes - STACK_GUARD_BYTES
    check_stack(image.project)


@pytest.mark.qemu
@pytest.mark.parametrize("name", sorted(set(emulated_boards()) - set(EMULATED)))
def test_boards_whose_first_platform_is_another(name: str) -> None:
    """On bare metal they are as the others are: the server runs, within the bound."""
    require_board_tools(load_board(name))
    found = measure(name, DIGITS)
    assert found.measured <= found.bound <= 1.5 * found.measured


def test_too_small_a_reserve_is_refused(tmp_path: Path) -> None:
    """By what to give instead, which is then enough."""
    board = load_board("qemu-microbit")
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p", stack_bytes=512)
    build_project(project)
    with pytest.raises(
        FitError,
        match=r"may use \d+ of 256 \(512 less 256 that guard its end\): mtvm_start \d+ > main",
    ) as e:
        check_stack(project)
    (wanted,) = re.findall(r"--stack-bytes (\d+)", e.value.hint or "")
    again = create_project(TINY, board, tmp_path / "p", stack_bytes=int(wanted), force=True)
    build_project(again)
    check_stack(load_project(again.folder))


def test_other_platforms_say_why_they_have_none(served: Built) -> None:
    if served.project.platform == Baremetal():
        pytest.skip("it has one")
    report = stack_report(served.project)
    assert (report.bound, report.note) == (None, "the platform host has its own stacks on host")


def test_under_a_watchdog_the_model_is_a_variable(tmp_path: Path) -> None:
    """Whose run may be any function that has its address taken; operators are still the table's."""
    board = load_board("qemu-mps2-an386")
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p", options={"watchdog_s": 5})
    build_project(project)
    report = stack_report(project)
    assert report.note == ""
    check_stack(project)
