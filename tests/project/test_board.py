"""Every board: its image links without a warning, boots, and does what its drivers promise."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.project import Built
from microtvm.target import load_board
from tests.project.image import EMULATED, HERE, build_tiny
from tests.project.machine import Machine

ESCAPE = b"\x1b"
BAD_ADDRESS = 0xE0200000
EXTRA_BOARDS = [
    str(HERE / "boards" / "lm3s6965evb.toml"),
    str(HERE / "boards" / "an386-systick.toml"),
]

# Privileged Architecture 1.10, table 3.6; Armv7-M ARM, table B1-4. An M0 has HardFault only.
STORE_FAULT = {"riscv": 7, "cortex-m": 5, "cortex-m0": 3}
ILLEGAL_INSTRUCTION = {"riscv": 2, "cortex-m": 6, "cortex-m0": 3}


@pytest.fixture(scope="module", params=EMULATED + EXTRA_BOARDS, ids=lambda name: Path(name).stem)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An image that echoes, once for each board."""
    name = str(request.param)
    return build_tiny(name, tmp_path_factory.mktemp("echo") / "p", main=HERE / "echo.c")


@pytest.fixture
def machine(built: Built, tmp_path: Path) -> Iterator[Machine]:
    with Machine(built.project.board, built.elf, tmp_path) as running:
        # A byte that arrives while the UART is set up may be lost; the protocol sends it again.
        running.wake()
        yield running


def ask(machine: Machine, command: bytes, words: int) -> tuple[int, ...]:
    machine.send(ESCAPE + command)
    return struct.unpack(f"<{words}I", machine.receive(4 * words))


def fault(machine: Machine, command: bytes) -> tuple[str, dict[str, int]]:
    """What the target says of the fault that the command brings about."""
    machine.send(ESCAPE + command)
    start = machine.receive(1)
    text = machine.receive_until(b"\0")
    assert start == b"\0"
    assert text.startswith(b"mtvm: ")
    assert text.endswith(b"\0")
    what, _, registers = text[6:-1].decode("ascii").partition(" exception=")
    pairs = (pair.split("=") for pair in f"exception={registers}".split())
    return what, {key: int(value, 16) for key, value in pairs}


def told(built: Built, machine: Machine) -> tuple[str, dict[str, int]]:
    """The record of a crash that the board has kept over its reset, as main.c would serve it."""
    machine.wake()
    machine.send(ESCAPE + b"k")
    (length,) = struct.unpack("<I", machine.receive(4))
    what, _, registers = machine.receive(length).decode("ascii").partition(" exception=")
    pairs = (pair.split("=") for pair in f"exception={registers}".split())
    return what, {key: int(value, 16) for key, value in pairs}


def by_cpu(built: Built, table: dict[str, int]) -> int:
    cpu = built.project.board.cpu
    return table.get(cpu.name, table[cpu.family])


@pytest.mark.qemu
def test_every_byte_value_passes_both_ways(machine: Machine) -> None:
    values = bytes(range(256))
    machine.send(values.replace(ESCAPE, ESCAPE + ESCAPE))
    assert machine.receive(256) == values


@pytest.mark.qemu
def test_variables_are_initialised_at_the_start_and_after_a_reset(machine: Machine) -> None:
    fresh = (0x600DCAFE, 0, 0, 9)
    assert ask(machine, b"v", 4) == fresh
    assert ask(machine, b"v", 4) == (1, 1, 34, 9)
    machine.send(ESCAPE + b"r")
    machine.wake()
    assert ask(machine, b"v", 4) == fresh


def test_thread_local_zeros_have_room_in_the_image(built: Built) -> None:
    """picolibc's errno is one; the image's own .bss makes room for it, at the thread pointer."""
    with built.elf.open("rb") as stream:
        elf = ELFFile(stream)
        thread = elf.get_section_by_name(".tbss")
        local = thread["sh_size"] if thread else 0
        symbols = elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        values = {symbol.name: int(symbol["st_value"]) for symbol in symbols.iter_symbols()}
    assert (local > 0) == (built.project.board.cpu.family == "riscv")
    assert values["zeroed"] >= values["mtvm_bss_start"] + local


@pytest.mark.qemu
def test_counter_measures_the_emulators_instructions(machine: Machine, built: Built) -> None:
    (first,) = ask(machine, b"t", 1)
    (second,) = ask(machine, b"t", 1)
    counter = built.project.board.counter
    assert counter is not None
    # 100,000 rounds of a loop of 4 to 12 instructions, a nanosecond each.
    assert 400_000 <= first * 1e9 / counter.hz <= 1_200_000
    assert abs(first - second) <= max(2, first // 1000)


@pytest.mark.qemu
def test_stack_is_painted_and_its_depth_seen(machine: Machine, built: Built) -> None:
    (peak,) = ask(machine, b"s", 1)
    assert 16 <= peak < 512 < built.project.stack_bytes


@pytest.mark.qemu
def test_bad_address_is_reported(machine: Machine, built: Built) -> None:
    if built.project.board.name == "lm3s6965evb":
        pytest.skip("QEMU lets this machine's core access any address")
    what, registers = fault(machine, b"b" + BAD_ADDRESS.to_bytes(4, "big"))
    assert what == "fault"
    assert registers["exception"] == by_cpu(built, STORE_FAULT)
    assert registers.get("bfar", registers.get("mtval", BAD_ADDRESS)) == BAD_ADDRESS
    assert pc_lies_in_main(built, registers["pc"])


@pytest.mark.qemu
def test_illegal_instruction_is_reported(machine: Machine, built: Built) -> None:
    what, registers = fault(machine, b"u")
    assert what == "fault"
    assert told(built, machine) == (what, registers)
    assert ask(machine, b"k", 1) == (0,)
    assert registers["exception"] == by_cpu(built, ILLEGAL_INSTRUCTION)
    assert pc_lies_in_main(built, registers["pc"])


@pytest.mark.qemu
def test_stack_overflow_is_reported(machine: Machine, built: Built) -> None:
    if built.project.board.name == "qemu-mps2-an385-m0":
        pytest.skip("code for a Cortex-M0 sets up no guard, and a Cortex-M3 without one locks up")
    what, registers = fault(machine, b"o")
    assert what == "stack overflow"
    assert told(built, machine) == (what, registers)
    assert registers["sp"] <= built.project.board.memory("data").start + 256


def pc_lies_in_main(built: Built, pc: int) -> bool:
    """Whether the linker put `main` there, by its own map."""
    lines = built.map_file.read_text().split()
    at = (
        lines.index(".text.startup.main")
        if ".text.startup.main" in lines
        else lines.index(".text.main")
    )
    start, size = int(lines[at + 1], 16), int(lines[at + 2], 16)
    return start <= pc < start + size


def test_extra_boards_differ_from_those_that_come_with_microtvm() -> None:
    ours = [load_board(name) for name in EMULATED]
    pl011, systick = (load_board(name) for name in EXTRA_BOARDS)
    assert pl011.uart is not None
    assert pl011.uart.driver not in {board.uart.driver for board in ours if board.uart}
    assert systick.counter is not None
    assert systick.counter.kind not in {board.counter.kind for board in ours if board.counter}
