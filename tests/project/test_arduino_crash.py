"""Crashes of Arduino's AVRs: the next session is told of them, with operator and line."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from microtvm.attach import open_link
from microtvm.device import Session, Timing, Transport
from microtvm.device.client import RestartError
from microtvm.device.crash import Crash
from microtvm.errors import BoardError, UserError
from microtvm.inference import run_project
from microtvm.project import Built, build_project, create_project, watchdog_warning
from microtvm.project.arduino import CORES
from microtvm.target import load_board
from tests.conftest import ROOT, require_tool
from tests.project.image import patch, spoil
from tests.project.test_arduino import tiny, without_cli
from tests.project.test_watchdog import inputs

MEGA, QEMU = "arduino-mega2560", "qemu-mega2560"

HANG, ABORT, ASSERT, INTERRUPT, OVERFLOW, SLOW, STUCK = range(100, 107)
"""What the first element of the input asks of the second operator; SLOW: of both, that they need
the watchdog's time together, but not alone; STUCK: that it never ends, nor what notes that."""

LOOP = 'for (;;) __asm__ volatile("nop");'
ABORTS = "abort();"
ASSERTS = "assert(x[0] != 102 || MUST_HOLD(x));"
MISCHIEF = f"""
#include <avr/io.h>
#include <avr/interrupt.h>
#include <stdlib.h>
#include <util/delay.h>
#define __ASSERT_USE_STDERR
#include <assert.h>

#define MUST_HOLD(x) ((x)[0] == 0)

extern uint8_t __heap_start;
extern volatile uint8_t stuck;
volatile uint8_t stuck;

static __attribute__((noinline)) int dig(const volatile uint8_t *x)
{{
    return SP + 4u > (uint16_t)&__heap_start ? dig(x + 1) + *x : 0;
}}

static void wait_if_slow(const uint8_t *x)
{{
    if (x[0] == 105)
        _delay_ms(80);
}}

static void misbehave(const volatile uint8_t *x)
{{
    stuck = x[0] == 106;
    if (x[0] == 100 || x[0] == 106) {{
        {LOOP}
    }}
    if (x[0] == 101) {{
        {ABORTS}
    }}
    {ASSERTS}
    if (x[0] == 103) {{
        UCSR1B = _BV(TXEN1) | _BV(UDRIE1);
    }}
    while (x[0] == 103) {{
    }}
    if (x[0] == 104) {{
        dig(x);
    }}
}}
"""


def misbehaving(folder: Path) -> Path:
    """The library with operators that do as the input says."""
    library = tiny(folder)
    spoil(library / "tiny.c", MISCHIEF)
    return library


def build(folder: Path, seconds: int) -> Built:
    """An image with a watchdog of a fraction of a second, or with none."""
    for program in ("arduino-builder", "avr-gcc", "simavr", "qemu-system-avr"):
        require_tool(program)
    library = misbehaving(folder / "library")
    options = {"watchdog_s": seconds}
    project = create_project(library, load_board(MEGA), folder / "p", options=options)
    source = project.folder / "libraries" / "tiny" / "src"
    port = source / "mtvm_arduino_crash.cpp"
    patch(port, "wdt_enable(PERIOD)", "wdt_enable(WDTO_120MS)")
    patch(port, "    wdt_enable(WDTO_15MS)", (
        "    while (stuck)\n        ;\n    wdt_enable(WDTO_15MS)"
    ))  # fmt: skip
    patch(port, "#define INTACT", 'extern "C" volatile uint8_t stuck;\n#define INTACT')
    with pytest.MonkeyPatch.context() as patcher:
        without_cli(patcher)
        return build_project(project, strict=True)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("watched"), 1)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("plain"), 0)


