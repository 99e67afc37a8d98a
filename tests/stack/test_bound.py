"""The bound on the stack of small programs whose frames are known."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from microtvm.stack import Level, StackBound, StackError, stack_bound
from microtvm.stack.bound import shown_name
from microtvm.stack.indirect import RUNTIME
from microtvm.target import load_board
from tests.conftest import ROOT, require_tool

FLAGS = (
    *("-O1", "-fno-inline", "-ffreestanding", "-gdwarf-4", "-ffunction-sections", "-nostartfiles"),
)
SCRIPT = """ENTRY(start)
SECTIONS
{
    . = 0x1000;
    .vectors : { KEEP(*(.vectors)) }
    .text : { *(.text .text.*) }
    .rodata : { *(.rodata .rodata.* .srodata .srodata.*) }
    . = DATA;
    .data : { KEEP(*(.data .data.* .sdata .sdata.*)) }
    .bss (NOLOAD) : { *(.bss .bss.* .sbss .sbss.* COMMON) *(.tbss .tbss.*) }
    __data_start = 0; __data_end = 0; __data_load_start = 0;
    /DISCARD/ : { *(.ARM.*) *(.eh_frame) }
}
"""
ROUNDING = 16
"""What a frame of C has beside an array, at most: saved registers and alignment."""


CORES = {
    name: load_board(board).cpu
    for name, board in {
        "cortex-m0": "qemu-microbit",
        "cortex-m4": "qemu-mps2-an386",
        "rv32imc": "qemu-riscv32",
        "atmega2560": "arduino-mega2560",
    }.items()
}


def link(core: str, source: str, folder: Path, *more: str) -> Path:
    """An image whose first instruction is that of `start`."""
    target = CORES[core]
    require_tool(target.cc)
    file, elf = folder / "program.c", folder / "program.elf"
    file.write_text(source)
    (folder / "link.ld").write_text(
        SCRIPT.replace("DATA", "0x800200" if target.family == "avr" else "0x20000000")
    )
    subprocess.run(
        [
            target.cc,
            *target.flags,
            *FLAGS,
            *more,
            "-T",
            str(folder / "link.ld"),
            str(file),
            "-o",
            str(elf),
            "-lm",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return elf


def about(bound: StackBound, name: str, size: int) -> bool:
    """Whether the deepest function is that one, with an array of so many bytes."""
    last = bound.path[-1]
    return last.function == name and size <= last.bytes <= size + ROUNDING


THUMB = r"""
__asm__(".syntax unified\n.thumb\n"
    ".macro function name\n.global \\name\n.type \\name, %function\n.thumb_func\n\\name:\n.endm\n"
    "function start\n push {r4, lr}\n sub sp, #24\n bl middle\n add sp, #24\n pop {r4, pc}\n"
    "function middle\n push {lr}\n sub sp, #4\n bl deep\n add sp, #4\n pop {r3}\n mov lr, r3\n"
    " push {r4-r7}\n pop {r4-r7}\n b deep\n"
    "function deep\n push {r4-r7, lr}\n mov r7, sp\n ldr r4, =-1000\n add sp, r4\n bl leaf\n"
    " mov sp, r7\n pop {r4-r7, pc}\n .ltorg\n"
    "function leaf\n bx lr\n");
"""
RISCV = r"""
__asm__(".macro function name\n.global \\name\n.type \\name, %function\n\\name:\n.endm\n"
    "function start\n addi sp, sp, -32\n call middle\n addi sp, sp, 32\n ret\n"
    "function middle\n addi sp, sp, -8\n sw ra, 4(sp)\n call deep\n lw ra, 4(sp)\n addi sp, sp, 8\n"
    " addi sp, sp, -16\n addi sp, sp, 16\n tail deep\n"
    "function deep\n addi sp, sp, -20\n mv s0, sp\n li t0, -4000\n add sp, sp, t0\n call leaf\n"
    " mv sp, s0\n addi sp, sp, 20\n ret\n"
    "function leaf\n ret\n");
