"""What a program notices of itself, an assertion that fails and a stack that was full, is reported
with its operator and, where there is a place, its line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from microtvm.device import EmulatorTransport, Session
from microtvm.device.crash import Crash
from microtvm.errors import DeviceError
from microtvm.project import Built, build_project, create_project
from microtvm.target import load_board
from tests.project.image import TINY, require_board_tools

ASSERTION, LONG_ASSERTION, CANARY = 100, 101, 102
"""What the first element of the input asks for."""

EXPRESSION = "x[0] != 100"
LONG_EXPRESSION = "x[0] != 101 && " + " && ".join(f"x[0] != 101 + {i} - {i}" for i in range(12))
MOST_TEXT_BYTES = 160
"""Of a record: the expression alone would fill it."""

LOCAL = "static void squash(uint8_t *arena)\n{\n"
BOARDS = ["qemu-microbit", "qemu-mps2-an386", "qemu-riscv32"]


@pytest.fixture(scope="module", params=BOARDS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The hand-written model, whose last operator does as the input says."""
    board = load_board(request.param)
    require_board_tools(board)
    folder = tmp_path_factory.mktemp("assertion")
    library = folder / "library"
    shutil.copytree(TINY, library)
    source = library / "tiny.c"
    text = source.read_text()
    assert text.count(LOCAL) == 1
    # Functions of their own, which end with the call that does not return.
    checks = (
        "static __attribute__((noinline)) void fail(void)\n{\n"
        f'    __assert_func("", 0, "", "{EXPRESSION}");\n}}\n\n'
    )
    text = text.replace(
        LOCAL,
        f"{checks}{LOCAL}"
        "    const int8_t *x = (const int8_t *)arena;\n"
        f"    if (x[0] == {ASSERTION}) {{\n        fail();\n    }}\n"
        f"    assert({LONG_EXPRESSION});\n"
        f"    if (x[0] == {CANARY}) {{\n"
        "        mtvm_stack_start[STACK_GUARD_BYTES / 4] = 0;\n    }\n",
    )
    includes = '#include "platform.h"\n\n#include <assert.h>\n#include <math.h>\n'
    source.write_text(text.replace("#include <math.h>\n", includes))
    return build_project(create_project(library, board, folder / "p"), strict=True)


@pytest.fixture
def link(built: Built) -> Iterator[EmulatorTransport]:
    transport = EmulatorTransport(built.project.platform.emulator_argv(built.project, "{serial}"))
    yield transport
    transport.close()


def crashes(built: Built, link: EmulatorTransport, first: int) -> list[Crash]:
    """What who waits for the run hears, and what the next session is told: of a board that works
    again."""
    metadata = built.project.library.metadata
    x = np.zeros((1, 16), np.int8)
    x[0, 0] = first
    session = Session(link, metadata, elf=built.elf)
    with pytest.raises(DeviceError, match="the device crashed while"):
        session.run({"x": x})
    again = Session(link, metadata, elf=built.elf)
    again.run({"x": np.zeros((1, 16), np.int8)})
    found = [session.last_crash, again.last_crash]
    assert all(found)
    return [crash for crash in found if crash]


def line_of(built: Built, text: str) -> int:
    source = (built.project.folder / "model" / "tiny.c").read_text().splitlines()
    (number,) = (index for index, line in enumerate(source, start=1) if text in line)
    return number


@pytest.mark.qemu
def test_assertion_names_operator_and_line(built: Built, link: EmulatorTransport) -> None:
    for crash in crashes(built, link, ASSERTION):
        assert (crash.cause, crash.operator) == (EXPRESSION, "squash")
        assert crash.location is not None
        assert crash.location.function == "fail"
        assert (crash.location.file, crash.location.line) == ("tiny.c", line_of(built, "__assert_"))


@pytest.mark.qemu
def test_long_assertion_leaves_room_for_its_place(built: Built, link: EmulatorTransport) -> None:
    assert len(LONG_EXPRESSION) > MOST_TEXT_BYTES
    for crash in crashes(built, link, LONG_ASSERTION):
        assert LONG_EXPRESSION.startswith(crash.cause)
        assert len(crash.cause) >= MOST_TEXT_BYTES // 2
        assert crash.operator == "squash"
        assert crash.registers["line"] == line_of(built, "assert(x")
        assert crash.location is not None
        assert crash.location.function == "squash"


@pytest.mark.qemu
def test_stack_that_has_been_full_is_seen_between_operators(
    built: Built, link: EmulatorTransport
) -> None:
    for crash in crashes(built, link, CANARY):
        assert crash.cause == "stack overflow"
        assert not crash.registers
