"""Which tool is taken, with which arguments, at which port."""

from __future__ import annotations

import dataclasses
import shlex
import sysconfig
from pathlib import Path

import pytest

from microtvm.device import Image, plan_flash
from microtvm.device import find as find_module
from microtvm.device import flash_plan as flash_plan_module
from microtvm.device.find import Port
from microtvm.device.flash_plan import choose_tool, fill
from microtvm.errors import BoardError, LinkError, ToolError, UserError
from microtvm.target import FLASH_PLACEHOLDERS, UsbId, list_boards, load_board, load_programmer
from tests.flash.bench import board_with, plug_in, stand_in

IMAGE = Image(Path("/p/build/m.elf"), Path("/p"), Path("/p/build"))
NUCLEO = ("/dev/ttyACM0", "0483:374b", "066AFF31")
OTHER = ("/dev/ttyACM1", "0483:374b", "0671FF57")


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty PATH, no scripts beside Python, no ports, no USB devices."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    monkeypatch.setattr(find_module, "USB_DEVICES", tmp_path / "usb")
    plug_in(monkeypatch)


BOTH = {
    "openocd": ["openocd", "-c", "adapter serial {serial_number}", "-c", "program {elf}"],
    "pyocd": ["pyocd", "flash", "-u", "{serial_number}", "--erase=sector", "{hex}"],
}


def test_first_installed_tool_is_taken(tmp_path: Path) -> None:
    board = board_with(BOTH)
    stand_in(tmp_path / "bin", "pyocd", [])
    assert choose_tool(board, board.flash_tools).name == "pyocd"
    stand_in(tmp_path / "bin", "openocd", [])
    assert choose_tool(board, board.flash_tools).name == "openocd"
    assert choose_tool(board, board.flash_tools, "pyocd").name == "pyocd"


def test_tool_beside_this_python_needs_no_path(tmp_path: Path) -> None:
    """As pip installs pyocd into the environment that microtvm is called from."""
    stand_in(tmp_path / "scripts", "pyocd", [])
    board = board_with(BOTH)
    plan = plan_flash(board, board.flash_tools, IMAGE)
    assert plan.argv[0] == str(tmp_path / "scripts" / "pyocd")


def test_tool_of_another_name(tmp_path: Path) -> None:
    """esptool has been esptool.py."""
    stand_in(tmp_path / "bin", "esptool.py", [])
    board = board_with({"esptool": ["esptool", "write-flash", "0", "{bin}"]})
    plan = plan_flash(board, board.flash_tools, IMAGE)
    assert plan.argv == ("esptool.py", "write-flash", "0", "/p/build/flash/m.bin")


def test_missing_tools_come_with_ways_to_get_them() -> None:
    board = board_with(BOTH)
    with pytest.raises(ToolError, match="board needs openocd or pyocd, which are not") as caught:
        plan_flash(board, board.flash_tools, IMAGE)
    assert caught.value.hint == (
        "things to try: openocd: apt-get install openocd; pyocd: pip install pyocd"
    )
    with pytest.raises(ToolError, match="board needs pyocd, which is not on the PATH"):
        plan_flash(board, board.flash_tools, IMAGE, tool="pyocd")
    unknown = board_with({"special": ["frobnicate", "{elf}"]})
    with pytest.raises(ToolError) as caught:
        plan_flash(unknown, unknown.flash_tools, IMAGE)
    assert "special: install frobnicate and put it on the PATH" in caught.value.hint


def test_unknown_tool_and_no_tool() -> None:
    board = board_with(BOTH)
    with pytest.raises(UserError, match="board is not flashed with 'pyocdd'") as caught:
        plan_flash(board, board.flash_tools, IMAGE, tool="pyocdd")
    assert caught.value.hint == "its tools: openocd, pyocd"
    for emulated, advice in (
        (True, "microtvm run boots it"),
        (False, "table [flash.<tool>]"),
    ):
        bare = load_board("qemu-mps2-an386")
        bare = bare if emulated else dataclasses.replace(bare, emulator=None)
        with pytest.raises(BoardError, match="has no flash tool") as caught:
            plan_flash(bare, bare.flash_tools, IMAGE)
        assert advice in caught.value.hint


def test_serial_number_of_the_boards_port_chooses_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_with(BOTH)
    stand_in(tmp_path / "bin", "pyocd", [])
    stand_in(tmp_path / "bin", "openocd", [])
    plug_in(monkeypatch, NUCLEO)
    plan = plan_flash(board, board.flash_tools, IMAGE)
    assert plan.argv[1:] == ("-c", "adapter serial 066AFF31", "-c", "program /p/build/m.elf")
    assert plan.port is not None
    plan = plan_flash(board, board.flash_tools, IMAGE, tool="pyocd")
    assert plan.argv[1:] == ("flash", "-u", "066AFF31", "--erase=sector", "/p/build/flash/m.hex")
    plan = plan_flash(board, board.flash_tools, IMAGE, serial_number="77")
    assert plan.argv[2] == "adapter serial 77"
    plug_in(monkeypatch, NUCLEO, OTHER)
    with pytest.raises(UserError, match="which one is board board"):
        plan_flash(board, board.flash_tools, IMAGE)
    plan = plan_flash(board, board.flash_tools, IMAGE, port="/dev/ttyACM1")
    assert plan.argv[2] == "adapter serial 0671FF57"
    with pytest.raises(UserError, match="there is no serial port /dev/ttyACM7"):
        plan_flash(board, board.flash_tools, IMAGE, port="/dev/ttyACM7")


