"""The watchdog: what never ends is reported, with its operator and line, and nothing else is."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.boards import emulated_boards
from microtvm.device import EmulatorTransport, Session, Timing
from microtvm.device.crash import Crash
from microtvm.errors import BoardError, DeviceError, UserError
from microtvm.project import (
    Built,
    Project,
    build_project,
    create_project,
    watchdog_warning,
)
from microtvm.target import load_board
from tests.project.image import TINY, patch, require_board_tools, spoil

WATCHED = [name for name in emulated_boards() if load_board(name).watchdog is not None]

HANG, STUCK, SLOW = 100, 101, 102
"""What the first element of the input asks for: an operator that would switch the watchdog off, and
never ends; one that never ends, with a handler that doesn't either; two operators that need the
watchdog's time together, but not alone."""

FRACTION = 20
"""A second of a machine whose instructions are counted takes several."""

LOOP = "while (stuck || x[0] == 100) {"
MISCHIEF = f"""
#include "platform.h"

extern volatile int stuck;
volatile int stuck;

static void wait_if_slow(const uint8_t *x)
{{
    const uint32_t start = counter_read();

    while (x[0] == 102 && counter_read() - start < BOARD_COUNTER_HZ / {FRACTION} / 10 * 6) {{
        for (volatile int i = 0; i < 1000; i++) {{
        }}
    }}
}}

static void misbehave(const uint8_t *x)
{{
    stuck = x[0] == 101;
    if (x[0] == 100) {{
        REGISTER(BOARD_WATCHDOG_BASE + 8u) = 0;
    }}
    {LOOP}
    }}
}}
"""


def misbehaving(folder: Path) -> Path:
    """The hand-written model, whose operators do as the input says."""
    library = folder / "library"
    shutil.copytree(TINY, library)
    spoil(library / "tiny.c", MISCHIEF)
    return library


