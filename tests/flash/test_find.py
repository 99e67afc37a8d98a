"""Ports of boards: none, one, two, not this user's, in use; and what is plugged in instead."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from microtvm.device import find as find_module
from microtvm.device import find_port, list_ports, open_transport
from microtvm.device.find import Port, count_devices, holders, port_problem
from microtvm.errors import LinkError, UserError
from microtvm.target import UsbId, list_boards, load_board
from microtvm.target.explain import link_text
from tests.flash.bench import board_with, plug_in

BOARD = board_with({})
NUCLEO = ("/dev/ttyACM0", "0483:374b", "066AFF31")
OTHER_NUCLEO = ("/dev/ttyACM1", "0483:374b", "0671FF57")
PICO = ("/dev/ttyACM2", "2e8a:000a", "E66038B713")
BUILT_IN = ("/dev/ttyS0", "", "")


@pytest.fixture(autouse=True)
def empty_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No USB device of this machine is a board of a test."""
    monkeypatch.setattr(find_module, "USB_DEVICES", tmp_path / "usb")
    return tmp_path / "usb"


def test_ports_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, BUILT_IN, PICO, NUCLEO)
    assert list_ports() == [
        Port("/dev/ttyACM0", UsbId(0x0483, 0x374B), "066AFF31", "Debug Probe"),
        Port("/dev/ttyACM2", UsbId(0x2E8A, 0x000A), "E66038B713", "Debug Probe"),
        Port("/dev/ttyS0"),
    ]
    assert str(list_ports()[0]) == ("/dev/ttyACM0 (0483:374b, Debug Probe, serial number 066AFF31)")
    assert str(list_ports()[2]) == "/dev/ttyS0 (not USB)"


def test_the_only_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, BUILT_IN, PICO, NUCLEO)
    assert find_port(BOARD).device == "/dev/ttyACM0"


def test_none_is_plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, BUILT_IN, PICO)
    with pytest.raises(LinkError, match="no serial port of a USB device 0483:374b") as caught:
        find_port(BOARD)
    assert "is it plugged in" in caught.value.hint
    assert "there are: /dev/ttyACM2 (2e8a:000a" in caught.value.hint
    assert "ttyS0" not in caught.value.hint
    plug_in(monkeypatch)
    with pytest.raises(LinkError) as caught:
        find_port(BOARD)
    assert "there are no serial ports at all" in caught.value.hint


@pytest.mark.parametrize(
    ("vendor", "product", "advice"),
    [
        ("0483", "374b", "its driver cdc_acm may be missing"),
        ("10c4", "ea60", "its driver cp210x may be missing"),
        ("1a86", "7523", "brltty"),
    ],
)
def test_plugged_in_without_a_port(
    monkeypatch: pytest.MonkeyPatch, empty_bus: Path, vendor: str, product: str, advice: str
) -> None:
    plug_in(monkeypatch)
    board = board_with({}, usb=[UsbId(int(vendor, 16), int(product, 16))])
    device = empty_bus / "1-3"
    device.mkdir(parents=True)
    (device / "idVendor").write_text(f"{vendor}\n")
    (device / "idProduct").write_text(f"{product}\n")
    (empty_bus / "1-0:1.0").mkdir()
    with pytest.raises(LinkError, match=r"is plugged in .*, but has no serial port") as caught:
        find_port(board)
    assert advice in caught.value.hint


def test_two_boards_have_to_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, NUCLEO, OTHER_NUCLEO, PICO)
    with pytest.raises(UserError, match="there are 2 of them") as caught:
        find_port(BOARD)
    for device, _, number in (NUCLEO, OTHER_NUCLEO):
        assert f"{device} (0483:374b, Debug Probe, serial number {number})" in caught.value.message
    assert "ttyACM2" not in caught.value.message
    assert caught.value.hint == "choose with --port or --serial-number"
    assert find_port(BOARD, port="/dev/ttyACM1").serial_number == "0671FF57"
    assert find_port(BOARD, serial_number="0671FF57").device == "/dev/ttyACM1"


