"""The plugin's counts against a log of every single instruction, and against the listing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from microtvm.device.count import Activation, load_problem
from tests.conftest import ROOT, require_tool
from tests.device_count import image
from tests.device_count.image import BY_NAME, MACHINES, Image, Machine

pytestmark = pytest.mark.qemu

TIMERS = {"thumb.S": 7, "rv32.S": 128}
EACH_MACHINE = pytest.mark.parametrize("machine", MACHINES, ids=[m.name for m in MACHINES])


def fields(activation: Activation) -> tuple[str, int, int, int]:
    return (activation.label, activation.instructions, activation.loads, activation.stores)


@EACH_MACHINE
@pytest.mark.parametrize("icount", [(), ("-icount", "shift=0")], ids=["free", "icount"])
def test_equals_the_log_of_every_instruction(
    machine: Machine, icount: tuple[str, ...], plugin: Path, tmp_path: Path
) -> None:
    built = image.build(machine, tmp_path, "-DPERIOD=9", "-DTIMER=0")
    expected = image.trace(built, tmp_path)
    assert {item.label for item in expected} == set(built.labels)
    counted = image.count(built, plugin, tmp_path, *icount)
    assert [fields(item) for item in counted] == [
        (item.label, item.instructions, item.loads, item.stores) for item in expected
    ]


def by_label(activations: list[Activation], label: str) -> list[int]:
    return [item.instructions for item in activations if item.label == label]


def length(built: Image, symbol: str) -> int:
    """Instructions of a function without a branch but its last: lines of the listing up to it."""
    address = next(entry for entry, name in built.entries.items() if name == symbol)
    return lines(built, address)


def lines(built: Image, address: int) -> int:
    count = 0
    for at in sorted(built.code):
        if at >= address:
            count += 1
            mnemonic = built.code[at][0]
            if mnemonic in ("bx", "ret", "c.jr", "jalr", "mret"):
                return count
    raise AssertionError(f"no end after {address:#x}")


@EACH_MACHINE
def test_equals_the_listing(machine: Machine, plugin: Path, tmp_path: Path) -> None:
    built = image.build(machine, tmp_path, "-DPERIOD=9", "-DTIMER=0")
    counted = image.count(built, plugin, tmp_path, "-icount", "shift=0")
    straight = length(built, "t_straight")
    assert set(by_label(counted, "t_straight")) == {straight}
    # The listing of t_loop is one round: the first instruction, three for a round, the return.
    assert length(built, "t_loop") == 1 + 3 + 1
    assert by_label(counted, "t_loop")[0] == 1 + 7 * 3 + 1
    # All of t_entry_loop but its return is the round.
    assert length(built, "t_entry_loop") == 2 + 1
    assert by_label(counted, "t_entry_loop")[0] == 5 * 2 + 1
    assert by_label(counted, "t_entry_loop")[1:] == [3 * 2 + 1] * image.ROUNDS
    # Innermost first, and each level adds the same.
    levels = by_label(counted, "t_recursive")
    assert len(levels) == 4
    assert levels[1] - levels[0] == levels[2] - levels[1] == levels[3] - levels[2]
    # A tail call ends with the function that it ends.
    tail = length(built, "t_tail_second")
    assert by_label(counted, "t_tail_second")[0] == tail
    (first,) = by_label(counted, "t_tail_first")
    assert first > straight + tail
    order = [item.label for item in counted]
    assert order.index("t_tail_first") == order.index("t_tail_second") + 1
    assert order[-1] == "t_all"


@EACH_MACHINE
@pytest.mark.parametrize("period", [7, 9, 11])
def test_interrupts_are_counted_and_break_nothing(
    machine: Machine, period: int, plugin: Path, tmp_path: Path
) -> None:
    timer = TIMERS[machine.source]
    quiet_image = image.build(machine, tmp_path, f"-DPERIOD={period}", "-DTIMER=0")
    built = image.build(machine, tmp_path, f"-DPERIOD={period}", f"-DTIMER={timer}")
    quiet = image.count(quiet_image, plugin, tmp_path, "-icount", "shift=4")
    struck = image.count(built, plugin, tmp_path, "-icount", "shift=4")
    assert [item.label for item in struck] == [item.label for item in quiet]

    handler = handler_length(built)
    strikes, rest = divmod(by_label(struck, "t_strikes")[0] - by_label(quiet, "t_strikes")[0], 2)
    assert rest == 0
    assert strikes >= 8
    counting = 2 * strikes
    (interrupted,) = by_label(struck, "t_interrupted")
    assert interrupted == by_label(quiet, "t_interrupted")[0] + strikes * handler + counting
    inside: Counter[str] = Counter()
    for before, after in zip(quiet, struck, strict=True):
        extra = after.instructions - before.instructions
        if after.label not in ("t_strikes", "t_interrupted", "t_all"):
            assert extra % handler == 0
            inside[after.label] += extra // handler
    assert 0 < sum(inside.values()) <= strikes


def handler_length(built: Image) -> int:
    """The handler and what it calls, instructions that stand in a row: nop and return follow."""
    text = subprocess.run(
        [require_tool(f"{built.machine.compiler}-nm"), str(built.elf)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    symbols = {line.split()[2]: int(line.split()[0], 16) & ~1 for line in text.splitlines()}
    handler = symbols["systick" if built.machine.source == "thumb.S" else "trap"]
    callee = symbols["in_handler"]
    code = {at: line for at, line in built.code.items() if handler <= at < callee}
    # What the assembler puts between two functions to align the second is never executed.
    end = max(at for at, (mnemonic, _) in code.items() if mnemonic in ("pop", "mret"))
    return sum(at <= end for at in code) + lines(built, callee)


def test_labels_of_one_function_take_turns(plugin: Path, tmp_path: Path) -> None:
    built = image.build(BY_NAME["m4"], tmp_path, "-DPERIOD=9", "-DTIMER=0")
    single = [item for item in image.count(built, plugin, tmp_path) if item.label == "t_loop"]
    labels = {"all": "t_all", "one": "t_loop", "two": "t_loop", "three": "t_loop"}
    counted = image.count(replace(built, labels=labels), plugin, tmp_path)
    assert len(single) == 5
    turns = [(item.label, item.instructions) for item in counted[:-1]]
    names = ["one", "two", "three", "one", "two"]
    assert turns == list(zip(names, by_label(single, "t_loop"), strict=True))
    # Without an enclosing activation, each one begins anew.
    del labels["all"]
    counted = image.count(replace(built, labels=labels), plugin, tmp_path)
    assert [item.label for item in counted] == ["one"] * 5


def test_lines_are_there_before_the_device_goes_on(plugin: Path, tmp_path: Path) -> None:
    """An image that counts and then waits forever: its lines are read while QEMU runs."""
    machine = BY_NAME["m4"]
    built = image.build(machine, tmp_path, "-DPERIOD=9", "-DTIMER=0", "-DSTAY")
    output = tmp_path / "counts"
    argv = [sys.executable, "-c", WATCH, str(ROOT), str(built.elf), str(plugin), str(output)]
    argv += [require_tool(machine.qemu), *machine.argv, "-display", "none", "-serial", "null"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[0] == "running"
    assert done.stdout.splitlines()[-1].startswith("t_all ")


WATCH = """
import subprocess, sys, time
from pathlib import Path
root, elf, plugin, output = sys.argv[1:5]
sys.path.insert(0, root)
from microtvm.device.count import CountReader, plugin_argv
argv = plugin_argv(Path(elf), {"t_all": "t_all"}, Path(output), plugin=Path(plugin))
qemu = subprocess.Popen([*sys.argv[5:], "-monitor", "none", "-kernel", elf, *argv])
reader = CountReader(Path(output))
try:
    found = []
    for _ in range(2000):
        found = reader.new()
        if found:
            break
        time.sleep(0.01)
    print("running" if qemu.poll() is None else "ended")
    for item in found:
        print(item.label, item.instructions)
