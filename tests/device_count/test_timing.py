"""Estimated cycles against sums by hand, and the classes of instructions against the assembler."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import pytest

from microtvm.device.count.build import SOURCES
from microtvm.target import load_cpu
from microtvm.target.timing import ENTRIES
from tests.conftest import ROOT, require_tool
from tests.device_count import image
from tests.device_count.image import Machine

FOLDER = ROOT / "microtvm" / "device" / "count"

M0 = {
    "t_loads_in_a_row": 2 + 2 + 2 + 3,
    "t_loads_apart": 2 + 1 + 2 + 1 + 3,
    "t_address_loaded": 2 + 2 + 3,
    "t_index_loaded": 2 + 2 + 3,
    "t_store_then_load": 2 + 2 + 3,
    "t_store_register": 1 + 2 + 2 + 2 + 3,
    "t_multiples": (1 + 3) + 1 + (1 + 2) + (1 + 3) + (4 + 3),
    "t_multiply": 1 + 3,
    "t_loop": 1 + 4 * 1 + 3 * 3 + 1 + 3,
    "t_forward": 1 + 1 + 1 + 3 + 3,
    "t_leaf": 3,
    "t_call": (1 + 2) + 4 + 3 + (4 + 2),
    "t_page": 2 + 2 + 2 + 3,
}
M3 = {
    **M0,
    "t_loads_in_a_row": 2 + 1 + 1 + 3,
    "t_store_then_load": 1 + 1 + 3,
    # The store overlaps with the load before it, nothing with the store.
    "t_store_register": 1 + 2 + 1 + 2 + 3,
    "t_multiples": (1 + 3) + 1 + (1 + 2) + (1 + 3) + (1 + 3 + 2),
    "t_call": (1 + 2) + 3 + 3 + (1 + 2 + 2),
    "t_page": 2 + 1 + 1 + 3,
    "t_divide": 1 + 12 + 12 + 3,
    "t_long": 5 + 7 + 2 + 3,
    "t_compare": 1 + 3 + 1 + 1 + 3,
    "t_dual": (1 + 2) + (1 + 2) + 3,
    "t_table": 1 + (2 + 2) + 3,
    # What a condition skips takes one cycle: a load, a return; the return that it does not, three.
    "t_skipped": 1 + (1 + 1) + (1 + 2) + (1 + 1) + (1 + 3),
    "t_loaded_pc": 1 + (2 + 2),
    # The third needs what the first loaded, which is no stall by now; the fourth is a store.
    "t_wide": 2 + 1 + 1 + 1 + 1 + 3 + 3,
}
M4 = {
    **M3,
    "t_long": 1 + 1 + 1 + 3,
    "t_float": 1 + 1 + 1 + 3 + 3 + 14 + 14 + 1 + 1 + 1 + 1 + 2 + 3,
    "t_float_memory": 2 + 3 + (1 + 4) + (1 + 2) + (1 + 2) + 2 + 3,
}
M55 = {
    **M4,
    "t_float": 1 + 1 + 1 + 1 + 1 + 14 + 14 + 1 + 1 + 1 + 1 + 2 + 3,
    "t_vector_alternating": 2 + 1 + 1 + 1 + 3,
    "t_vector_same_pipe": 2 + 2 + 1 + 1 + 3,
    "t_vector_apart": 2 + 1 + 2 + 3,
    "t_hardware_loop": (1 + 2) + 1 + 1 + 6 * 2 + (1 + 2 + 2),
    # From the second round on the load overlaps with the product at the end of the round before.
    "t_vector_loop": (1 + 2) + 1 + 1 + (2 + 1) + 3 * (1 + 1) + (1 + 2 + 2),
    "t_loop_not_begun": (1 + 2) + 1 + 3 + (1 + 2 + 2),
}
IBEX = {
    "t_memory": 2 + 2 + 2 + 2 + 2,
    "t_arithmetic": 1 + 1 + 2 + 38 + 38 + 2,
    "t_compressed": 1 + 1 + 2 + 2 + 1 + 1 + 1 + 2 + 2 + 1 + 1 + 3 + 1 + 1 + 2 + 2,
    "t_wide": 3 + 1 + 1 + 2 + 2,
    "t_loop": 1 + 4 * 1 + 3 * 3 + 1 + 2,
    "t_leaf": 2,
    "t_call": 1 + 2 + 2 + 2 + 2 + 2 + 2,
}


def arm(name: str, flags: str, board: str, code: int, ram: int) -> Machine:
    argv = ("-machine", board, "-semihosting")
    options = ("-mthumb", f"-DRAM={ram:#x}", *flags.split())
    return Machine(name, "timing.S", "arm-none-eabi", options, code, "qemu-system-arm", argv)


V7 = "-DV7"
FPU = "-mfloat-abi=hard -DV7 -DFPU"
CASES = [
    ("cortex-m0", M0, arm("m0", "-mcpu=cortex-m0", "microbit", 0, 0x20000000)),
    ("cortex-m3", M3, arm("m3", f"-mcpu=cortex-m3 {V7}", "mps2-an385", 0, 0x20000000)),
    (
        "cortex-m4",
        M4,
        arm("m4", f"-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 {FPU}", "mps2-an386", 0, 0x20000000),
    ),
    (
        "cortex-m33",
        M4,
        arm("m33", f"-mcpu=cortex-m33 -mfpu=fpv5-sp-d16 {FPU}", "mps2-an505", 2**28, 0x38000000),
    ),
    (
        "cortex-m55",
        M55,
        arm("m55", f"-mcpu=cortex-m55 {FPU} -DMVE", "mps3-an547", 2**28, 0x30000000),
    ),
    (
        "rv32imc",
        IBEX,
        Machine(
            "rv32",
            "timing_rv32.S",
            "riscv64-unknown-elf",
            ("-march=rv32imc", "-mabi=ilp32", "-misa-spec=2.2", "-DRAM=0x80400000"),
            0x80000000,
            "qemu-system-riscv32",
            ("-machine", "virt", "-m", "16", "-bios", "none"),
        ),
    ),
]


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("cpu", "expected", "machine"), CASES, ids=[machine.name for _, _, machine in CASES]
)
@pytest.mark.parametrize("icount", [(), ("-icount", "shift=0")], ids=["free", "icount"])
def test_cycles_are_the_sum_by_hand(
    cpu: str,
    expected: dict[str, int],
    machine: Machine,
    icount: tuple[str, ...],
    plugin: Path,
    tmp_path: Path,
) -> None:
    timing = load_cpu(cpu).timing
    assert timing is not None
    built = image.build(machine, tmp_path)
    counted = image.count(built, plugin, tmp_path, *icount, timing=timing.cycles)
    found = {item.label: item.cycles for item in counted}
    assert found == expected
    if machine.source == "timing.S":
        # At the end of a page QEMU gives bytes of two instructions as those of one.
        (page,) = [item for item in counted if item.label == "t_page"]
        assert (page.instructions, page.loads, page.stores) == (4, 3, 0)


@pytest.mark.qemu
def test_the_m0plus_refills_faster(plugin: Path, tmp_path: Path) -> None:
    timing = load_cpu("cortex-m0plus").timing
    assert timing is not None
    _, _, machine = CASES[0]
    built = image.build(machine, tmp_path)
    found = {
        item.label: item.cycles
        for item in image.count(built, plugin, tmp_path, timing=timing.cycles)
    }
    assert found["t_call"] == (1 + 2) + 3 + 2 + (3 + 2)
    assert found["t_loop"] == 1 + 4 * 1 + 3 * 2 + 1 + 2


@pytest.mark.qemu
def test_without_a_table_there_are_no_cycles(plugin: Path, tmp_path: Path) -> None:
    _, _, machine = CASES[2]
    counted = image.count(image.build(machine, tmp_path), plugin, tmp_path)
    assert counted
    assert {item.cycles for item in counted} == {None}


class Decoded(ctypes.Structure):
    """`struct count_timing` of timing.h."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("registers", ctypes.c_uint),
        ("is_branch", ctypes.c_bool),
        ("is_conditional", ctypes.c_bool),
        ("is_predicated", ctypes.c_bool),
        ("predicates", ctypes.c_uint),
        ("address", ctypes.c_uint32),
        ("loaded", ctypes.c_uint32),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The decoder alone, as a library of this process."""
    file = tmp_path_factory.mktemp("timing") / "timing.so"
    sources = [str(FOLDER / name) for name in SOURCES if name.startswith("timing")]
    argv = [require_tool("cc"), "-std=c99", "-shared", "-fPIC", "-o", str(file), *sources]
    subprocess.run(argv, check=True, timeout=60)
    loaded = ctypes.CDLL(str(file))
    loaded.count_timing_thumb.restype = Decoded
    loaded.count_time_name.restype = ctypes.c_char_p
    return loaded


def names(library: ctypes.CDLL) -> list[str]:
    found = []
    kind = 1
    while (name := library.count_time_name(kind)) is not None:
        found.append(name.decode())
        kind += 1
    return found


def test_tables_and_plugin_have_the_same_names(library: ctypes.CDLL) -> None:
    assert sorted(names(library)) == sorted(ENTRIES)


HELIUM = {
    "vector_multiply": """
        vmladav.s8 r0,q1,q2; vmladava.u32 r0,q1,q2; vmlav.s8 r0,q1,q2; vmlsdav.s16 r0,q1,q2
        vmlaldav.s16 r0,r1,q1,q2; vrmlaldavh.s32 r0,r1,q1,q2; vaddv.s8 r0,q1; vaddva.u32 r0,q1
        vaddlv.s32 r0,r1,q1; vmul.i16 q0,q1,q2; vmul.i32 q0,q1,r2; vmulh.s16 q0,q1,q2
        vrmulh.u8 q7,q1,q2; vmullb.s8 q0,q1,q2; vmullt.u16 q0,q1,q2; vqdmulh.s32 q0,q1,q2
        vqrdmulh.s32 q0,q1,q2; vqrdmulh.s32 q0,q1,r2; vqdmulh.s16 q0,q1,r2
        vqdmladh.s16 q0,q1,q2; vmla.s16 q0,q1,r2; vmlas.s16 q0,q1,r2; vqdmlah.s32 q0,q1,r2
        vqrdmlah.s32 q0,q1,r2; vqdmullb.s16 q0,q1,q2; vqdmullt.s16 q0,q1,r2
        vcmp.s32 gt,q0,q1; vcmp.i32 eq,q0,r1; vcmp.f32 gt,q0,q1; vcmp.f32 eq,q0,r1
        vadd.f32 q0,q1,q2; vadd.f32 q0,q1,r2; vsub.f32 q0,q1,q2; vmul.f32 q0,q1,q2
        vmul.f32 q0,q1,r2; vfma.f32 q0,q1,q2; vfma.f32 q0,q1,r2; vfmas.f32 q0,q1,r2
        vfms.f32 q0,q1,q2; vabd.f32 q0,q1,q2; vmaxnm.f32 q0,q1,q2; vcvt.f32.s32 q0,q1
        vcvt.s32.f32 q0,q1; vrintn.f32 q0,q1; vabs.f32 q0,q1; vneg.f32 q0,q1
        vmov.32 r0,q0[1]; vmov.s8 r0,q0[1]; vmov r0,r1,q0[2],q0[0]; vcmla.f32 q0,q1,q2,#0
        vcmul.f32 q0,q1,q2,#0
    """,
    "vector_integer": """
        vadd.i8 q0,q1,q2; vadd.i8 q0,q1,r2; vsub.i32 q0,q1,q2; vsub.i32 q0,q1,r2
        vhadd.s8 q0,q1,q2; vhadd.s8 q0,q1,r2; vhsub.u16 q0,q1,r2; vqadd.s8 q0,q1,q2
        vqadd.s8 q0,q1,r2; vqsub.s8 q0,q1,q2; vrhadd.s8 q0,q1,q2; vabd.s8 q0,q1,q2
        vabs.s8 q0,q1; vneg.s8 q0,q1; vmax.s8 q0,q1,q2; vmin.u16 q0,q1,q2; vmaxv.s8 r0,q1
        vminv.u16 r0,q1; vmaxav.s8 r0,q1; vmaxa.s8 q0,q1; vmina.s16 q0,q1; vabav.s8 r0,q1,q2
        vand q0,q1,q2; vorr q0,q1,q2; veor q0,q1,q2; vbic q0,q1,q2; vmvn q0,q1; vmov q0,q1
        vmov.i32 q0,#1; vshl.s8 q0,q1,q2; vshl.s32 q0,r2; vrshl.s32 q0,q1,q2; vrshl.s32 q0,r2
        vqshl.s32 q0,q1,q2; vqshl.s32 q0,q1,#3; vqshl.s32 q0,r2; vqrshl.s32 q0,q1,q2
        vshr.s32 q0,q1,#3; vrshr.s32 q0,q1,#3; vshl.i32 q0,q1,#3; vshllb.s8 q0,q1,#3
        vmovlb.s8 q0,q1; vmovlt.u16 q0,q1; vshrnb.i16 q0,q1,#3; vqrshrnb.s16 q0,q1,#3
        vqrshrunt.s32 q0,q1,#3; vmovnb.i16 q0,q1; vmovnt.i32 q0,q1; vqmovnb.s16 q0,q1
        vqmovnt.s32 q0,q1; vqmovunb.s16 q0,q1; vrev32.8 q0,q1; vclz.i32 q0,q1; vdup.32 q0,r1
        vdup.8 q0,r1; vidup.u32 q0,r0,#1; vddup.u32 q0,r0,#1; viwdup.u32 q0,r0,r1,#1
        vadc.i32 q0,q1,q2; vsbc.i32 q0,q1,q2; vcadd.i32 q0,q1,q2,#90
        vhcadd.s32 q0,q1,q2,#90; vbrsr.8 q0,q1,r2; vpsel q0,q1,q2; vsli.32 q0,q1,#3
        vmov.32 q0[1],r0; vmov.8 q0[1],r0; vmov q0[2],q0[0],r0,r1
    """,
    "vector_memory": """
        vldrw.u32 q0,[r0]; vldrb.s16 q0,[r0]; vldrb.u8 q0,[r0],#16; vldrh.u32 q0,[r0,#2]!
        vldrw.u32 q0,[r0,q1]; vldrb.u8 q0,[r0,q1]; vldrw.u32 q0,[q1,#4]; vstrw.32 q0,[r0]
        vstrb.16 q0,[r0]; vstrw.32 q0,[r0,q1]; vstrw.32 q0,[q1,#4]
        vld40.8 {q0,q1,q2,q3},[r0]; vld20.8 {q0,q1},[r0]; vst43.8 {q0,q1,q2,q3},[r0]!
    """,
    "float": """
        vadd.f32 s0,s1,s2; vmul.f32 s0,s1,s2; vnmul.f32 s0,s1,s2; vcmp.f32 s0,s1
        vcvt.s32.f32 s0,s1; vmov.f32 s0,s1; vmov.f32 s0,#1.0; vabs.f32 s0,s1; vneg.f32 s0,s1
        vmaxnm.f32 s0,s1,s2; vseleq.f32 s0,s1,s2; vrinta.f32 s0,s1; vmov s0,r0; vmov r0,s0
        vmrs APSR_nzcv,fpscr
    """,
    "float_multiply_add": """
        vmla.f32 s0,s1,s2; vmls.f32 s0,s1,s2; vnmla.f32 s0,s1,s2; vfma.f32 s0,s1,s2
        vfms.f32 s0,s1,s2; vfnma.f32 s0,s1,s2
    """,
    "float_divide": "vdiv.f32 s0,s1,s2; vsqrt.f32 s0,s1",
    "float_pair": "vmov r0,r1,s0,s1; vmov s0,s1,r0,r1; vmov d0,r0,r1",
    "multiple": """
        vldr s0,[r0]; vldr d0,[r0]; vldmia r0!,{s0-s3}; vpush {d8-d9}; vstr s0,[r0]
        ldrd r0,r1,[r2]; strd r0,r1,[r2,#8]!; ldm r0,{r1,r2}; push {r0,lr}; push.w {r4-r9}
    """,
    "multiply": "muls r0,r1; mul r0,r1,r2; smmul r0,r1,r2; smuad r0,r1,r2; smulbb r0,r1,r2",
    "multiply_add": "mla r0,r1,r2,r3; mls r0,r1,r2,r3; smlad r0,r1,r2,r3; smmlar r0,r1,r2,r3",
    "multiply_long": "smull r0,r1,r2,r3; umull r0,r1,r2,r3",
    "multiply_add_long": "smlal r0,r1,r2,r3; umlal r0,r1,r2,r3; smlald r0,r1,r2,r3",
    "divide": "sdiv r0,r1,r2; udiv r0,r1,r2",
    "load": """
        ldr r0,[r1]; ldrb.w r0,[r1],#1; ldrsh r0,[r1,r2]; ldr r0,[sp,#4]; ldrex r0,[r1]
        strex r0,r1,[r2]; ldr.w r0,[r1,r2,lsl #2]; ldr r0,[pc,#4]; ldr.w r0,[pc,#4]
    """,
    "store": "str r0,[r1]; strb.w r0,[r1],#1; str r0,[sp,#4]; strh r0,[r1,#2]",
    "store_register": "str r0,[r1,r2]; strb.w r0,[r1,r2,lsl #1]",
    "": """
        nop; adds r0,r1,r2; movw r0,#1; ssat r0,#8,r1; sxtb16 r0,r1; uxtab16 r0,r1,r2
        csel r0,r1,r2,eq; pkhbt r0,r1,r2; clz r0,r1; dsb; asrl r0,r1,#3; pld [r0]; vctp.8 r0
        vpnot; dls lr,r0
    """,
}  # fmt: skip


@pytest.mark.parametrize("kind", list(HELIUM), ids=lambda kind: kind or "other")
def test_kinds_of_instructions(kind: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    lines = [part.strip() for part in re.split(r"[;\n]", HELIUM[kind]) if part.strip()]
    source = tmp_path / "a.S"
    source.write_text(
        ".syntax unified\n.thumb\n"
        + "".join(f"i{i}: {x}\n" for i, x in enumerate(lines))
        + "end:\n"
    )
    compiler, copy = require_tool("arm-none-eabi-gcc"), require_tool("arm-none-eabi-objcopy")
    flags = ["-mcpu=cortex-m55", "-mfloat-abi=hard", "-c"]
    subprocess.run([compiler, *flags, str(source), "-o", str(tmp_path / "a.o")], check=True)
    subprocess.run([copy, "-O", "binary", str(tmp_path / "a.o"), str(tmp_path / "a")], check=True)
    code = (tmp_path / "a").read_bytes()
    known = ["", *names(library)]
    at = 0
    for line in lines:
        size = 4 if code[at + 1] >> 3 >= 0x1D else 2
        decoded = library.count_timing_thumb(code[at : at + size] + bytes(4 - size))
        assert (line, known[decoded.kind]) == (line, kind)
        at += size
    assert at == len(code)
