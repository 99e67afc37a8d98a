"""Tools that succeed, that fail in ways nobody wrote down, that hang; boards that are touched."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from microtvm.device import Plan, plan_flash, run_plan
from microtvm.device import flash_run as flash_run_module
from microtvm.device import touch as touch_module
from microtvm.device.find import Port
from microtvm.device.touch import open_at_1200, touch
from microtvm.errors import LinkError, ToolError
from microtvm.target import UsbId
from tests.flash.bench import board_with, image_of, link_image, on_path, plug_in, stand_in


@pytest.fixture
def terminal() -> Iterator[str]:
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def planned(folder: Path, argv: list[str], *, port: str = "") -> Plan:
    board = board_with({"tool": argv})
    image = image_of(link_image(folder), folder)
    return plan_flash(board, board.flash_tools, image, port=port)


def test_tool_that_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "mystery", ["a b", "$HOME"], text="wrote 100%\rdone\n")
    on_path(monkeypatch, tmp_path / "bin")
    lines: list[str] = []
    plan = planned(tmp_path, ["mystery", "a b", "$HOME"])
    run_plan(plan, line=lines.append)
    assert lines == ["a line of progress", "wrote 100%", "done"]
    assert plan.log.read_text().endswith("done\n")


def test_unknown_failure_shows_the_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "".join(f"\x1b[31mline {i}\x1b[0m\n" for i in range(30))
    stand_in(tmp_path / "bin", "mystery", [], text=words, status=7)
    on_path(monkeypatch, tmp_path / "bin")
    plan = planned(tmp_path, ["mystery"])
    with pytest.raises(ToolError) as caught:
        run_plan(plan)
    assert caught.value.message == (
        "flashing board with tool failed: mystery exited with status 7, its last words:\n"
        + "\n".join(f"line {i}" for i in range(18, 30))
    )
    assert caught.value.hint == f"all that it said is in {plan.log}"
    assert "line 0\x1b" in plan.log.read_text()


def test_known_tool_that_fails_in_an_unknown_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", "pyocd", [], text="0001 C the moon is full [moon]\n", status=1)
    on_path(monkeypatch, tmp_path / "bin")
    words = r"exited with status 1, its last words:\n.*\n.*moon is full"
    with pytest.raises(ToolError, match=words):
        run_plan(planned(tmp_path, ["pyocd"]))


def test_tool_that_succeeds_with_a_status_that_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dfu-util 0.11: the chip has left before it could say so."""
    text = "File downloaded successfully\ndfu-util: Error during download get_status\n"
    stand_in(tmp_path / "bin", "dfu-util", [], text=text, status=74)
    on_path(monkeypatch, tmp_path / "bin")
    run_plan(planned(tmp_path, ["dfu-util"]))


def test_tool_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "mystery", [], text="connecting...\n", waits=True)
    on_path(monkeypatch, tmp_path / "bin")
    with pytest.raises(ToolError, match=r"it took longer than 0\.5 s, its last words:\na line"):
        run_plan(planned(tmp_path, ["mystery"]), timeout_s=0.5)


def test_tool_that_went_after_it_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = stand_in(tmp_path / "bin", "mystery", [])
    on_path(monkeypatch, tmp_path / "bin")
    plan = planned(tmp_path, ["mystery"])
    (seen.parent / "mystery").unlink()
    with pytest.raises(ToolError, match="mystery is not installed"):
        run_plan(plan)


def test_port_in_use_is_told_before_the_tool_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path / "bin", "mystery", ["-P", "/dev/null"])
    on_path(monkeypatch, tmp_path / "bin")
    problem = LinkError("the port /dev/null is in use by minicom (process 1)")
    monkeypatch.setattr(flash_run_module, "port_problem", lambda _: problem)
    with pytest.raises(LinkError, match="in use by minicom"):
        run_plan(planned(tmp_path, ["mystery", "-P", "{port}"], port="/dev/null"))


# ---- 1200 baud ----

BOARD = board_with({})
PROGRAM = ("/dev/ttyACM0", "0483:374b", "1")
BOOT_LOADER = ("/dev/ttyACM1", "0483:374b", "1")


def appear(monkeypatch: pytest.MonkeyPatch, *states: tuple[tuple[str, str, str], ...]) -> None:
    """Each look at the ports shows the next state; the last one stays."""
    left = list(states)
    plug_in(monkeypatch, *left[0])

    def look(_port: Port) -> None:
        left.pop(0)

    def sleep(_: float) -> None:
        if len(left) > 1:
            left.pop(0)
        plug_in(monkeypatch, *left[0])

    monkeypatch.setattr(touch_module, "open_at_1200", look)
    monkeypatch.setattr(touch_module.time, "sleep", sleep)


def found(device: str) -> Port:
    return Port(device, UsbId(0x0483, 0x374B), "1", "Debug Probe")


@pytest.mark.parametrize(
    ("states", "device"),
    [
        ([(PROGRAM,), (PROGRAM,), (), (BOOT_LOADER,)], "/dev/ttyACM1"),
        ([(PROGRAM,), (PROGRAM,), (), (), (PROGRAM,)], "/dev/ttyACM0"),
        ([(PROGRAM,), (PROGRAM,)], "/dev/ttyACM0"),
    ],
)
def test_board_comes_back_as_its_boot_loader(
    monkeypatch: pytest.MonkeyPatch, states: list[tuple[tuple[str, str, str], ...]], device: str
) -> None:
    """At another port, at the same, or it never left because it was there already."""
    appear(monkeypatch, *states)
    assert touch(BOARD, found("/dev/ttyACM0"), wait_s=0.05).device == device


def test_board_that_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    appear(monkeypatch, (PROGRAM,), (PROGRAM,), ())
    with pytest.raises(LinkError, match="did not come back") as caught:
        touch(BOARD, found("/dev/ttyACM0"), wait_s=0.05)
    assert "press reset twice" in caught.value.hint


def test_touched_board_is_flashed_where_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: str
) -> None:
    image = image_of(link_image(tmp_path), tmp_path)
    stand_in(tmp_path / "bin", "bossac", ["--port=/dev/boot", "-w", str(image.file("{bin}"))])
    on_path(monkeypatch, tmp_path / "bin")
    plug_in(monkeypatch, (terminal, "0483:374b", "1"))
    monkeypatch.setattr(flash_run_module, "touch", lambda _board, _port, **_: found("/dev/boot"))
    board = board_with({"bossac": ["bossac", "--port={port}", "-w", "{bin}"]})
    run_plan(plan_flash(board, board.flash_tools, image))


def test_port_is_really_opened_at_1200_baud(monkeypatch: pytest.MonkeyPatch, terminal: str) -> None:
    opened = []
    real = serial.Serial

    def record(device: str, baud: int) -> serial.Serial:
        port = real(device)
        opened.append((device, baud))

        class Silent:
            """A pseudo-terminal has no such line."""

            dtr = True
            close = port.close

        return Silent()

    monkeypatch.setattr(touch_module.serial, "Serial", record)
    open_at_1200(Port(terminal))
    assert opened == [(terminal, 1200)]


def test_port_that_cannot_be_opened_to_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise serial.SerialException("busy")

    monkeypatch.setattr(touch_module.serial, "Serial", refuse)
    with pytest.raises(LinkError, match="can't open /dev/null to reset the board: busy"):
        open_at_1200(Port("/dev/null"))
    open_at_1200(Port("/dev/ttyACM77"))
