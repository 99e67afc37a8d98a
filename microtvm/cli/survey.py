"""How `microtvm check --boards` tells on which boards a model fits."""

from __future__ import annotations

from collections.abc import Sequence

from microtvm.cli.console import emit_table, emit_text
from microtvm.survey import BoardResult

_FITS = {True: "yes", None: "unknown", False: "no"}
"""What is said of a board, the best first."""


def print_survey(found: Sequence[BoardResult]) -> None:
    """One line a board: those that fit first, the fastest before the others."""
    ordered = sorted(
        found,
        key=lambda each: (
            list(_FITS).index(each.fits),
            each.seconds is None,
            each.seconds or 0,
            each.board.name,
        ),
    )
    notes = {each.note: "" for each in ordered if each.note}
    for number, note in enumerate(notes, 1):
        notes[note] = f"[{number}]"
    emit_table(
        ("board", "cpu", "fits", "flash to spare", "RAM to spare", "arena in", "time, est.", ""),
        [
            (
                each.board.name,
                each.board.cpu.name,
                _FITS[each.fits],
                "-" if each.core.refusal else f"{each.spare_flash:,}",
                "-" if each.core.refusal else f"{each.spare_ram:,}",
                "-" if each.core.refusal else each.arena,
                _time(each.seconds),
                notes.get(each.note, ""),
            )
            for each in ordered
        ],
    )
    for note, mark in notes.items():
        emit_text(f"{mark} {note}")
    if any(each.core.exact for each in ordered):
        emit_text("bytes to spare: beside the image that was counted; Zephyr comes on top")
    if any(each.fits is None for each in ordered):
        emit_text("fits unknown: there is room for arena, weights and stack; code was not counted")
    if any(each.seconds is not None for each in ordered):
        emit_text(
            "time: without wait states and caches, at the board's clock, by these cores' cycles"
        )
    models = {each.core.cpu.name: each.core.cycles_model for each in ordered if each.seconds}
    for name, model in sorted(models.items()):
        emit_text(f"  {name}: {model}")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
