"""A picture of what was measured on one machine: bars of operators beside the peer's bar."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import click

from benchmarks.measure import Measurement
from microtvm.profile import Row
from microtvm.target import load_board

FORMATS = (".png", ".svg")
KINDS = {
    "conv2d": ("convolution", "#1f6f8b"),
    "depthwise_conv2d": ("depthwise convolution", "#e08e45"),
    "dense": ("fully connected", "#7a9e3e"),
    "": ("all else", "#9b8bb4"),
}
"""By the operator that a kernel begins with: what the legend says, and the colour."""
PEER = "#c9ccd1"
TEXT = "#33373d"
LABEL_FROM = 0.05
"""Of the axis: how wide an operator's part must be for its figure to stand in it."""


def require_matplotlib(picture: Path | None) -> None:
    """A usage error, before anything is measured, if no picture could be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError("a picture needs matplotlib: pip install 'microtvm[bench]'")
    if picture is not None and picture.suffix not in FORMATS:
        raise click.UsageError(f"{picture}: a picture is one of {', '.join(FORMATS)}")


def kind_of(row: Row) -> str:
    """A key of KINDS."""
    named = [op for op in row.ops if op in KINDS]
    return named[0] if named else ""


def digits(value: int) -> str:
    """Three digits and a unit."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            shown = value / size
            return f"{shown:.{2 if shown < 10 else 1 if shown < 100 else 0}f} {unit}"
    return str(value)


def said(ours: int, theirs: int) -> str:
    """What stands beside our bar."""
    return f"{digits(ours)} = {ours / theirs:.0%}"


def draw(rows: list[Measurement], file: Path) -> None:
    """Instructions of all models that the peer was measured with, cycles where boards are known.

    Each model's bars are relative to the peer's, whose bar is 100 %.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    compared = [m for m in rows if m.peer.instructions and m.rows]
    if not compared:
        raise click.ClickException(f"no picture {file}: nothing to compare {rows[0].board} with")
    timed = any(m.published_cycles and m.cycles for m in compared)
    style = {
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 9,
        "text.color": TEXT,
        "axes.labelcolor": TEXT,
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "svg.hashsalt": "microtvm",
        "svg.fonttype": "none",
    }
    with rc_context(style):
        height = 1.5 + 0.62 * len(compared)
        figure = Figure(figsize=(12.4 if timed else 7.6, height), facecolor="white")
        axes = figure.subplots(1, 2 if timed else 1, squeeze=False, sharey=True)[0]
        _instructions(axes[0], compared)
        if timed:
            _cycles(axes[1], compared)
        _legend(figure, [row for m in compared for row in m.rows])
        core = load_board(rows[0].board).cpu.description.split(":")[0]
        figure.suptitle(f"MLPerf Tiny on an emulated {core}", x=0.012, ha="left", weight="bold")
        figure.tight_layout(rect=(0, 0.45 / height, 1, 1), w_pad=2)
        figure.savefig(file, dpi=160, metadata={"Date": None} if file.suffix == ".svg" else None)


def _instructions(axes: Any, rows: list[Measurement]) -> None:
    most = max(m.instructions / m.peer.instructions for m in rows)
    _axes(axes, rows, max(1.0, most), "instructions; TensorFlow Lite Micro with CMSIS-NN = 100 %")
    for y, m in enumerate(rows):
        parts = [(row, row.instructions, row.instructions_a_mac) for row in m.rows]
        _pair(axes, y, m.peer.instructions, "TFLM", parts)


def _cycles(axes: Any, rows: list[Measurement]) -> None:
    most = max(m.cycles / m.published_cycles for m in rows if m.published_cycles)
    title = "cycles, estimated without wait states; best published of a board, with them = 100 %"
    _axes(axes, rows, max(1.0, most), title)
    for y, m in enumerate(rows):
        if m.published_cycles:
            parts = [(row, row.cycles, row.cycles_a_mac) for row in m.rows]
            _pair(axes, y, m.published_cycles, "board", parts)
        else:
            axes.text(0, y, "no figure published", fontsize=8, va="center", color="#8b9097")


def _axes(axes: Any, rows: list[Measurement], most: float, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_yticks(range(len(rows)), [m.model for m in rows])
    axes.set_ylim(len(rows) - 0.45, -0.6)
    axes.set_xlim(0, most + 0.2 * max(1.0, most))  # room for what stands right of a bar
    axes.set_xticks([tick / 4 for tick in range(int(most * 4) + 1)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#e6e8eb", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)


def _pair(axes: Any, y: float, theirs: int, who: str, parts: list[tuple[Row, int, Any]]) -> None:
    """The peer's bar, and below it ours: a part for each operator, its rate a MAC in it."""
    height = 0.36
    upper, lower = y - 0.19, y + 0.19
    room = axes.get_xlim()[1] * LABEL_FROM
    axes.barh(upper, 1, height, color=PEER)
    axes.text(1.01, upper, f"{who}: {digits(theirs)}", va="center", fontsize=8)
    left = 0.0
    for row, value, rate in parts:
        width, colour = value / theirs, KINDS[kind_of(row)][1]
        axes.barh(lower, width, height, left, color=colour, edgecolor="white", lw=0.5)
        if width > room and rate is not None:
            middle = (left + width / 2, lower)
            axes.text(*middle, f"{rate:.2f}", ha="center", va="center", fontsize=6.5, color="white")
        left += width
    ours = sum(value for _, value, _ in parts)
    axes.text(left + 0.01, lower, said(ours, theirs), va="center", fontsize=8, weight="bold")


def _legend(figure: Any, rows: list[Row]) -> None:
    from matplotlib.patches import Patch

    used = {kind_of(row) for row in rows}
    handles = [Patch(color=colour, label=name) for k, (name, colour) in KINDS.items() if k in used]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.005, 0.0),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        title="microtvm's operators, in the order in which they run; "
        "in them, instructions or cycles a MAC",
        title_fontsize=8,
        alignment="left",
    )
