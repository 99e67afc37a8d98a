"""Drives that UF2 boot loaders show: found by their INFO_UF2.TXT, and images copied to them."""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import DeviceError, LinkError, ToolError, UserError

MOUNTS = Path("/proc/self/mounts")
INFO = "INFO_UF2.TXT"

LEAVE_S = 15.0
"""How long a board has to start its new program, which takes the drive away."""

POLL_S = 0.1

_FAT = ("vfat", "msdos", "exfat", "fuseblk")
_GONE = (errno.EIO, errno.ENODEV, errno.ENOENT, errno.ENXIO, errno.EROFS)
_OCTAL = re.compile(r"\\([0-7]{3})")

BOOTSEL = (
    "put the board into its boot loader: hold BOOTSEL while you plug it in, or press reset twice, "
    "quickly; the drive that appears must be mounted"
)


@dataclass(frozen=True)
class Volume:
    """A drive of a UF2 boot loader."""

    path: Path
    model: str
    board_id: str
    """What its INFO_UF2.TXT has, e.g. `RPI-RP2`."""

    def __str__(self) -> str:
        return f"{self.path} ({self.model}, Board-ID {self.board_id})"


def mount_points() -> list[Path]:
    """Where drives are that may be a boot loader's."""
    if sys.platform == "win32":
        return [Path(f"{letter}:\\") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ"]
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").glob("*"))
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [Path(_unescape(f[1])) for f in fields if len(f) > 2 and f[2] in _FAT]


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def list_volumes() -> list[Volume]:
    """All drives that are mounted and have an INFO_UF2.TXT."""
    found = []
    for folder in mount_points():
        volume = read_volume(folder)
        if volume is not None:
            found.append(volume)
    return found


def read_volume(folder: Path) -> Volume | None:
    """The boot loader's drive that is mounted at `folder`; None if it is another."""
    try:
        names = {each.name.upper(): each for each in folder.iterdir()}
        text = names[INFO].read_text(encoding="utf-8", errors="replace")
    except (OSError, KeyError):
        return None
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        pairs[key.strip()] = value.strip()
    return Volume(folder, pairs.get("Model", ""), pairs.get("Board-ID", ""))


def choose_volume(board_id: str = "", *, path: str = "") -> Volume | None:
    """The drive to copy to: the one mounted at `path`, else the only one there is, of boards whose
    Board-ID begins with `board_id`. None if there is none yet.

    UserError if `path` is no such drive, is another board's, or one has to be chosen.
    """
    if path:
        volume = read_volume(Path(path))
        if volume is None:
            raise UserError(f"{path} is no drive of a UF2 boot loader: it has no {INFO}")
        found = [volume]
    else:
        found = list_volumes()
    fitting = [v for v in found if v.board_id.startswith(board_id)]
    if path and not fitting:
        raise UserError(
            f"the drive {found[0]} is another board's: its Board-ID should be {board_id}",
            hint="is this the right board?",
        )
    if len(fitting) > 1:
        raise UserError(
            "which board? These drives are there:\n" + "\n".join(f"  {v}" for v in fitting),
            hint="choose with --port FOLDER, or unplug the others",
        )
    return fitting[0] if fitting else None


def await_volume(board_id: str, wait_s: float, before: Collection[Path] = ()) -> Volume:
    """The drive that was not there `before`, as soon as it is; LinkError after `wait_s`."""
    deadline_s = time.monotonic() + wait_s
    while True:
        for volume in list_volumes():
            if volume.path not in before and volume.board_id.startswith(board_id):
                return volume
        if time.monotonic() >= deadline_s:
            raise LinkError("no drive of a UF2 boot loader is there", hint=BOOTSEL)
        time.sleep(POLL_S)


def copy_image(image: Path, volume: Volume, *, leave_s: float = LEAVE_S) -> None:
    """Copies a UF2 file and waits until the board leaves its boot loader.

    DeviceError if it stays there, as it does for an image of another family; ToolError if the drive
    can't be written.
    """
    data = image.read_bytes()
    target = volume.path / image.name
    try:
        with target.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        # The board starts its program with the last block, and takes the drive away in mid-write.
        if error.errno not in _GONE or read_volume(volume.path) is not None:
            raise ToolError(
                f"can't write to the drive {volume}: {error.strerror}",
                hint="is it mounted for this user, and not read-only?",
            ) from error
    _await_leaving(volume, leave_s)


def _await_leaving(volume: Volume, leave_s: float) -> None:
    deadline_s = time.monotonic() + leave_s
    while read_volume(volume.path) is not None:
        if time.monotonic() >= deadline_s:
            raise DeviceError(
                f"the board of the drive {volume} did not take the image",
                hint="does the image's UF2 family suit the board? (--family of its [flash.uf2])",
            )
        time.sleep(POLL_S)