@pytest.fixture(scope="module", params=WATCHED)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An image with a watchdog of a fraction of a second, which goes on alone where its handler
    is stuck."""
    board = load_board(request.param)
    require_board_tools(board)
    folder = tmp_path_factory.mktemp("watched")
    library, options = misbehaving(folder), {"watchdog_s": 1}
    project = create_project(library, board, folder / "p", platform="baremetal", options=options)
    source = project.folder / "src"
    patch(source / "board.h", "u /* 1 s */", f"u / {FRACTION}u")
    patch(source / "fault.c", '#include "platform.h"\n', (
        '#include "platform.h"\n\nextern volatile int stuck;\n'
    ))  # fmt: skip
    patch(
        source / "fault.c", "crash_record.op);\n", "crash_record.op);\n    while (stuck) {\n    }\n"
    )
    return build_project(project, strict=True)


@pytest.fixture
def link(built: Built) -> Iterator[EmulatorTransport]:
    transport = EmulatorTransport(built.project.platform.emulator_argv(built.project, "{serial}"))
    yield transport
    transport.close()


def connect(built: Built, link: EmulatorTransport) -> Session:
    """A session with the machine as it is: nothing restarts it but itself."""
    metadata = built.project.library.metadata
    return Session(link, metadata, elf=built.elf, timing=Timing(run_s=60.0))


def inputs(first: int) -> dict[str, np.ndarray]:
    x = np.ones((1, 16), np.int8)
    x[0, 0] = first
    return {"x": x}


def line_of(built: Built, text: str) -> int:
    source = (built.project.folder / "model" / "tiny.c").read_text().splitlines()
    (number,) = (index for index, line in enumerate(source, start=1) if text in line)
    return number


def check(built: Built, crash: Crash | None) -> None:
    assert crash is not None
    assert (crash.cause, crash.operator) == ("watchdog", "squash")
    assert crash.location is not None
    assert crash.location.file == "tiny.c"
    assert crash.location.line == line_of(built, LOOP)
    assert crash.location.function in ("squash", "misbehave")
    assert crash.registers["exception"] == 2


@pytest.mark.qemu
@pytest.mark.parametrize("whole", [False, True])
def test_operator_that_never_ends_is_reported(
    built: Built, link: EmulatorTransport, whole: bool
) -> None:
    """Whether it runs alone or in a whole inference, to who waits for it and to who comes later."""
    session = connect(built, link)
    with pytest.raises(DeviceError, match="while running the model: watchdog in operator s") as e:
        session.run(inputs(HANG), whole=whole)
    assert "watchdog_s" in e.value.hint
    check(built, session.last_crash)
    session = connect(built, link)
    check(built, session.last_crash)
    expected = session.run(inputs(1))["y"]
    again = connect(built, link)
    assert again.last_crash is None
    np.testing.assert_array_equal(again.run(inputs(1), whole=whole)["y"], expected)


@pytest.mark.qemu
def test_handler_that_is_stuck_is_reset_too(built: Built, link: EmulatorTransport) -> None:
    """By the hardware, when the time has passed a second time: the record was complete."""
    session = connect(built, link)
    with pytest.raises(DeviceError):
        session.run(inputs(STUCK))
    session = connect(built, link)
    check(built, session.last_crash)
    session.run(inputs(1))


@pytest.mark.qemu
def test_nothing_else_is_reset(built: Built, link: EmulatorTransport) -> None:
    session = connect(built, link)
    results = [session.run(inputs(1), whole=index % 2 == 0)["y"] for index in range(10)]
    for whole in (False, True):
        results.append(session.run(inputs(SLOW), whole=whole)["y"])
    time.sleep(0.5)
    results.append(session.run(inputs(1))["y"])
    np.testing.assert_array_equal(results[0], results[-1])
    assert connect(built, link).last_crash is None


def test_boards_with_a_watchdog() -> None:
    assert WATCHED == [
        "qemu-mps2-an385", "qemu-mps2-an385-m0", "qemu-mps2-an386", "qemu-mps2-an500",
        "qemu-mps2-an505", "qemu-mps2-an521", "qemu-mps3-an547",
    ]  # fmt: skip


def test_board_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match="board qemu-riscv32 has no watchdog that the") as caught:
        create_project(
            TINY, load_board("qemu-riscv32"), tmp_path / "p", options={"watchdog_s": "1"}
        )
    assert "boards that have it: qemu-mps2-an385, " in caught.value.hint
    assert '[watchdog] to a board file of your own that has inherits = ["qemu-riscv32"]' in (
        caught.value.hint
    )
    assert "qemu-microbit" not in caught.value.hint
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("name", "seconds", "problem"),
    [
        ("qemu-mps2-an386", 172, r"must be 0 \(none\) to 171 on board"),
        ("qemu-mps2-an505", 215, r"must be 0 \(none\) to 214 on board"),
        ("qemu-mps3-an547", 134218, r"must be 0 \(none\) to 134217 on board"),
        ("qemu-mps2-an386", -1, r"must be 0 \(none\) to 171 on board"),
        ("qemu-mps2-an386", "1.5", "must be of type int, found '1.5'"),
    ],
)
def test_time_that_it_can_not_count_is_refused(
    name: str, seconds: int | str, problem: str, tmp_path: Path
) -> None:
    match = f"option watchdog_s of platform baremetal {problem}"
    with pytest.raises(UserError, match=match) as caught:
        create_project(TINY, load_board(name), tmp_path / "p", options={"watchdog_s": seconds})
    assert "Seconds that an operator may take" in caught.value.hint


def slow_project(folder: Path, cpu: str, seconds: int, *, dtype: str, hz: int) -> Project:
    """The hand-written model, the longest of whose operators has 64 products, on a slow board."""
    library = folder / "library"
    shutil.copytree(TINY, library, dirs_exist_ok=True)
    patch(library / "metadata.json", '"shape": [1, 16], "dtype": "int8"', (
        f'"shape": [1, 16], "dtype": "{dtype}"'
    ))  # fmt: skip
    file = folder / "slow.toml"
    clock = f"hz = {hz}\n" if hz else ""
    file.write_text(f'inherits = ["qemu-mps2-an386"]\ndescription = "slow"\ncpu = "{cpu}"\n{clock}')
    board = load_board(str(file))
    return create_project(library, board, folder / "p", options={"watchdog_s": seconds}, force=True)


@pytest.mark.parametrize(
    ("cpu", "dtype", "enough"),
    [
        ("cortex-m0", "int8", 8),
        ("cortex-m3", "int8", 4),
        ("cortex-m4", "int8", 2),
        ("cortex-m55", "int8", 2),
        ("cortex-m3", "float32", 100),
        ("cortex-m4", "float32", 2),
    ],
)
def test_operator_that_may_take_too_long_is_told(
    cpu: str, dtype: str, enough: int, tmp_path: Path
) -> None:
    short = slow_project(tmp_path, cpu, enough - 1, dtype=dtype, hz=256)
    warning = watchdog_warning(short)
    assert "operator product may take" in warning
    assert f"the watchdog waits {enough - 1} s" in warning
    assert "on board slow" in warning
    long_enough = slow_project(tmp_path, cpu, enough, dtype=dtype, hz=256)
    assert watchdog_warning(long_enough) == ""


def test_nothing_is_told_without_a_watchdog_or_of_a_fast_machine(tmp_path: Path) -> None:
    assert watchdog_warning(slow_project(tmp_path, "cortex-m0", 0, dtype="int8", hz=1)) == ""
    assert watchdog_warning(slow_project(tmp_path, "cortex-m0", 1, dtype="int8", hz=0)) == ""