"""


AVR = r"""
__asm__(".macro function name\n.global \\name\n.type \\name, @function\n\\name:\n.endm\n"
    "function start\n push r28\n push r29\n rcall .+0\n in r28, 0x3d\n in r29, 0x3e\n"
    " subi r28, 0x2c\n sbci r29, 1\n out 0x3e, r29\n out 0x3d, r28\n sbrs r24, 0\n call middle\n"
    " subi r28, 0xd1\n sbci r29, 0xfe\n out 0x3e, r29\n out 0x3d, r28\n pop r29\n pop r28\n ret\n"
    "function middle\n push r16\n push r17\n call deep\n pop r17\n pop r16\n jmp deep\n"
    "function deep\n push r2\n pop r2\n ret\n");
"""


@pytest.mark.parametrize(
    ("core", "source", "frames"),
    [
        ("cortex-m0", THUMB, (32, 8, 1020)),
        ("cortex-m4", THUMB, (32, 8, 1020)),
        ("rv32imc", RISCV, (32, 8, 4020)),
        ("atmega2560", AVR, (2 + 3 + 300 + 3, 2 + 3, 1)),
    ],
)
def test_known_frames(core: str, source: str, frames: tuple[int, ...], tmp_path: Path) -> None:
    """A call in the last place keeps nothing of its caller's on the stack: the other is deeper."""
    bound = stack_bound(link(core, source, tmp_path))
    assert bound.path == tuple(
        Level(name, size) for name, size in zip(("start", "middle", "deep"), frames, strict=True)
    )
    assert bound.total == sum(frames)
    assert str(bound) == f"start {frames[0]} > middle {frames[1]} > deep {frames[2]:,}"


KEEP = "#include <stdint.h>\n#define KEEP(n) volatile uint8_t kept[n]; kept[0] = 1\n"


@pytest.mark.parametrize("core", ["cortex-m4", "rv32imc"])
def test_tail_calls_do_not_add(core: str, tmp_path: Path) -> None:
    program = KEEP + (
        "void last(void) { KEEP(400); }\n"
        "void first(void) { KEEP(300); }\n"
        'int start(void) { first(); __asm__ volatile(""); last(); return 0; }\n'
    )
    tail = program.replace("return 0; }", "}").replace("int start", "void start")
    for flags in ((), ("-foptimize-sibling-calls",)):
        bound = stack_bound(link(core, tail if flags else program, tmp_path, *flags))
        assert about(bound, "last", 400)
        assert [level.function for level in bound.path] == (["start"] if not flags else []) + [
            "last"
        ]


@pytest.mark.parametrize("core", CORES)
def test_recursion_is_an_error_that_names_the_circle(core: str, tmp_path: Path) -> None:
    program = (
        "int odd(int n);\n"
        "int even(int n) { return n == 0 ? 1 : 1 + odd(n - 1); }\n"
        "int odd(int n) { return n == 0 ? 2 : 3 + even(n - 1); }\n"
        "int start(int n) { return 1 + even(n); }\n"
    )
    with pytest.raises(StackError, match="even -> odd -> even is recursive"):
        stack_bound(link(core, program, tmp_path))


@pytest.mark.parametrize("core", CORES)
def test_a_frame_that_is_not_constant_is_an_error(core: str, tmp_path: Path) -> None:
    program = (
        "void use(char *p);\nvoid use(char *p) { *(volatile char *)p = 1; }\n"
        "int grow(int n) { use(__builtin_alloca((unsigned)n)); return 1; }\n"
        "int start(int n) { return 1 + grow(n); }\n"
    )
    with pytest.raises(StackError, match=r"no bound on the stack: in grow, .* not constant"):
        stack_bound(link(core, program, tmp_path))