def test_one_board_with_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, NUCLEO, ("/dev/ttyACM1", *NUCLEO[1:]))
    for number in ("", "066AFF31"):
        with pytest.raises(UserError, match="one device has 2 serial ports") as caught:
            find_port(BOARD, serial_number=number)
        assert caught.value.hint == "choose with --port"


def at(port: tuple[str, str, str], location: str) -> tuple[str, str, str, str]:
    return (*port, location)


def test_clones_with_equal_serial_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two devices at two places of the bus are two, whatever numbers their maker gave them."""
    first, second = at(NUCLEO, "1-4:1.2"), at(("/dev/ttyACM1", *NUCLEO[1:]), "1-2.1:1.2")
    plug_in(monkeypatch, first, second)
    with pytest.raises(UserError, match="there are 2 of them") as caught:
        find_port(BOARD)
    assert "serial number 066AFF31), plugged in at 1-4\n" in caught.value.message
    assert caught.value.message.endswith("plugged in at 1-2.1")
    assert caught.value.hint == "choose with --port"
    plug_in(monkeypatch, at(NUCLEO, "1-4:1.2"), at(("/dev/ttyACM1", *NUCLEO[1:]), "1-4:1.4"))
    with pytest.raises(UserError, match="one device has 2 serial ports"):
        find_port(BOARD)


def test_devices_are_counted_by_place_and_number() -> None:
    ports = [
        Port("a", UsbId(1, 1), "7", location="1-1:1.0"),
        Port("b", UsbId(1, 1), "7", location="1-1:1.2"),
        Port("c", UsbId(1, 1), "7", location="1-2:1.0"),
    ]
    assert count_devices(ports) == 2
    assert count_devices([Port("a", serial_number="7"), Port("b", serial_number="7")]) == 1
    assert count_devices([Port("a"), Port("b")]) == 2
    assert count_devices([]) == 0


# ---- the chip's own USB, which only some platforms program ----

CORE = ("/dev/ttyACM3", "2e8a:000a", "E66038B713")


def test_port_of_an_arduino_core_is_no_link_of_zephyr(monkeypatch: pytest.MonkeyPatch) -> None:
    pico = load_board("rpi_pico")
    plug_in(monkeypatch, CORE)
    assert find_port(pico, platform="arduino").device == "/dev/ttyACM3"
    assert find_port(pico).device == "/dev/ttyACM3"
    with pytest.raises(UserError, match=r"is the UART uart0 \(TX GPIO0, RX GPIO1\)") as caught:
        find_port(pico, platform="zephyr")
    assert caught.value.hint.startswith(
        "connect a serial adapter to TX GPIO0, RX GPIO1, 115200 baud, and give its port with --port"
    )
    assert "ttyACM3" in caught.value.hint
    assert find_port(pico, platform="zephyr", port="/dev/ttyACM3").device == "/dev/ttyACM3"


def test_probe_whose_port_is_not_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The STM32F4 Discovery's ST-LINK has a port, and flashes; the UART is on pins all the same."""
    discovery = load_board("stm32f4_disco")
    plug_in(monkeypatch, NUCLEO)
    assert find_port(discovery).device == "/dev/ttyACM0"
    for platform in ("zephyr", "arduino"):
        with pytest.raises(UserError, match="which no USB socket of the board leads to") as caught:
            find_port(discovery, platform=platform)
        assert "connect a serial adapter to TX PA2, RX PA3" in caught.value.hint


def test_port_that_takes_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("esp32s3_devkitm")
    plug_in(monkeypatch, ("/dev/ttyACM0", "303a:1001", ""))
    assert find_port(board).device == "/dev/ttyACM0"
    with pytest.raises(UserError, match="Its file has no USB ids; its link is the UART uart0"):
        find_port(board, platform="zephyr")


def test_probe_serves_every_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, NUCLEO)
    nucleo = load_board("nucleo_f411re")
    assert {find_port(nucleo, platform=name).device for name in nucleo.platforms} == {
        "/dev/ttyACM0"
    }


