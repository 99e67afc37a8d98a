"""Compares every figure of every real board with second sources, and records what agreed.

    python -m benchmarks.compare_boards --zephyr TREE --platformio PLATFORM ... [--write] [BOARD]

A source is a local copy; it is read, never run. A figure agrees if one of the sources says the
same, the first in the order of the options; what others say instead is shown below it. The status
is 1 where no source agrees with a figure: it is wrong, or to be left out.
`--write` records the comparison in `boards/checked.json`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.source import Fact, Source, canonical_core
from benchmarks.source_other import (
    ArduinoCore,
    AvrLibc,
    OpenOcd,
    PlatformIO,
    ProbeRs,
    PyOcd,
    Tvm,
    Uf2Families,
    UsbIds,
    XtensaOverlays,
)
from benchmarks.source_zephyr import Zephyr
from microtvm.target import Board, data_folder, list_boards, load_board
from microtvm.target.second import FILE, Value, cpu_figures, figures


@dataclass(frozen=True)
class Row:
    """A figure, and what the sources say."""

    board: str
    figure: str
    ours: Value
    agreed: tuple[Source, Fact] | None
    """The first that says the same."""
    others: tuple[tuple[Source, Fact], ...]
    """Those that say something else of the same thing."""

    @property
    def ok(self) -> bool:
        """The figure may stay as it is."""
        return self.agreed is not None


Found = list[tuple[Source, Fact]]


def compare(board: Board, sources: Sequence[Source]) -> Iterator[Row]:
    """Every figure of a board, and those of its CPU that no compiler here confirms."""
    facts: Found = [(source, fact) for source in sources for fact in source.facts(board)]
    for figure, ours in figures(board).items():
        agreed, others = _verdict(board, figure, facts)
        yield Row(board.name, figure, ours, agreed, others)
    for figure, ours in cpu_figures(board.cpu).items():
        same = [each for each in facts if each[1].kind == figure]
        agrees = [
            (source, fact)
            for source, fact in same
            if isinstance(fact.value, tuple) and list(fact.value) == ours
        ]
        yield Row(f"cpu {board.cpu.name}", figure, ours, next(iter(agrees), None), ())


def _verdict(
    board: Board, figure: str, facts: Found
) -> tuple[tuple[Source, Fact] | None, tuple[tuple[Source, Fact], ...]]:
    """The first fact that confirms a figure, and the facts that contradict it."""
    relevant, agreeing = _evidence(board, figure, facts)
    others = tuple(each for each in relevant if each not in agreeing)
    return (agreeing[0] if agreeing else None), others


def _evidence(board: Board, figure: str, facts: Found) -> tuple[Found, Found]:
    """What bears on a figure, and what of it says the same."""

    def of(*kinds: str) -> Found:
        return [each for each in facts if each[1].kind in kinds]

    def among(found: Found, *values: object) -> tuple[Found, Found]:
        return found, [each for each in found if each[1].value in values]

    if figure == "cpu":
        found = of("cpu")
        names = (board.cpu.name, board.cpu.arch)
        return found, [each for each in found if canonical_core(str(each[1].value)) in names]
    if figure == "hz":
        return among(of("hz"), board.hz)
    if figure == "platform.zephyr.usb":
        return _all_of(of(figure), figures(board)[figure])
    if figure.endswith("usb"):
        return _all_of(of("usb"), figures(board)[figure])
    if figure.startswith("memory."):
        return _memory_evidence(board, figure, of("region"), of)
    if figure == "platform.zephyr.modules":
        return _all_of(of("module"), str(board.settings["zephyr"]["modules"]).split())
    if figure == "platform.arduino.fqbn":
        fqbn = str(board.settings["arduino"]["fqbn"])
        found, agreeing = among(of(figure), fqbn)
        variants = [each for each in of("variant") if each[1].value == fqbn.split(":")[2]]
        return found + variants, agreeing + variants
    if figure.startswith("flash."):
        return _tool_evidence(board, figure.split(".")[1], of)
    ours = figures(board)[figure]
    return among(of(figure), ours)


def _all_of(found: Found, wanted: Any) -> tuple[Found, Found]:
    """Evidence for a list: each of it must be said by some source; one fact stands for all."""
    said: dict[str, tuple[Source, Fact]] = {}
    for source, fact in found:
        said.setdefault(str(fact.value), (source, fact))
    if not all(value in said for value in wanted):
        return found, []
    source, fact = said[wanted[0]]
    says = "; ".join(
        dict.fromkeys(
            (f"{said[value][0].title} {said[value][1].file}: " if said[value][0] != source else "")
            + said[value][1].says
            for value in wanted
        )
    )
    return found, [(source, Fact(fact.kind, fact.value, fact.file, says))]


def _memory_evidence(board: Board, figure: str, regions: Found, of: Any) -> tuple[Found, Found]:
    _, name, key = figure.split(".")
    memory = next(each for each in board.memories if each.name == name)
    if key == "wait_states":
        # A core sets them for its own clock: they tell nothing of another.
        same = [each for each in of("hz") if each[0].key.startswith("platformio")]
        if not any(fact.value == board.hz for _, fact in same):
            return [], []
        return of("wait_states"), [e for e in of("wait_states") if e[1].value == memory.wait_states]
    if key in ("kind", "label"):
        said = [each for each in of(f"memory-{key}") if each[1].value[0] == memory.start]
        return said, [each for each in said if each[1].value[1] == getattr(memory, key)]
    here = [each for each in regions if each[1].value[0] == memory.start]
    if key == "start":
        return here, here
    totals = []
    if "code" in memory.roles:
        totals += of("code_bytes")
    if "data" in memory.roles:
        totals += of("data_bytes")
    agreeing = [each for each in here if each[1].value[1] == memory.size_bytes]
    agreeing += [each for each in totals if each[1].value == memory.size_bytes]
    return here + totals, agreeing


def _tool_evidence(board: Board, tool: str, of: Any) -> tuple[Found, Found]:
    argv = next(each.argv for each in board.flash_tools if each.name == tool)
    found: Found
    if tool == "openocd":
        scripts = [argv[at + 1] for at, word in enumerate(argv) if word == "-f"]
        chip = scripts[-1].removeprefix("target/").removesuffix(".cfg")
        found = of("openocd")
        have = {fact.value for _, fact in of("script")}
        agreeing = [each for each in found if each[1].value == chip] if set(scripts) <= have else []
        return found, agreeing
    if tool == "pyocd":
        target = argv[argv.index("--target") + 1]
        found = [each for each in of("pyocd") if each[0].key == "zephyr"]
        return found, [each for each in of("pyocd") if each[1].value == target]
    if tool in ("avrdude", "esptool"):
        chip = argv[argv.index("--chip" if tool == "esptool" else "-p") + 1]
        return of("mcu"), [each for each in of("mcu") if each[1].value == chip]
    if tool == "teensy_loader_cli":
        wanted = next(word.partition("=")[2] for word in argv if word.startswith("--mcu="))
        return [], [each for each in of("teensy") if each[1].value == wanted]
    if tool == "uf2":
        ids = {fact.value for _, fact in of("board-id")}
        wanted = argv[argv.index("--board-id") + 1] if "--board-id" in argv else ""
        family = argv[argv.index("--family") + 1]
        found = [each for each in of("uf2") if each[1].value == family]
        return of("uf2", "board-id"), found if not wanted or wanted in ids else []
    if tool == "dfu-util":
        device = argv[argv.index("--device") + 1]
        return of("dfu"), [each for each in of("dfu", "usb") if each[1].value == device]
    offsets = [int(found[1], 0) for word in argv if (found := re.search(r"(0x[0-9a-f]+)", word))]
    flash = board.memory("code").start
    if tool == "bossac" and not offsets:
        # Its boot loader, or the chip's, knows where the image goes.
        same = [each for each in of("region") if each[1].value[0] == flash]
        return same, same
    same = [each for each in of("offset", "region") if _start(each[1]) == flash]
    return same, same if offsets == [flash] else []


def _start(fact: Fact) -> object:
    return fact.value[0] if isinstance(fact.value, tuple) else fact.value


def record(rows: Sequence[Row], old: dict[str, Any]) -> dict[str, Any]:
    """The text of `checked.json`: what was compared now, and what was before of other boards."""
    sources = dict(old.get("sources", {}))
    boards, cpus = dict(old.get("boards", {})), dict(old.get("cpus", {}))
    fresh: set[str] = set()
    for row in rows:
        table = cpus if row.board.startswith("cpu ") else boards
        name = row.board.removeprefix("cpu ")
        if row.board not in fresh:
            table[name] = {}
            fresh.add(row.board)
        assert row.agreed is not None
        source, fact = row.agreed
        sources[source.key] = source.title
        entry = {"value": row.ours, "source": source.key, "file": fact.file}
        if fact.says:
            entry["says"] = fact.says
        table[name][row.figure] = entry
    known = set(list_boards())
    boards = {name: boards[name] for name in sorted(boards) if name in known}
    used = {e["source"] for t in (*boards.values(), *cpus.values()) for e in t.values()}
    return {
        "sources": {key: sources[key] for key in sorted(sources) if key in used},
        "cpus": dict(sorted(cpus.items())),
        "boards": boards,
    }


def dumped(recorded: dict[str, Any]) -> str:
    """JSON with a line for each figure, so that a change of one is a change of one line."""
    lines = ["{"]
    lines.append('"sources": ' + json.dumps(recorded["sources"], indent=1) + ",")
    for key in ("cpus", "boards"):
        tables = []
        for name, table in recorded[key].items():
            entries = [
                f"  {json.dumps(chain)}: {json.dumps(entry)}" for chain, entry in table.items()
            ]
            tables.append(f" {json.dumps(name)}: {{\n" + ",\n".join(entries) + "\n }")
        lines.append(f'"{key}": {{\n' + ",\n".join(tables) + "\n}" + ("," if key == "cpus" else ""))
    return "\n".join(lines) + "\n}\n"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(f"{part:#x}" if isinstance(part, int) else str(part) for part in value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:#x}" if isinstance(value, int) and value >= 4096 else str(value)


def print_table(rows: Sequence[Row], *, only_bad: bool) -> None:
    """board, figure, ours, theirs, source file; others that differ on lines of their own."""
    for row in rows:
        if only_bad and row.ok:
            continue
        if row.agreed is None:
            print(f"{row.board:28} {row.figure:28} {_shown(row.ours):24} NOT FOUND")
        else:
            source, fact = row.agreed
            theirs = fact.says or _shown(fact.value)
            print(
                f"{row.board:28} {row.figure:28} {_shown(row.ours):24} {theirs:32} "
                f"{source.title} {fact.file}"
            )
        for text in dict.fromkeys(_others(row)):
            print(f"{'':57} {text}")


def _others(row: Row) -> Iterator[str]:
    """What other sources say instead, of figures of which there can only be one."""
    if row.agreed is None or row.figure in ("cpu", "hz") or row.figure.endswith("_bytes"):
        for source, fact in row.others:
            value = _shown(fact.value)
            yield f"instead {value} {fact.says} ({source.title} {fact.file})"


def _sources(options: argparse.Namespace) -> list[Source]:
    trees = [Zephyr(path) for path in options.zephyr]
    found: list[Source] = [*trees]
    found += [PlatformIO(path) for path in options.platformio]
    for text in options.arduino:
        prefix, _, path = text.partition("=")
        found.append(ArduinoCore(Path(path), prefix))
    found += [ProbeRs(path) for path in options.probe_rs]
    found += [Tvm(path) for path in options.tvm]
    for text in options.pyocd:
        version, _, path = text.partition("=")
        found.append(PyOcd(Path(path), version))
    for text in options.openocd:
        version, _, path = text.partition("=")
        found.append(OpenOcd(Path(path), version))
    for text in options.avr_libc:
        version, _, path = text.partition("=")
        found.append(AvrLibc(Path(path), version))
    found += [Uf2Families(path) for path in options.uf2]
    found += [UsbIds(path, trees) for path in options.usb_ids]
    found += [XtensaOverlays(path) for path in options.xtensa_overlays]
    return found


def main(words: Sequence[str]) -> int:
    """The comparison; 0 if every figure agrees."""
    parser = argparse.ArgumentParser(prog="compare_boards", description=__doc__.split("\n")[0])
    for name in ("zephyr", "platformio", "probe-rs", "tvm", "uf2", "usb-ids", "xtensa-overlays"):
        parser.add_argument(f"--{name}", type=Path, action="append", default=[], metavar="PATH")
    parser.add_argument("--arduino", action="append", default=[], metavar="PACKAGER:ARCH=PATH")
    for name in ("avr-libc", "openocd", "pyocd"):
        parser.add_argument(f"--{name}", action="append", default=[], metavar="VERSION=PATH")
    parser.add_argument("--write", action="store_true", help="record what agreed")
    parser.add_argument("--only-bad", action="store_true", help="show what does not agree alone")
    parser.add_argument("boards", nargs="*", metavar="BOARD")
    options = parser.parse_args(words)
    sources = _sources(options)
    names = options.boards or [name for name in list_boards() if figures(load_board(name))]
    rows = [row for name in names for row in compare(load_board(name), sources)]
    print_table(rows, only_bad=options.only_bad)
    bad = [row for row in rows if not row.ok]
    print(
        f"{len(names)} boards, {len(rows)} figures, {len(bad)} without agreement", file=sys.stderr
    )
    if bad:
        return 1
    if options.write:
        file = data_folder("boards") / FILE
        old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        file.write_text(dumped(record(rows, old)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
