"""UF2 drives: found, told apart, written, and left by the board that starts its program."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from microtvm.device import find as find_module
from microtvm.device import list_volumes, plan_flash, run_plan
from microtvm.device import volume as volume_module
from microtvm.device.volume import copy_image, mount_points, read_volume
from microtvm.errors import BoardError, DeviceError, LinkError, ToolError, UserError
from microtvm.target import Board
from tests.flash.bench import board_with, image_of, link_image, plug_in

INFO = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"
ARGV = ["uf2", "{uf2}", "--family", "0xe48bff56", "--board-id", "RPI-RP2"]


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Mounts drives, which `mount_points` then lists; spaces in their names as the kernel writes
    them."""
    lines = ["proc /proc proc rw 0 0", "/dev/sda1 / ext4 rw 0 0"]
    mounts = tmp_path / "mounts"
    mounts.write_text("\n".join(lines))
    monkeypatch.setattr(volume_module, "MOUNTS", mounts)
    monkeypatch.setattr(volume_module.sys, "platform", "linux")
    monkeypatch.setattr(find_module, "USB_DEVICES", tmp_path / "usb")
    plug_in(monkeypatch)

    def add(name: str, info: str = INFO, file: str = "INFO_UF2.TXT") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / file).write_bytes(info.encode())
        shown = str(folder).replace(" ", r"\040")
        lines.append(f"/dev/sdb1 {shown} vfat rw,nosuid 0 0")
        mounts.write_text("\n".join(lines))
        return folder

    return add


def boot_loader(folder: Path, takes: bool = True) -> tuple[threading.Thread, list[bytes]]:
    """The board behind a drive: it goes away with the last block of an image."""
    taken: list[bytes] = []

    def serve() -> None:
        for _ in range(500):
            for file in folder.glob("*.uf2"):
                data = file.read_bytes()
                if data and len(data) == 512 * int.from_bytes(data[24:28], "little"):
                    taken.append(data)
                    if takes:
                        shutil.rmtree(folder)
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread, taken


def flash(board: Board, elf: Path, folder: Path, *, port: str = "") -> None:
    run_plan(plan_flash(board, board.flash_tools, image_of(elf, folder), port=port), touch_s=0.5)


def test_drives_are_found(mount: Callable[..., Path], tmp_path: Path) -> None:
    first = mount("RPI RP2")
    second = mount("lower", file="info_uf2.txt")
    mount("stick", file="holiday.txt")
    assert mount_points()[0] == first
    assert [(v.path, v.model, v.board_id) for v in list_volumes()] == [
        (first, "Raspberry Pi RP2", "RPI-RP2"),
        (second, "Raspberry Pi RP2", "RPI-RP2"),
    ]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_looked_at(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_module.sys, "platform", platform)
    assert all(str(each).startswith(("/Volumes", "D", "E")) for each in mount_points()[:2])
    assert (len(mount_points()) > 0) == (platform == "win32")


def test_no_mounts_no_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_module, "MOUNTS", tmp_path / "absent")
    assert mount_points() == []


def test_image_is_copied(mount: Callable[..., Path], tmp_path: Path) -> None:
    drive = mount("RPI-RP2")
    thread, taken = boot_loader(drive)
    board = board_with({"uf2": ARGV})
    elf = link_image(tmp_path, flash=0x10000000)
    flash(board, elf, tmp_path)
    thread.join(5)
    assert taken == [(tmp_path / "build" / "flash" / "image.uf2").read_bytes()]
    assert taken[0][28:32] == bytes([0x56, 0xFF, 0x8B, 0xE4])


def test_image_that_is_not_taken(mount: Callable[..., Path], tmp_path: Path) -> None:
    drive = mount("RPI-RP2")
    volume = read_volume(drive)
    assert volume is not None
    (tmp_path / "image.uf2").write_bytes(bytes(512))
    with pytest.raises(DeviceError, match="did not take the image") as caught:
        copy_image(tmp_path / "image.uf2", volume, leave_s=0.2)
    assert "family" in caught.value.hint