def test_links_in_words() -> None:
    assert link_text(load_board("qemu-mps2-an386"), "baremetal") == "the emulator's"
    mega = link_text(load_board("arduino-mega2560"), "arduino")
    assert mega.startswith("the UART, by the board's debug probe or USB bridge: 2341:0010")
    assert link_text(load_board("xiao_ble"), "zephyr") == "the chip's own USB: 2fe3:0100"


def test_every_real_board_says_where_its_link_is() -> None:
    for name in list_boards():
        board = load_board(name)
        if board.url:
            for platform in board.platforms:
                text = link_text(board, platform)
                known = bool(board.link_usb(platform))
                assert known == ("give --port" not in text), name
                assert board.uart is not None or known, name


def test_choices_that_do_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plug_in(monkeypatch, NUCLEO, PICO)
    with pytest.raises(UserError, match="with the serial number 77") as caught:
        find_port(BOARD, serial_number="77")
    assert "ttyACM2" in caught.value.hint
    with pytest.raises(UserError, match="there is no serial port /dev/ttyACM9") as caught:
        find_port(BOARD, port="/dev/ttyACM9")
    assert "ttyACM0" in caught.value.hint
    with pytest.raises(UserError, match="Its file has no USB ids") as caught:
        find_port(board_with({}, usb=[]))
    assert "--port" in caught.value.hint


def test_ports_by_other_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By-id links, pseudo-terminals, ports over the network; other boards' when asked for."""
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "ttyACM0")
    plug_in(monkeypatch, (str(tmp_path / "ttyACM0"), *NUCLEO[1:]), PICO)
    assert find_port(BOARD, port=str(tmp_path / "by-id")).serial_number == "066AFF31"
    assert find_port(BOARD, port="rfc2217://h:1") == Port("rfc2217://h:1")
    assert find_port(BOARD, port="/dev/null") == Port("/dev/null")
    assert find_port(BOARD, serial_number="E66038B713").device == "/dev/ttyACM2"


# ---- what keeps a port from being used ----


def test_port_that_is_free() -> None:
    master, slave = pty.openpty()
    try:
        assert port_problem(os.ttyname(slave)) is None
    finally:
        os.close(master)
        os.close(slave)
    assert port_problem("rfc2217://h:1") is None


def test_port_that_is_in_use() -> None:
    """By a program that holds it open, whether it has locked it or not."""
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    script = f"import time; port = open({path!r}, 'rb'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            (name,) = holders(path)
            assert name.endswith(f"(process {child.pid})")
            problem = port_problem(path)
            assert isinstance(problem, LinkError)
            assert problem.message == f"the port {path} is in use by {name}"
            assert "close the serial monitor" in problem.hint
        finally:
            child.kill()
            os.close(master)
            os.close(slave)


def test_port_that_a_session_has_locked() -> None:
    """A second session is told who has it, not only that it can't be opened."""
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    script = (
        f"import serial, time; port = serial.Serial({path!r}, exclusive=True); "
        "print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            with pytest.raises(LinkError, match=rf"is in use by .*\(process {child.pid}\)"):
                open_transport(f"serial:{path}")
        finally:
            child.kill()
            os.close(master)
            os.close(slave)


def test_port_of_another_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ttyACM0").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "group", lambda _: "dialout")
    problem = port_problem(str(tmp_path / "ttyACM0"))
    assert isinstance(problem, LinkError)
    assert "belongs to the group dialout" in problem.message
    assert problem.hint.startswith("sudo usermod -a -G dialout $USER")

    def unknown(_: Path) -> str:
        raise KeyError("uid")

    monkeypatch.setattr(Path, "group", unknown)
    problem = port_problem(str(tmp_path / "ttyACM0"))
    assert problem is not None
    assert "group dialout" in problem.message


def test_port_that_is_gone() -> None:
    problem = port_problem("/dev/ttyACM77")
    assert problem is not None
    assert "is gone" in problem.message