BLIND = {"west": ["west", "flash", "--build-dir", "{build}"], **BOTH}


def test_tool_that_cannot_choose_does_not_take_any_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_with(BLIND)
    for name in ("west", "openocd"):
        stand_in(tmp_path / "bin", name, [])
    plug_in(monkeypatch, NUCLEO)
    assert plan_flash(board, board.flash_tools, IMAGE).argv[0] == "west"
    for given in ({"serial_number": "77"}, {"port": "/dev/ttyACM0"}):
        with pytest.raises(
            UserError, match="west flashes board without being told which"
        ) as caught:
            plan_flash(board, board.flash_tools, IMAGE, **given)
        assert caught.value.hint == "choose --tool openocd or pyocd"
    plug_in(monkeypatch, NUCLEO, OTHER)
    with pytest.raises(UserError, match="2 ports of board are there, and west can't be told"):
        plan_flash(board, board.flash_tools, IMAGE)
    plan_flash(board, board.flash_tools, IMAGE, dry=True)
    alone = board_with({"west": BLIND["west"]})
    with pytest.raises(UserError) as caught:
        plan_flash(alone, alone.flash_tools, IMAGE)
    assert caught.value.hint == "unplug the other boards"


def test_unknown_serial_number_is_left_out(tmp_path: Path) -> None:
    """A probe needs no port: the tool says itself if it is missing."""
    stand_in(tmp_path / "bin", "pyocd", [])
    stand_in(tmp_path / "bin", "openocd", [])
    for board in (board_with(BOTH), board_with(BOTH, usb=[])):
        plan = plan_flash(board, board.flash_tools, IMAGE)
        assert plan.argv == ("openocd", "-c", "program /p/build/m.elf")
        assert plan.port is None


def test_a_word_with_a_dash_goes_alone() -> None:
    words = ["--reset", "--serial={serial_number}", "x", "{serial_number}", "write"]
    assert fill(words, IMAGE, None, "") == ["--reset", "x", "write"]
    assert fill(words, IMAGE, None, "7") == ["--reset", "--serial=7", "x", "7", "write"]


def test_every_placeholder_is_filled() -> None:
    filled = fill(list(FLASH_PLACEHOLDERS), IMAGE, Port("/dev/ttyACM0"), "77")
    assert filled == [
        *("/p/build/m.elf", "/p/build/flash/m.hex", "/p/build/flash/m.bin", "/p/build/flash/m.uf2"),
        *("/p", "/p/build", "/dev/ttyACM0", "77"),
    ]
    assert fill(["-P", "{port}"], IMAGE, None, "", "/dev/ttyACM7") == ["-P", "/dev/ttyACM7"]


PORT = {"avrdude": ["avrdude", "-P", "{port}", "-U", "flash:w:{hex}:i"]}


def test_port_that_a_tool_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = board_with(PORT)
    stand_in(tmp_path / "bin", "avrdude", [])
    with pytest.raises(LinkError, match="board board was not found"):
        plan_flash(board, board.flash_tools, IMAGE)
    with pytest.raises(UserError, match="has no USB ids"):
        plan_flash(board_with(PORT, usb=[]), board.flash_tools, IMAGE)
    plug_in(monkeypatch, NUCLEO)
    plan = plan_flash(board, board.flash_tools, IMAGE)
    assert plan.argv[1:3] == ("-P", "/dev/ttyACM0")


def test_dry_plan_needs_neither_tool_nor_board() -> None:
    board = board_with(PORT)
    for data in (board, board_with(PORT, usb=[])):
        plan = plan_flash(data, data.flash_tools, IMAGE, dry=True)
        assert plan.argv == ("avrdude", "-P", "{port}", "-U", "flash:w:/p/build/flash/m.hex:i")
    plan = plan_flash(board, board_with(BOTH).flash_tools, IMAGE, tool="pyocd", dry=True)
    assert plan.argv[0] == "pyocd"
    with pytest.raises(UserError, match="is not flashed with"):
        plan_flash(board, board.flash_tools, IMAGE, tool="x", dry=True)


@pytest.mark.parametrize("name", list_boards())
def test_boards_name_tools_that_are_known(name: str) -> None:
    """Arguments are complete, and something is known of how each tool fails."""
    board = load_board(name)
    port = Port("/dev/ttyACM0", UsbId(1, 2), "77")
    for tool in board.flash_tools:
        known = load_programmer(tool.argv[0])
        assert known.url, f"{board.file}: nothing is known of {tool.argv[0]}"
        words = fill(tool.argv, IMAGE, port, "77")
        assert not any("{" in word for word in words), shlex.join(words)
        flash_plan_module.Plan(tool, known, tuple(words), port, IMAGE, board)
        if known.name == flash_plan_module.UF2:
            assert "{uf2}" in tool.argv
            options = {word for word in tool.argv if word.startswith("-")}
            # Boot loaders take no blocks without their family.
            assert "--family" in options
            assert options <= {"--family", "--board-id"}


def test_values_are_put_in_once() -> None:
    """A folder or a device may be called like a placeholder; an unknown one stays."""
    image = Image(Path("/p/{port}/m.elf"), Path("/p/{build}"), Path("/p/{elf}"))
    argv = ["{elf}", "{folder}:{build}", "{port}", "{other}", "{bin}"]
    assert fill(argv, image, Port("/dev/{elf}"), "") == [
        "/p/{port}/m.elf",
        "/p/{build}:/p/{elf}",
        "/dev/{elf}",
        "{other}",
        "/p/{elf}/flash/m.bin",
    ]