@pytest.mark.parametrize("core", CORES)
def test_a_loop_that_pushes_is_an_error(core: str, tmp_path: Path) -> None:
    push = {
        "cortex-m": "push {r0}\\n bne 1b",
        "riscv": "addi sp, sp, -16\\n bnez a0, 1b",
        "avr": "push r0\\n brne 1b",
    }[CORES[core].family]
    program = f'void start(void) {{ __asm__ volatile("1: {push}"); }}\n'
    with pytest.raises(StackError, match="in start, the stack grows in a loop at 0x"):
        stack_bound(link(core, program, tmp_path))


POINTERS = KEEP + (
    "struct port { void *context; void (*read)(void); void (*write)(void); };\n"
    "void small(void) { KEEP(200); }\n"
    "void large(void) { KEEP(600); }\n"
    "void unused(void) { KEEP(900); }\n"
    "const struct port table[2] = {{0, small, large}, {0, small, 0}};\n"
    "static __attribute__((always_inline)) inline void call(const struct port *p) { p->read(); }\n"
    "int start(const struct port *p) { call(p); return 0; }\n"
    "const struct port *volatile user __attribute__((used)) = table;\n"
)


@pytest.mark.parametrize("core", CORES)
def test_unknown_targets_are_all_whose_address_is_taken(core: str, tmp_path: Path) -> None:
    bound = stack_bound(link(core, POINTERS, tmp_path))
    assert about(bound, "large", 600)


@pytest.mark.parametrize("core", CORES)
def test_known_targets_are_those_of_the_member(core: str, tmp_path: Path) -> None:
    """By the function in whose source the call is, though that was inlined."""
    elf = link(core, POINTERS, tmp_path)
    assert about(stack_bound(elf, members={"call": (("port", "read"),)}), "small", 200)
    assert about(stack_bound(elf, members={"call": (("port", "write"),)}), "large", 600)
    # A member that is nowhere set is not called.
    alone = stack_bound(elf, members={"call": (("port", "context"),)})
    assert {level.function for level in alone.path} <= {"start"}
    # There is no such type, and no call in that function, which the other was inlined to.
    assert about(stack_bound(elf, members={"call": (("ports", "read"),)}), "large", 600)
    assert about(stack_bound(elf, members={"start": (("port", "read"),)}), "large", 600)


@pytest.mark.parametrize("core", CORES)
def test_switches_stay_in_their_function(core: str, tmp_path: Path) -> None:
    cases = "".join(f"case {i}: {'deep' if i == 7 else 'flat'}({i}); break;\n" for i in range(12))
    program = KEEP + (
        "void deep(int i) { KEEP(800); kept[1] = (uint8_t)i; }\n"
        "void flat(int i) { KEEP(100); kept[1] = (uint8_t)i; }\n"
        f"int start(int n) {{ switch (n) {{ {cases} }} return 0; }}\n"
    )
    bound = stack_bound(link(core, program, tmp_path, "-O2", "-fjump-tables"))
    assert [level.function for level in bound.path][-1] == "deep"
    assert 800 <= bound.total < 900


@pytest.mark.parametrize("core", [core for core in CORES if core != "atmega2560"])
def test_functions_of_the_c_library(core: str, tmp_path: Path) -> None:
    """They come without the compiler's figures, and some are written by hand."""
    program = (
        "#include <math.h>\n#include <string.h>\n"
        "char a[300], b[300];\n"
        "int *__errno(void);\nint *__errno(void) { static int n; return &n; }\n"
        "float start(float x, double y, double z, unsigned n) {\n"
        "    memcpy(a, b, n); return expf(x) + (float)(y / z); }\n"
    )
    elf = link(core, program, tmp_path, "-Wl,--gc-sections")
    bound = stack_bound(elf)
    assert bound.path[0].function == "start"
    assert len(bound.path) > 1
    assert 48 <= bound.total <= 400