def test_board_that_is_off_before_the_file_is_closed(
    mount: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel then says that the device is gone; a drive that stays is an error."""
    drive = mount("RPI-RP2")
    volume = read_volume(drive)
    assert volume is not None
    (tmp_path / "image.uf2").write_bytes(bytes(512))

    def gone(_: int) -> None:
        shutil.rmtree(drive)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(volume_module.os, "fsync", gone)
    copy_image(tmp_path / "image.uf2", volume, leave_s=0.2)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    drive.mkdir()
    monkeypatch.setattr(volume_module.os, "fsync", full)
    with pytest.raises(ToolError, match=r"can't write to the drive .*: No space left"):
        copy_image(tmp_path / "image.uf2", volume)


def test_drive_of_another_board(mount: Callable[..., Path], tmp_path: Path) -> None:
    """It is refused where it was named, and left alone where it was not."""
    drive = mount("RP2350", INFO.replace("RPI-RP2", "RP2350"))
    elf = link_image(tmp_path)
    with pytest.raises(UserError, match="is another board's: its Board-ID should be RPI-RP2"):
        flash(board_with({"uf2": ARGV}), elf, tmp_path, port=str(drive))
    with pytest.raises(LinkError, match="no drive of a UF2 boot loader"):
        flash(board_with({"uf2": ARGV}), elf, tmp_path)
    assert [each.name for each in drive.iterdir()] == ["INFO_UF2.TXT"]


def test_two_drives(mount: Callable[..., Path], tmp_path: Path) -> None:
    drives = [mount("first"), mount("second")]
    board = board_with({"uf2": ARGV})
    elf = link_image(tmp_path)
    with pytest.raises(UserError, match="which board") as caught:
        flash(board, elf, tmp_path)
    assert all(str(drive) in caught.value.message for drive in drives)
    thread, taken = boot_loader(drives[1])
    flash(board, elf, tmp_path, port=str(drives[1]))
    thread.join(5)
    assert len(taken) == 1
    with pytest.raises(UserError, match="is no drive of a UF2 boot loader"):
        flash(board, elf, tmp_path, port=str(tmp_path))


def test_no_drive_and_no_port(mount: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="no drive of a UF2 boot loader, and no serial") as caught:
        flash(board_with({"uf2": ARGV}), link_image(tmp_path), tmp_path)
    assert "BOOTSEL" in caught.value.hint
    with pytest.raises(LinkError, match=r"no drive of a UF2 .* and which serial port") as caught:
        flash(board_with({"uf2": ARGV}, usb=[]), link_image(tmp_path), tmp_path)
    with pytest.raises(UserError, match="there is no serial port /dev/ttyACM9"):
        flash(board_with({"uf2": ARGV}), link_image(tmp_path), tmp_path, port="/dev/ttyACM9")


def test_running_board_is_reset_into_its_boot_loader(
    mount: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its port is opened at 1200 baud; then the drive appears."""
    port = tmp_path / "ttyACM0"
    port.touch()
    plug_in(monkeypatch, (str(port), "0483:374b", ""))
    threads = []

    def touched(found: object) -> None:
        threads.append(boot_loader(mount("RPI-RP2")))

    monkeypatch.setattr("microtvm.device.flash_run.open_at_1200", touched)
    flash(board_with({"uf2": ARGV}), link_image(tmp_path), tmp_path)
    ((thread, taken),) = threads
    thread.join(5)
    assert len(taken) == 1
    monkeypatch.setattr("microtvm.device.flash_run.open_at_1200", lambda _: None)
    with pytest.raises(LinkError, match="no drive of a UF2 boot loader is there"):
        flash(board_with({"uf2": ARGV}), link_image(tmp_path), tmp_path, port=str(port))
    port.unlink()
    with pytest.raises(LinkError, match="is gone"):
        flash(board_with({"uf2": ARGV}), link_image(tmp_path), tmp_path)


def test_family_that_is_no_number(mount: Callable[..., Path], tmp_path: Path) -> None:
    mount("RPI-RP2")
    board = board_with({"uf2": ["uf2", "{uf2}", "--family", "rp2040"]})
    with pytest.raises(BoardError, match="the family 'rp2040' is no number"):
        flash(board, link_image(tmp_path), tmp_path)