@pytest.fixture
def link(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """To the image and the emulator of the test's parameter, e.g. `watched on arduino-mega2560`."""
    image, _, board = request.param.partition(" on ")
    built: Built = request.getfixturevalue(image)
    transport = open_link(dataclasses.replace(built.project, board=load_board(board)))
    yield transport
    transport.close()


def connect(built: Built, link: Transport) -> Session:
    """A session with the machine as it is: nothing restarts it but itself."""
    metadata = built.project.library.metadata
    return Session(link, metadata, elf=built.elf, timing=Timing(run_s=5.0))


def line_of(built: Built, text: str) -> int:
    source = built.project.library.folder / "tiny.c"
    (number,) = (
        index for index, line in enumerate(source.read_text().splitlines(), start=1) if text in line
    )
    return number


def crash_of(built: Built, link: Transport, action: int, *, whole: bool) -> Crash:
    """What a run notes that crashes, told to who waits for it and to who comes later, once."""
    session = connect(built, link)
    assert session.last_crash is None
    expected = session.run(inputs(1), whole=whole)["y"]
    with pytest.raises(RestartError, match="it noted: ") as caught:
        session.run(inputs(action), whole=whole)
    crash = session.last_crash
    assert crash is not None
    assert str(crash) in caught.value.message
    again = connect(built, link)
    assert again.last_crash is None
    np.testing.assert_array_equal(again.run(inputs(1), whole=whole)["y"], expected)
    return crash


WATCHED, PLAIN = f"watched on {MEGA}", f"plain on {MEGA}"
PLAIN_QEMU = f"plain on {QEMU}"


@pytest.mark.qemu
@pytest.mark.parametrize("link", [WATCHED], indirect=True)
@pytest.mark.parametrize(("action", "whole"), [(HANG, False), (HANG, True), (STUCK, False)])
def test_operator_that_never_ends_is_reported(
    watched: Built, link: Transport, action: int, whole: bool
) -> None:
    """Where its interrupt doesn't end either, the watchdog resets with its second time-out."""
    crash = crash_of(watched, link, action, whole=whole)
    assert (crash.cause, crash.operator) == ("watchdog", "squash")
    assert "watchdog_s" in crash.hint
    assert crash.location is not None
    assert (crash.location.file, crash.location.line) == ("tiny.c", line_of(watched, LOOP))
    assert crash.location.function in ("squash", "misbehave")
    assert 0x2000 < crash.registers["sp"] < 0x2200


@pytest.mark.qemu
@pytest.mark.parametrize("link", [WATCHED, PLAIN, PLAIN_QEMU], indirect=True)
@pytest.mark.parametrize(
    ("action", "cause", "text"),
    [
        (ABORT, "abort", ABORTS),
        (ASSERT, "x[0] != 102 || MUST_HOLD(x)", ASSERTS),
        (INTERRUPT, "unexpected interrupt", "while (x[0] == 103) {"),
        (OVERFLOW, "stack overflow", ""),
    ],
)
def test_other_crashes_are_reported(
    request: pytest.FixtureRequest, link: Transport, action: int, cause: str, text: str
) -> None:
    image, _, _ = request.node.callspec.params["link"].partition(" on ")
    built: Built = request.getfixturevalue(image)
    whole = action == OVERFLOW
    crash = crash_of(built, link, action, whole=whole)
    assert (crash.cause, crash.during_run) == (cause, True)
    # A whole inference of the model's own does not say where it is.
    assert crash.operator == (
        "" if whole and built.project.options["watchdog_s"] == 0 else "squash"
    )
    if not text:
        assert crash.registers == {}
        return
    assert crash.location is not None
    assert crash.location.file == "tiny.c"
    line = line_of(built, text)
    # Without a watchdog calls are short.
    assert abs(crash.location.line - line) <= (0 if built.project.options["watchdog_s"] else 3)
    if action == ASSERT:
        assert crash.registers["line"] == line


@pytest.mark.qemu
@pytest.mark.parametrize("link", [PLAIN], indirect=True)
def test_overflow_of_one_operator_names_it(plain: Built, link: Transport) -> None:
    crash = crash_of(plain, link, OVERFLOW, whole=False)
    assert (crash.cause, crash.operator) == ("stack overflow", "squash")


@pytest.mark.qemu
@pytest.mark.parametrize("link", [WATCHED], indirect=True)
def test_nothing_else_is_reset(watched: Built, link: Transport) -> None:
    session = connect(watched, link)
    results = [session.run(inputs(1), whole=index % 2 == 0)["y"] for index in range(10)]
    for whole in (False, True):
        results.append(session.run(inputs(SLOW), whole=whole)["y"])
    results.append(session.run(inputs(1))["y"])
    np.testing.assert_array_equal(results[0], results[-1])
    assert connect(watched, link).last_crash is None


@pytest.mark.qemu
def test_watched_run_is_counted(watched: Built) -> None:
    """For a whole inference the server calls another function than the model's own."""
    result = run_project(watched.project)
    assert result.counts is not None
    inside = sum(o.cycles for o in result.counts.operators if o.cycles is not None)
    assert result.cycles is not None
    assert 0 < result.cycles - inside < 1000


# ---- what is refused ----


def compile_crash(cpu: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """The port's file alone, for another of Arduino's AVRs."""
    require_tool("avr-g++")
    core = CORES / "arduino" / "avr"
    folders = (core / "cores" / "arduino", core / "variants" / "standard")
    port = ROOT / "runtime_c" / "port" / "arduino"
    return subprocess.run(
        [
            *(
                "avr-g++",
                f"-mmcu={cpu}",
                "-std=gnu++11",
                "-Os",
                "-Wall",
                "-Wextra",
            ),
            *("-DF_CPU=16000000L", "-DARDUINO=10807", f"-DMTVM_WATCHDOG_S={seconds}"),
            *(f"-I{folder}" for folder in (*folders, port, ROOT / "runtime_c" / "include")),
            *("-S", "-o", "-", port / "mtvm_arduino_crash.cpp"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("seconds", "period"), [(1, 6), (2, 7), (4, 32), (8, 33)])
def test_period_is_the_prescalers(seconds: int, period: int) -> None:
    """Data sheet, table 12-2: WDP3 is bit 5, and WDE bit 3."""
    done = compile_crash("atmega328p", seconds)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"lo8({period | 8})" in done.stdout


def test_wrong_period_is_no_program() -> None:
    assert "MTVM_WATCHDOG_S is 1, 2, 4 or 8" in compile_crash("atmega328p", 3).stderr


def test_core_without_such_a_watchdog_has_no_records() -> None:
    assert "only AVRs with the watchdog" in compile_crash("atmega8", 1).stderr
    done = compile_crash("atmega8", 0)
    assert (done.returncode, done.stderr) == (0, "")
    assert "noinit" not in done.stdout


@pytest.mark.parametrize("seconds", [-1, 3, 9, 16])
def test_time_that_it_can_not_count_is_refused(seconds: int, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"option watchdog_s .* arduino is {seconds}$") as caught:
        create_project(
            tiny(tmp_path / "tiny"), load_board(MEGA), tmp_path / "p",
            options={"watchdog_s": seconds},
        )  # fmt: skip
    assert "counts 1, 2, 4, 8 s; 0 is none" in caught.value.hint
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("name", "problem", "hint"),
    [
        ("arduino_due", "has a cortex-m3, and the platform arduino drives", "arduino-mega2560"),
        (QEMU, "has no watchdog that the platform arduino", "boards that have it: arduino-mega"),
    ],
)
def test_board_without_one_says_so(name: str, problem: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=problem) as caught:
        create_project(
            tiny(tmp_path / "tiny"), load_board(name), tmp_path / "p",
            platform="arduino", options={"watchdog_s": 1},
        )  # fmt: skip
    assert hint in caught.value.hint


@pytest.mark.parametrize("platform", ["host", "zephyr"])
def test_other_platforms_say_who_has_it(platform: str, tmp_path: Path) -> None:
    board = load_board("host" if platform == "host" else "qemu-mps2-an385")
    with pytest.raises(UserError, match=f"{platform} has no option 'watchdog_s'") as caught:
        create_project(
            tiny(tmp_path / "tiny"), board, tmp_path / "p", platform=platform,
            options={"watchdog_s": 1},
        )  # fmt: skip
    assert "baremetal has it, and arduino on boards with an AVR" in caught.value.hint


@pytest.mark.parametrize(("dtype", "enough"), [("int8", 1), ("float32", 2)])
@pytest.mark.parametrize("slow", [False, True])
def test_operator_that_may_take_too_long_is_told(
    dtype: str, enough: int, slow: bool, tmp_path: Path
) -> None:
    """The longest operator has 64 products."""
    library = tiny(tmp_path / "tiny")
    patch(library / "metadata.json", '"shape": [1, 16], "dtype": "int8"', (
        f'"shape": [1, 16], "dtype": "{dtype}"'
    ))  # fmt: skip
    file = tmp_path / "slow.toml"
    hz = 2 * 64 * (128 if dtype == "int8" else 160) - slow
    file.write_text(f'inherits = ["{MEGA}"]\ndescription = "slow"\nhz = {hz}\n')
    made = create_project(
        library, load_board(str(file)), tmp_path / "p", options={"watchdog_s": enough}
    )
    assert ("operator product may take" in watchdog_warning(made)) == slow


def test_readme_warns_of_old_bootloaders(tmp_path: Path) -> None:
    library = tiny(tmp_path / "tiny")
    for seconds in (0, 1):
        made = create_project(
            library, load_board(MEGA), tmp_path / f"{seconds}", options={"watchdog_s": seconds}
        )
        readme = (made.folder / "README.md").read_text()
        assert ("A bootloader from before 2012" in readme) == (seconds == 1)
        assert "Crashes are noted" in readme
        assert watchdog_warning(made) == ""