INTERRUPTS = KEEP + (
    "void start(void);\n"
    "void tick(void) { KEEP(96); }\n"
    "void fault(void) { KEEP(2000); for (;;) { } }\n"
    "int work(void) { KEEP(200); return 1; }\n"
    "void start(void) { work(); for (;;) { } }\n"
    '__attribute__((section(".vectors"), used))\n'
    "const uintptr_t vectors[4] = {0, (uintptr_t)start, (uintptr_t)fault, (uintptr_t)tick};\n"
)


def test_an_interrupt_comes_on_top(tmp_path: Path) -> None:
    """The deepest handler that returns, and what the core pushes for it."""
    elf = link("cortex-m4", INTERRUPTS, tmp_path)
    bound = stack_bound(elf)
    assert bound.path[-3:] == (Level("work", 200), Level("interrupt", 36), Level("tick", 96))
    assert stack_bound(elf, floats=True).total == bound.total + 72


def test_an_avrs_interrupt_comes_on_top_unless_it_takes_the_stack(tmp_path: Path) -> None:
    """A handler that begins the stack anew and then the program never comes back."""
    program = AVR + (
        r"""__asm__("function __vector_1\n push r0\n push r1\n pop r1\n pop r0\n reti\n"
        "function __vector_2\n ldi r26, 0xff\n ldi r27, 0x21\n out 0x3e, r27\n out 0x3d, r26\n"
        " push r2\n push r2\n push r2\n push r2\n jmp start\n");"""
    )
    bound = stack_bound(link("atmega2560", program, tmp_path))
    assert [level.function for level in bound.path[-2:]] == ["interrupt", "__vector_1"]
    assert bound.path[-2:] == (Level("interrupt", 3), Level("__vector_1", 2))


def test_every_call_of_the_runtime_through_a_pointer_is_listed() -> None:
    """In each function of the C sources, exactly those members that it calls."""
    found: dict[object, set[str]] = {}
    for file in sorted((ROOT / "runtime_c" / "src").glob("*.c")):
        for body in re.split(r"\n}\n", file.read_text()):
            heads = re.findall(r"^[a-z][^;{}=]*?\b(\w+)\([^;{}]*\)\n\{", body, re.MULTILINE)
            calls = set(re.findall(r"(?:->|\.)(\w+)\(", body))
            if calls:
                found[heads[-1]] = calls
    listed = {k: {m for _, m in v} for k, v in RUNTIME.items() if str(k).isidentifier()}
    assert found == listed


@pytest.mark.parametrize("text", ["not an image", ""])
def test_what_is_no_image(text: str, tmp_path: Path) -> None:
    file = tmp_path / "a.elf"
    file.write_text(text)
    with pytest.raises(StackError, match="can't be read"):
        stack_bound(file)


def test_other_machines_are_not_known(tmp_path: Path) -> None:
    cc = require_tool("cc")
    file, elf = tmp_path / "a.c", tmp_path / "a.elf"
    file.write_text("int main(void) { return 0; }\n")
    subprocess.run([cc, str(file), "-o", str(elf)], check=True)
    with pytest.raises(StackError, match=r"instructions of EM_.* are not known"):
        stack_bound(elf)


@pytest.mark.parametrize(
    ("symbol", "shown"),
    [
        ("flush.lto_priv.51", "flush"),
        ("main", "main"),
        ("_ZL5flushv", "flush"),
        ("_Z5setupv", "setup"),
        ("_ZN5Print5writeEPKhj", "Print::write"),
        ("_ZNK6String6lengthEv.constprop.3", "String::length"),
        ("_ZN14HardwareSerialC2EPVhS1_", "HardwareSerial::HardwareSerial"),
        ("_ZN6StringD1Ev", "String::~String"),
        ("_ZN6StringaSERKS_", "_ZN6StringaSERKS_"),
        ("__dtors_end", "start"),
        ("__vector_1", "__vector_1"),
    ],
)
def test_names_are_shown_as_they_were_written(symbol: str, shown: str) -> None:
    assert shown_name(symbol) == shown
