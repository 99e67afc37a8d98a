"""Puts an image into a board as planned, and says what to do where that fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from microtvm.device.find import Port, find_port, port_problem
from microtvm.device.flash_plan import UF2, Plan, fill
from microtvm.device.image import write_bin, write_hex, write_uf2
from microtvm.device.process import Process
from microtvm.device.touch import TOUCH_S, open_at_1200, touch
from microtvm.device.volume import (
    BOOTSEL,
    Volume,
    await_volume,
    choose_volume,
    copy_image,
    list_volumes,
)
from microtvm.errors import BoardError, LinkError, ToolError, UserError
from microtvm.target import Board

FLASH_S = 600.0
"""The longest that a tool may take."""

PATIENCE_S = 10.0
"""How long a tool may wait in silence for a board that it does not find."""

_SHOWN_LINES = 12
_POLL_S = 0.1
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Line = Callable[[str], None]
"""Called with each line that a tool prints."""


def run_plan(
    plan: Plan,
    *,
    line: Line | None = None,
    patience_s: float = PATIENCE_S,
    timeout_s: float = FLASH_S,
    touch_s: float = TOUCH_S,
) -> None:
    """Makes the files that the tool wants, and runs it.

    ToolError with what to do if the tool fails, LinkError if the board is missing, in use or not
    this user's.
    """
    _make_files(plan)
    if plan.programmer.name == UF2:
        _copy(plan, touch_s)
        return
    if plan.port is not None and "{port}" in " ".join(plan.tool.argv):
        problem = port_problem(plan.port.device)
        if problem is not None:
            raise problem
    argv = list(plan.argv)
    if plan.programmer.touch and plan.port is not None:
        after = touch(plan.board, plan.port, wait_s=touch_s)
        argv[1:] = fill(plan.tool.argv[1:], plan.image, after, plan.serial_number)
    _run(plan, argv, line or (lambda _text: None), patience_s, timeout_s)


def _make_files(plan: Plan) -> None:
    text = " ".join(plan.tool.argv)
    plan.image.files.mkdir(parents=True, exist_ok=True)
    if "{hex}" in text:
        write_hex(plan.image.elf, plan.image.file("{hex}"))
    if "{bin}" in text:
        write_bin(plan.image.elf, plan.image.file("{bin}"))
    if "{uf2}" in text:
        write_uf2(plan.image.elf, plan.image.file("{uf2}"), _family(plan))


def _family(plan: Plan) -> int | None:
    text = plan.option("--family")
    if not text:
        return None
    try:
        return int(text, 0)
    except ValueError:
        raise BoardError(
            f"{plan.board.file}: flash.{plan.tool.name}: the family {text!r} is no number",
            hint="https://github.com/microsoft/uf2/blob/master/utils/uf2families.json has them",
        ) from None


def _copy(plan: Plan, touch_s: float) -> None:
    board_id = plan.option("--board-id")
    folder = plan.where if Path(plan.where).is_dir() else ""
    # A drive does not say which board it is: where one was chosen, that one is touched.
    chosen = bool(plan.where or plan.serial_number) and not folder
    volume = None if chosen else choose_volume(board_id, path=folder)
    if volume is None:
        # The board runs a program, which leaves for its boot loader when its port is touched.
        volume = _touched(plan.board, _running(plan), board_id, touch_s)
    copy_image(plan.image.file("{uf2}"), volume)


def _running(plan: Plan) -> Port:
    number = plan.serial_number
    try:
        return find_port(plan.board, port=plan.where, serial_number=number)
    except LinkError:
        raise LinkError(
            f"board {plan.board.name} was not found: "
            "no drive of a UF2 boot loader, and no serial port",
            hint=BOOTSEL,
        ) from None
    except UserError as error:
        if plan.where or number:
            raise
        raise LinkError(
            f"no drive of a UF2 boot loader is there; and {error.message}", hint=BOOTSEL
        ) from None


def _touched(board: Board, port: Port, board_id: str, touch_s: float) -> Volume:
    problem = port_problem(port.device)
    if problem is not None:
        raise problem
    before = {volume.path for volume in list_volumes()}
    open_at_1200(port)
    return await_volume(board_id, touch_s, before)


class _Output:
    """What a tool prints, as it comes: to a log, by lines to who watches, and whole for later."""

    def __init__(self, log: Path, line: Line) -> None:
        self._stream = log.open("ab")
        self._line = line
        self._lock = threading.Lock()
        self._data = bytearray()
        self._shown = 0
        self.changed_s = time.monotonic()

    def take(self, part: bytes) -> None:
        with self._lock:
            if self._stream.closed:
                return
            self._data += part
            self._stream.write(part)
            self._stream.flush()
            self.changed_s = time.monotonic()
            lines = bytes(self._data[self._shown :]).splitlines(keepends=True)
        for each in lines:
            if not each.endswith((b"\n", b"\r")):
                break
            self._shown += len(each)
            text = _clean(each).strip()
            if text:
                self._line(text)

    def text(self) -> str:
        with self._lock:
            return _clean(bytes(self._data))

    def close(self) -> None:
        with self._lock:
            self._stream.close()


def _clean(data: bytes) -> str:
    """Lines without colours; what a progress bar overwrote is left out."""
    text = _ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    return text.replace("\r", "\n")


def _run(plan: Plan, argv: list[str], line: Line, patience_s: float, timeout_s: float) -> None:
    plan.log.write_text(" ".join(argv) + "\n", encoding="utf-8")
    output = _Output(plan.log, line)
    port = plan.port.device if plan.port else ""
    start_s = time.monotonic()
    try:
        with Process(argv, folder=plan.image.folder, sink=output.take) as process:
            while process.death(_POLL_S) is None:
                now_s = time.monotonic()
                if now_s - start_s > timeout_s:
                    raise _failure(plan, argv, output, f"it took longer than {timeout_s:g} s")
                if now_s - output.changed_s > patience_s:
                    found = plan.programmer.diagnose(output.text(), argv, plan.board.name, port)
                    if found is not None and found.endless:
                        raise _failure(plan, argv, output, "it waits for ever")
            process.printed()
            death = process.death(0.0)
        text = output.text()
    finally:
        output.close()
    programmer = plan.programmer
    good = process.status == 0 and (
        programmer.trusted or programmer.diagnose(text, argv, plan.board.name, port) is None
    )
    if not good and not (programmer.success and programmer.success.search(text)):
        raise _failure(plan, argv, output, death or "")


def _failure(plan: Plan, argv: Sequence[str], output: _Output, end: str) -> ToolError:
    what = f"flashing {plan.board.name} with {plan.tool.name} failed"
    text = output.text()
    port = plan.port.device if plan.port else ""
    found = plan.programmer.diagnose(text, argv, plan.board.name, port)
    if found is not None:
        return ToolError(
            f"{what}: {found.problem}", hint=f"{found.hint}; all that it said is in {plan.log}"
        )
    lines = [each for each in text.splitlines() if each.strip()][-_SHOWN_LINES:]
    return ToolError(
        f"{what}: {end}" + (", its last words:\n" + "\n".join(lines) if lines else ""),
        hint=f"all that it said is in {plan.log}",
    )
