"""The comparison of boards, with small sources of every kind that agree, or don't."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare_boards import compare, dumped, main, print_table, record
from benchmarks.source import Source, canonical_core
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
from microtvm.target import Board, load_board
from tests.conftest import require_tool

BOARD = """
inherits = ["platform/zephyr-arduino", "soc/stm32f4"]
description = "a board"
url = "https://example.org/manual.pdf"
hz = 96_000_000
usb = ["0483:374b"]
uart = { name = "usart2", tx = "PA2", rx = "PA3", baud = 115200 }
memory.dtcm = { start = 0x10000000, size_bytes = 0x100, roles = [], kind = "tcm", label = "dtcm" }
memory.flash.size_bytes = 0x80000
memory.flash.wait_states = 3
memory.ram.size_bytes = 0x20000
platform.zephyr.board = "own/stm32f4xx"
platform.zephyr.old = "own_old"
platform.arduino.fqbn = "ST:stm32:Nucleo:pnum=OWN"
[names]
platformio = "own"
probe-rs = "CHIP"
tvm = "ours"
[flash.pyocd]
argv = ["pyocd", "flash", "--target", "chip", "{elf}"]
"""
DTS = """
/ {
    chosen { zephyr,sram = &sram0; zephyr,console = &usart2; };
    usart2: serial { current-speed = <115200>; pinctrl-0 = <&usart2_tx_pa2 &usart2_rx_pa3>; };
    dtcm: memory@10000000 {
        compatible = "zephyr,memory-region", "arm,dtcm";
        reg = <0x10000000 0x100>;
    };
    cpus { cpu@0 { compatible = "arm,cortex-m4f"; }; };
    rcc: rcc { clock-frequency = <96000000>; };
    #address-cells = <1>;
    #size-cells = <1>;
    sram0: memory@20000000 { compatible = "mmio-sram"; reg = <0x20000000 0x20000>; };
    flash0: flash@8000000 { compatible = "soc-nv-flash"; reg = <0x8000000 0x80000>; };
};
"""
FILES = {
    "zephyr/VERSION": "VERSION_MAJOR = 3\nVERSION_MINOR = 7\nPATCHLEVEL = 1\n",
    "zephyr/boards/deprecated.cmake": "set(own_old_DEPRECATED\n    own/stm32f4xx\n)\n",
    "zephyr/boards/st/own/own_stm32f4xx.dts": DTS,
    "zephyr/boards/st/own/board.yml": "board:\n  name: own\n  socs:\n    - name: stm32f4xx\n",
    "zephyr/west.yml": "projects:\n    - name: hal_st\n    - name: hal_stm32\n",
    "zephyr/soc/maker/fam/soc.yml": "family:\n- name: fam\n  socs:\n  - name: stm32f4xx\n",
    "zephyr/soc/maker/fam/own/Kconfig": "config OWN\n\tselect HAS_OWN\n",
    "zephyr/modules/hal_stm32/Kconfig": "config HAS_OWN\n\tbool\n",
    "zephyr/boards/st/own/board.cmake": 'board_runner_args(pyocd "--target=chip")\n',
    "zephyr/boards/st/own/doc/index.rst": "An ST-LINK/V2-1 is on it.\n",
    "pio/platform.json": '{"name": "ststm32", "version": "1.0"}',
    "pio/boards/own.json": json.dumps(
        {
            "build": {"cpu": "cortex-m4", "mcu": "stm32f4", "f_cpu": "96000000L"},
            "debug": {"openocd_target": "stm32f4x"},
            "upload": {"maximum_size": 0x80000, "maximum_ram_size": 0x20000},
        }
    ),
    "core/platform.txt": "version=2.0\n",
    "core/boards.txt": "Nucleo.name=Nucleo\nNucleo.menu.pnum.OWN=Own\n"
    "Nucleo.menu.pnum.OWN.build.variant=F4\nNucleo.menu.pnum.OWN.build.board=OWN\n",
    "core/variants/F4/variant_OWN.cpp": "HAL_RCC_ClockConfig(&x, FLASH_LATENCY_3)",
    "probe/CHANGELOG.md": "## [1.2.3]\n",
    "probe/probe-rs/targets/X.yaml": "variants:\n- name: CHIP\n  cores:\n  - name: main\n"
    "  memory_map:\n  - !Nvm\n    range:\n      start: 0x8000000\n      end: 0x8040000\n"
    "  - !Nvm\n    range:\n      start: 0x8040000\n      end: 0x8080000\n  flash_algorithms:\n",
    "tvm/zephyr/boards.json": '{"ours": {"vid_hex": "", "pid_hex": ""}}',
    "pyocd/pyocd/target/builtin/__init__.py": "B = {'chip': target_chip.Chip}\n",
    "openocd/target/stm32f4x.cfg": "",
    "openocd/interface/stlink.cfg": "",
    "usb.ids": "# Version: 7\n0483  ST\n\t374b  ST-LINK/V2.1\n",
}


def laid_out(folder: Path, **changed: str) -> Board:
    for name, text in (FILES | changed).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    file = folder / "nucleo_f411re.toml"
    file.write_text(BOARD)
    return load_board(str(file))


def sources(folder: Path) -> list[Source]:
    tree = Zephyr(folder / "zephyr")
    return [
        tree,
        PlatformIO(folder / "pio"),
        ArduinoCore(folder / "core", "ST:stm32"),
        ProbeRs(folder / "probe"),
        Tvm(folder / "tvm"),
        PyOcd(folder / "pyocd", "1"),
        OpenOcd(folder / "openocd", "1"),
        UsbIds(folder / "usb.ids", [tree]),
    ]


def test_every_figure_finds_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("cc")
    rows = list(compare(laid_out(tmp_path), sources(tmp_path)))
    assert [row.figure for row in rows if not row.ok] == []
    said = {row.figure: row.agreed[0].title for row in rows if row.agreed}
    assert said["cpu"] == said["hz"] == "Zephyr 3.7.1"
    assert said["memory.flash.wait_states"] == "Arduino core ST:stm32 2.0"
    assert said["names.probe-rs"] == "probe-rs 1.2.3"
    assert said["flash.openocd.argv"] == "PlatformIO ststm32 1.0"
    assert said["usb"] == "usb.ids 7"
    print_table(rows, only_bad=False)
    out = capsys.readouterr().out
    assert "boards/st/own/own_stm32f4xx.dts" in out
    assert "instead 0x8000000 0x40000 Nvm (probe-rs 1.2.3" in out
    recorded = record(rows, {})
    assert json.loads(dumped(recorded)) == recorded
    assert recorded["sources"]["zephyr"] == "Zephyr 3.7.1"


@pytest.mark.parametrize(
    ("file", "old", "new", "figure"),
    [
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "cortex-m4f", "cortex-m7", "cpu"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "<96000000>", "<84000000>", "hz"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "0x20000000 0x20000", "0x20000000 0x18000",
         "memory.ram.size_bytes"),
        ("zephyr/boards/deprecated.cmake", "own_old", "own_older", "platform.zephyr.old"),
        ("zephyr/boards/st/own/board.cmake", "chip", "other", "flash.pyocd.argv"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "_pa3", "_pa5", "uart.rx"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "<115200>", "<9600>", "uart.baud"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "arm,dtcm", "mmio-sram", "memory.dtcm.kind"),
        ("zephyr/boards/st/own/own_stm32f4xx.dts", "dtcm: m", "dtcm0: m", "memory.dtcm.label"),
        ("zephyr/modules/hal_stm32/Kconfig", "HAS_OWN", "HAS_X", "platform.zephyr.modules"),
        ("zephyr/boards/st/own/doc/index.rst", "V2-1", "V3E", "usb"),
        ("core/boards.txt", "pnum.OWN", "pnum.OTHER", "platform.arduino.fqbn"),
        ("core/variants/F4/variant_OWN.cpp", "LATENCY_3", "LATENCY_2", "memory.flash.wait_states"),
        ("probe/probe-rs/targets/X.yaml", "CHIP", "CHOP", "names.probe-rs"),
        ("pio/boards/own.json", "stm32f4x", "stm32f7x", "flash.openocd.argv"),
        ("openocd/interface/stlink.cfg", "", "", ""),
    ],
)  # fmt: skip
def test_a_figure_that_nobody_confirms_is_bad(
    tmp_path: Path, file: str, old: str, new: str, figure: str
) -> None:
    require_tool("cc")
    changed = {file: FILES[file].replace(old, new)}
    if figure == "flash.pyocd.argv":
        changed["pyocd/pyocd/target/builtin/__init__.py"] = ""
    board = laid_out(tmp_path, **changed)
    # What other sources say of the same would hide the change.
    given = [s for s in sources(tmp_path) if not _hides(s, figure)]
    bad = [row.figure for row in compare(board, given) if not row.ok]
    assert (figure in bad) == bool(figure)


def _hides(source: Source, figure: str) -> bool:
    return source.key == "platformio-ststm32" and figure in ("cpu", "hz", "memory.ram.size_bytes")


def test_xtensa_features_are_compared_with_the_cores_header(tmp_path: Path) -> None:
    header = tmp_path / "xtensa_esp32s2" / "core-isa.h"
    header.parent.mkdir()
    header.write_text(
        "".join(f"#define {option} 1 /* x */\n" for option in XtensaOverlays.OPTIONS.values())
    )
    board = load_board("feathers2")
    (row,) = [r for r in compare(board, [XtensaOverlays(tmp_path)]) if r.figure == "features"]
    assert not row.ok, "the header has an FPU"
    header.write_text(header.read_text().replace("HAVE_FP 1", "HAVE_FP 0"))
    (row,) = [r for r in compare(board, [XtensaOverlays(tmp_path)]) if r.figure == "features"]
    assert row.ok


def test_cores_are_spelt_one_way() -> None:
    assert canonical_core("arm,cortex-m0+") == "cortex-m0plus"
    assert canonical_core("arm,cortex-m33f") == "cortex-m33"
    assert canonical_core("rv32imac_zicsr_zifencei") == "rv32imac"
    assert canonical_core("espressif,xtensa-lx7") == "xtensa-lx7"


def test_status_tells_that_something_is_unconfirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    laid_out(tmp_path)
    assert main(["--pyocd", f"1={tmp_path / 'pyocd'}", "--only-bad", "rpi_pico"]) == 1
    captured = capsys.readouterr()
    assert "rpi_pico" in captured.out
    assert "NOT FOUND" in captured.out
    assert "without agreement" in captured.err


def test_avr_addresses_are_those_of_the_linker(tmp_path: Path) -> None:
    (tmp_path / "iom2560.h").write_text("#include <avr/iomxx0_1.h>\n#define FLASHEND 0x3FFFF\n")
    (tmp_path / "iomxx0_1.h").write_text("#define RAMSTART (0x200)\n# define RAMEND 0x21FF\n")
    feather = load_board("feathers2")
    board = replace(feather, cpu=replace(feather.cpu, name="atmega2560"))
    found = [fact.value for fact in AvrLibc(tmp_path, "2").facts(board)]
    assert found == [(0, 0x40000), (0x800200, 0x2000)]
    assert not list(AvrLibc(tmp_path, "2").facts(feather))


def test_uf2_families_are_told_apart_by_chip_and_core(tmp_path: Path) -> None:
    file = tmp_path / "uf2families.json"
    families = {"0x1": "RP2040", "0x2": "RP2350_ARM_S", "0x3": "RP2350_RISCV", "0x4": "SAMD51"}
    file.write_text(json.dumps([{"id": k, "short_name": v} for k, v in families.items()]))
    source = Uf2Families(file)

    def ids(name: str) -> list[object]:
        return [fact.value for fact in source.facts(load_board(name))]

    assert ids("rpi_pico") == ["0x1"]
    assert ids("rpi_pico2") == ["0x2"]
    assert ids("rpi_pico2_hazard3") == ["0x3"]
    assert ids("wio_terminal") == ["0x4"]