finally:
    qemu.kill()
    qemu.wait()
"""


def test_qemu_says_why_it_does_not_load(plugin: Path, tmp_path: Path) -> None:
    qemu = require_tool("qemu-system-arm")
    assert load_problem(qemu, plugin) is None
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"no library")
    problem = load_problem(qemu, damaged)
    assert problem is not None
    assert "damaged.so" in problem
    assert load_problem(str(tmp_path / "none"), plugin) == (
        f"can't start {tmp_path / 'none'}: No such file or directory"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fn=100:x", "missing argument: out=PATH"),
        ("out=/nonexistent/counts", "No such file or directory: /nonexistent/counts"),
        ("out={folder}/counts,fn=xyz", "not ADDRESS:LABEL: xyz"),
        ("out={folder}/counts,what=1", "unknown argument: what=1"),
        ("out={folder}/counts,time=lode:2", "not NAME:CYCLES: lode:2"),
        ("out={folder}/counts,time=load:256", "not NAME:CYCLES: load:256"),
        ("out={folder}/counts,time=load:2x", "not NAME:CYCLES: load:2x"),
        ("out={folder}/counts,time=load", "not NAME:CYCLES: load"),
    ],
)
def test_the_plugin_refuses(arguments: str, message: str, plugin: Path, tmp_path: Path) -> None:
    option = f"file={plugin},{arguments.format(folder=tmp_path)}"
    argv = [require_tool("qemu-system-arm"), "-machine", "none", "-display", "none"]
    done = subprocess.run(
        [*argv, "-plugin", option], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert f"microtvm count: {message}" in done.stderr
