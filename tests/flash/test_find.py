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
from microtvm.device.find import Port, holders, port_problem
from microtvm.errors import LinkError, UserError
from microtvm.target import UsbId
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
    ("vendor", "product", "advice"), [("0483", "374b", "cdc_acm"), ("1a86", "7523", "brltty")]
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
