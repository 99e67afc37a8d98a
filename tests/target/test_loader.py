"""What comes with microtvm loads, and every mistake in a board's file is named by file and key."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from microtvm.errors import BoardError
from microtvm.target import (
    FEATURES,
    Board,
    Emulator,
    data_folder,
    list_boards,
    list_cpus,
    load_board,
    load_cpu,
)
from microtvm.target.loader import read_board
from microtvm.target.second import cpu_figures, load_record
from tests.conftest import require_tool

BOARD = """
description = "a board"
cpu = "cortex-m3"
platforms = ["baremetal"]
stack_bytes = 4096
[memory.flash]
start = 0
size_bytes = 0x40000
roles = ["code"]
[memory.ram]
start = 0x20000000
size_bytes = 0x10000
roles = ["data"]
[uart]
driver = "pl011"
base = 0x4000C000
[counter]
kind = "systick"
hz = 12000000
[emulator]
kind = "qemu"
argv = ["qemu-system-arm", "-serial", "{serial}", "-kernel", "{elf}"]
"""


def read(folder: Path, text: str) -> object:
    (folder / "own.toml").write_text(text)
    return load_board(str(folder / "own.toml"))


def test_the_boards_and_cpus_that_are_promised() -> None:
    emulated = {
        "host",
        "native-sim",
        "native-sim-32",
        "qemu-cortex-m3",
        "qemu-mega2560",
        "qemu-microbit",
        "qemu-mps2-an385",
        "qemu-mps2-an385-m0",
        "qemu-mps2-an386",
        "qemu-mps2-an500",
        "qemu-mps2-an505",
        "qemu-mps2-an521",
        "qemu-mps3-an547",
        "qemu-riscv32",
    }
    of_microtvm = {
        "adafruit_metro_m4",
        "adafruit_pybadge_m4",
        "arduino_due",
        "arduino_nano_33_ble",
        "arduino_portenta_h7",
        "b_u585i_iot02a",
        "feathers2",
        "mimxrt1050_evk",
        "nrf5340dk",
        "nucleo_f746zg",
        "nucleo_l4r5zi",
        "rpi_pico",
        "spresense",
        "stm32f746g_disco",
        "teensy40",
        "teensy41",
        "wio_terminal",
    }
    assert emulated | of_microtvm <= set(list_boards())
    assert sum(bool(load_board(name).url) for name in list_boards()) >= 45
    assert {"host", "cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4"} <= set(list_cpus())
    assert {"cortex-m7", "cortex-m33", "cortex-m55", "rv32imc", "rv32imafc"} <= set(list_cpus())


@pytest.mark.parametrize("name", list_boards())
def test_board_is_complete(name: str) -> None:
    board = load_board(name)
    assert board.name == name
    assert board.cpu == load_cpu(board.cpu.name)
    assert board.emulator is not None or board.url
    assert all(file.is_relative_to(data_folder("boards")) for file in board.origins.values())
    if board.cpu.family != "native":
        roles = {role: board.memory(role) for role in ("code", "data", "arena", "weights")}
        if "baremetal" in board.platforms:
            assert roles["code"] != roles["data"]
        assert all(memory.size_bytes > 0 for memory in roles.values())


@pytest.mark.parametrize("name", list_cpus())
def test_compiler_agrees_about_the_features(name: str) -> None:
    """The compiler's own macros say what the flags switch on (ACLE 2.1, RISC-V C API)."""
    cpu = load_cpu(name)
    if cpu.family == "xtensa":
        # No distribution packages their compilers: Espressif's own headers were compared.
        recorded = load_record().cpus[name]
        assert {chain: each.value for chain, each in recorded.items()} == cpu_figures(cpu)
        return
    compiler = require_tool(cpu.cc)
    done = subprocess.run(
        [compiler, *cpu.flags, "-dM", "-E", "-xc", "/dev/null"],
        capture_output=True,
        text=True,
        check=True,
    )
    macros = dict(re.findall(r"^#define (\w+) (\S+)", done.stdout, re.MULTILINE))
    if cpu.family == "cortex-m":
        fpu = int(macros.get("__ARM_FP", "0"), 0)
        mve = int(macros.get("__ARM_FEATURE_MVE", "0"), 0)
        expected = {
            "clz": "__ARM_FEATURE_CLZ" in macros,
            "divide": "__ARM_FEATURE_IDIV" in macros,
            "dsp": "__ARM_FEATURE_DSP" in macros,
            "fpu-half": bool(fpu & 2),
            "fpu-single": bool(fpu & 4),
            "fpu-double": bool(fpu & 8),
            "mla": macros["__ARM_ARCH_ISA_THUMB"] == "2",
            "mul-long": macros["__ARM_ARCH_ISA_THUMB"] == "2",
            "mve": bool(mve & 1),
            "mve-float": bool(mve & 2),
            "saturate": "__ARM_FEATURE_SAT" in macros,
            "thumb1": macros["__ARM_ARCH_ISA_THUMB"] == "1",
            "unaligned": "__ARM_FEATURE_UNALIGNED" in macros,
        }
        if name in ("cortex-m4", "cortex-m7", "cortex-m33"):
            # These FPUs convert half precision but do not compute in it.
            expected["fpu-half"] = False
        assert cpu.features == {feature for feature, on in expected.items() if on}
    elif cpu.family == "riscv":
        assert macros["__riscv_xlen"] == "32"
        assert cpu.has("mul-long") == cpu.has("divide") == ("__riscv_mul" in macros)
        assert cpu.has("riscv-mul") == ("__riscv_mul" in macros and "__riscv_32e" not in macros)
        assert cpu.has("fpu-single") == (macros.get("__riscv_flen") is not None)
    elif name == "generic":
        assert cpu.features == frozenset()
    elif cpu.family == "avr":
        assert {"__AVR_HAVE_LPMX__", "__AVR_HAVE_MUL__"} <= macros.keys()
        assert cpu.has("harvard") == ("__AVR__" in macros)
        assert cpu.has("int16") == (macros["__SIZEOF_INT__"] == "2")
        assert cpu.has("double32") == (macros["__SIZEOF_DOUBLE__"] == "4")
    else:
        assert "unaligned" in cpu.features


def test_features_have_a_meaning() -> None:
    used = set().union(*(load_cpu(name).features for name in list_cpus()))
    assert used == set(FEATURES)


def test_unknown_names_come_with_near_ones() -> None:
    with pytest.raises(BoardError, match="there is no board 'qemu-mps2-an836'") as caught:
        load_board("qemu-mps2-an836")
    assert "qemu-mps2-an386" in caught.value.hint
    with pytest.raises(BoardError, match="there is no CPU 'cortex-m5'") as caught:
        load_cpu("cortex-m5")
    assert "cortex-m55" in caught.value.hint


def test_own_board_inherits_from_ours(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('inherits = ["qemu-mps2-an386"]\ndescription = "mine"\nstack_bytes = 512\n')
    mine, ours = load_board(str(file)), load_board("qemu-mps2-an386")
    assert (mine.name, mine.stack_bytes, mine.cpu) == ("mine", 512, ours.cpu)
    assert mine.origins["stack_bytes"] == file
    assert mine.origins["memory.ssram1.start"] == data_folder("boards") / "soc" / "mps2.toml"


def test_real_board_says_how_to_find_and_flash_it(tmp_path: Path) -> None:
    text = BOARD.replace('[uart]\ndriver = "pl011"\nbase = 0x4000C000\n', REAL)
    board = load_board(str(_own(tmp_path, text)))
    assert board.uart is None
    assert [str(device) for device in board.usb] == ["0483:374b"]
    assert [(tool.name, tool.argv[-1]) for tool in board.flash_tools] == [
        ("west", "{build}"),
        ("pyocd", "{elf}"),
        ("arduino-cli", "a:b:c"),
    ]
    assert board.settings["zephyr"] == {"board": "nucleo_f411re", "serial": 1}
    assert board.settings["arduino"] == {"fqbn": "a:b:c"}
    assert board.names == {"platformio": "nucleo_f411re"}
    assert [memory.wait_states for memory in board.memories] == [3, None]
    assert board.origins["flash.pyocd.argv"] == board.file


REAL = """
[names]
platformio = "nucleo_f411re"
[flash.west]
argv = ["west", "flash", "-d", "{build}"]
[flash.pyocd]
argv = ["pyocd", "flash", "{elf}"]
[platform.zephyr]
board = "nucleo_f411re"
serial = 1
[platform.arduino]
fqbn = "a:b:c"
[flash.arduino-cli]
argv = ["arduino-cli", "upload", "--fqbn", "{arduino.fqbn}"]
"""


def _own(folder: Path, text: str) -> Path:
    text = text.replace("size_bytes = 0x40000\n", "size_bytes = 0x40000\nwait_states = 3\n")
    text = text.replace('cpu = "cortex-m3"', 'cpu = "cortex-m3"\nusb = ["0483:374b"]')
    (folder / "own.toml").write_text(text)
    return folder / "own.toml"


def test_roles_fall_back(tmp_path: Path) -> None:
    board = load_board(str(shutil.copyfile(written(tmp_path), tmp_path / "b.toml")))
    assert board.memory("arena").name == "ram"
    assert board.memory("weights").name == "flash"
    with pytest.raises(BoardError, match="board host has no memory of role 'code'"):
        load_board("host").memory("code")


def written(folder: Path) -> Path:
    (folder / "own.toml").write_text(BOARD)
    return folder / "own.toml"


def test_emulator_fills_in_its_placeholders(tmp_path: Path) -> None:
    emulator = Emulator("qemu", ("q", "-serial", "{serial}", "-device", "x={elf}"), icount=False)
    assert emulator.command(tmp_path, "unix:s") == [
        "q", "-serial", "unix:s", "-device", f"x={tmp_path}",
    ]  # fmt: skip
    assert emulator.command(tmp_path, "{serial}")[2] == "{serial}"


REFUSED = [
    ('cpu = "cortex-m3"', 'cpu = "cortex-m5"', r"own\.toml: cpu is 'cortex-m5', but there is no"),
    ('cpu = "cortex-m3"', "", r"own\.toml: cpu is missing"),
    ('description = "a board"', 'description = ""', "description must be a non-empty string"),
    ("stack_bytes = 4096", "stack_bytes = 1", "stack_bytes must be an integer from 256 to"),
    ("stack_bytes = 4096", "stack_bytes = true", "must be an integer .* found True"),
    ("stack_bytes = 4096", "stack_byte = 4096", r"own\.toml: stack_bytes is missing"),
    ("stack_bytes = 4096", "stack_bytes = 4096\ncolour = 1", "colour is not a key known here"),
    ('platforms = ["baremetal"]', 'platforms = "baremetal"', "platforms must be a list of strings"),
    ('platforms = ["baremetal"]', "platforms = [1]", r"a list of strings, found \[1\]"),
    ("start = 0\n", "start = 0\nspeed = 7\n", r"own\.toml: memory\.flash\.speed is not a key"),
    ("start = 0\n", "start = -1\n", r"memory\.flash\.start must be an integer from 0"),
    ("start = 0x20000000", "start = 0xFFFFFFF0", r"memory\.ram\.size_bytes: .* beyond 32-bit"),
    ("start = 0x20000000", "start = 0x100", "memories flash and ram overlap"),
    ("start = 0\n", 'start = 0\nkind = "fast"\n', r"own\.toml: memory\.flash\.kind is 'fast'"),
    ('["data"]', '["data", "code"]', "memories flash and ram share role 'code'"),
    ('["data"]', '["arena"]', "has no memory of role 'data'"),
    ('["data"]', '["data", "date"]', r"memory\.ram\.roles has 'date'"),
    ('["data"]', '["data", "data"]', r"memory\.ram\.roles has 'data' twice"),
    ("[uart]", "[uart_]", r"own\.toml: uart_ is not a key known here"),
    (
        'cpu = "cortex-m3"',
        'cpu = "cortex-m3"\nusb = ["483:374b"]',
        r"own\.toml: usb has '483:374b'",
    ),
    ('cpu = "cortex-m3"', 'cpu = "cortex-m3"\nhz = -1', r"hz must be an integer from 0"),
    ("start = 0\n", "start = 0\nwait_states = 101\n", r"flash\.wait_states must be an integer"),
    ("[uart]", "[flash.pyocd]\nargv = []\n[uart]", r"flash\.pyocd\.argv is empty"),
    (
        "[uart]",
        '[flash.pyocd]\nargv = ["x", "{elv}"]\n[uart]',
        r"flash\.pyocd\.argv has the placeholder \{elv\}",
    ),
    (
        "[uart]",
        '[flash.pyocd]\nargv = ["x", "{zephyr.board}"]\n[uart]',
        r"flash\.pyocd\.argv has the placeholder \{zephyr\.board\}",
    ),
    ("[uart]", '[names]\nmbed = "x"\n[uart]', r"own\.toml: names\.mbed is not a key known here"),
    ("[uart]", "[flash.pyocd]\nargs = []\n[uart]", r"flash\.pyocd\.argv is missing"),
    ("[uart]", "[platform]\nzephyr = 1\n[uart]", r"platform\.zephyr must be a table, found 1"),
    ("[uart]", "[platform.zephyr]\nx = [1]\n[uart]", r"platform\.zephyr\.x must be a plain value"),
    (
        "[uart]",
        "[uart.extra]\npin = 1.5\n[uart]",
        r"uart\.extra\.pin must be an integer, found 1\.5",
    ),
    ("[uart]", "[uart.extra]\npin = [1]\n[uart]", r"uart\.extra\.pin must be a plain value"),
    ("[uart]", "[uart]\nextra = 1", r"uart\.extra must be a table, found 1"),
    ('driver = "pl011"', "driver.x = 1", r"uart\.driver must be a value, found a table"),
    ("hz = 12000000", "hz = 0", r"counter\.hz must be an integer from 1"),
    ("hz = 12000000", "", r"counter\.hz is missing"),
    ("[uart]", "[watchdog]\nkind = 'w'\nhz = 1\n[uart]", r"watchdog\.base is missing"),
    ("[uart]", "[watchdog]\nbase = 0\nhz = 1\n[uart]", r"watchdog\.kind is missing"),
    ("[uart]", "[watchdog]\nkind = 'w'\nbase = 0\n[uart]", r"watchdog\.hz is missing"),
    (
        "[uart]",
        "[watchdog]\nkind = 'w'\nbase = 0\nhz = 1\nbits = 33\n[uart]",
        r"watchdog\.bits must be an integer from 1 to 32",
    ),
    (
        "[uart]",
        "[watchdog]\nkind = 'w'\nbase = 0\nhz = 1\nirq = 0\n[uart]",
        r"watchdog\.irq is not a key known here",
    ),
    ('kind = "qemu"', 'kind = "quemu"', r"emulator\.kind is 'quemu'"),
    ('kind = "qemu"', 'kind = "qemu"\nicount = 1', r"emulator\.icount must be true or false"),
    ('"{serial}"', '"stdio"', r"emulator\.argv lacks the placeholder \{serial\}"),
    ('"{elf}"', '"a.elf"', r"emulator\.argv lacks the placeholder \{elf\}"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED)
def test_mistake_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in BOARD
    with pytest.raises(BoardError, match=message):
        read(tmp_path, BOARD.replace(old, new, 1))


def test_hints_have_the_nearest_key_and_value(tmp_path: Path) -> None:
    with pytest.raises(BoardError) as caught:
        read(tmp_path, BOARD.replace("roles = [", "rolls = [", 1))
    assert caught.value.hint == "is rolls a misspelling of it?"
    assert caught.value.message.endswith("memory.flash.roles is missing")
    with pytest.raises(BoardError) as caught:
        read(tmp_path, BOARD.replace("[uart]", "[uart]\ndrivers = 1"))
    assert caught.value.hint == "did you mean driver?"
    with pytest.raises(BoardError) as caught:
        read(tmp_path, BOARD.replace('"data"', '"date"'))
    assert caught.value.hint.startswith("did you mean data")


def test_inherited_mistake_names_the_file_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "parent.toml").write_text("[uart]\nbaze = 1\n")
    (tmp_path / "own.toml").write_text('inherits = ["parent"]\n' + BOARD)
    (tmp_path / "cpu" / "cortex-m3.toml").write_text(CPU)
    with pytest.raises(BoardError, match=r"parent\.toml: uart\.baze is not a key known here"):
        read_board(tmp_path, tmp_path / "own.toml")


CPU = """
family = "cortex-m"
description = "a core"
arch = "armv7-m"
compiler = "gcc"
flags = []
features = ["dsp"]
alignment = 4
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("alignment = 4", "alignment = 3", r"cortex-m3\.toml: alignment must be a power of two: 3"),
        ('["dsp"]', '["dps"]', r"cortex-m3\.toml: features has 'dps'"),
        ('"cortex-m"', '"cortex-a"', r"cortex-m3\.toml: family is 'cortex-a'"),
        ("flags = []", "flags = []\nflag = 1", r"cortex-m3\.toml: flag is not a key known here"),
    ],
)
def test_mistake_in_a_cpu_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cortex-m3.toml").write_text(CPU.replace(old, new))
    (tmp_path / "own.toml").write_text(BOARD)
    with pytest.raises(BoardError, match=message):
        read_board(tmp_path, tmp_path / "own.toml")


# ---- links: UART and USB ids ----


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('uart = { tx = "PA2" }', "own.toml: uart has neither a name nor a driver"),
        ('uart = { name = "u", via = "radio" }', "own.toml: uart.via is 'radio'"),
        ('uart = { name = "u", baud = 0 }', "own.toml: uart.baud must be an integer from 1"),
        ('usb = ["0483:374b", "0483:374b"]', "own.toml: usb has '0483:374b' twice"),
        ('boot_usb = ["0483:374B"]', "own.toml: boot_usb has '0483:374B'"),
        ('platform.x.usb = ["1:2"]', "own.toml: platform.x.usb has '1:2'"),
        ('usb = ["0483:374b"]\nplatform.x.usb = ["0483:374b"]', "0483:374b is in two lists"),
        ('usb = ["0483:374b"]\nboot_usb = ["0483:374b"]', "0483:374b is in two lists"),
        ('boot_usb = ["0483:374b"]\nplatform.x.usb = ["0483:374b"]', "is in two lists"),
        ("platform.x.key = [1]", "own.toml: platform.x.key must be a plain value"),
    ],
)
def test_mistakes_in_links(tmp_path: Path, text: str, message: str) -> None:
    before, _, _ = BOARD.partition("[uart]")
    top, memories = before.split("[memory.flash]")
    with pytest.raises(BoardError, match=re.escape(message).replace("own\\.toml", "own.toml")):
        read(tmp_path, f"{top}\n{text}\n[memory.flash]{memories}")


def test_links_by_platform(tmp_path: Path) -> None:
    before, _, _ = BOARD.partition("[uart]")
    top, memories = before.split("[memory.flash]")
    text = (
        'usb = ["0001:0001"]\nboot_usb = ["0001:0002"]\nplatform.x.usb = ["0001:0003"]\n'
        'platform.x.key = 1\nuart = { name = "u", via = "pins" }\n'
    )
    board = read(tmp_path, f"{top}\n{text}\n[memory.flash]{memories}")
    assert isinstance(board, Board)
    assert board.settings == {"x": {"key": 1}}
    assert [str(usb) for usb in board.usb_ids] == ["0001:0001", "0001:0003", "0001:0002"]
    assert [str(usb) for usb in board.link_usb("x")] == ["0001:0003"]
    assert board.link_usb("y") == ()
    assert board.on_pins("y")
    assert not board.on_pins("x")


def test_pools_for_the_arena_are_ordered_by_speed(tmp_path: Path) -> None:
    pools = """
memory.far = { start = 0x80000000, size_bytes = 0x100000, roles = ["arena"], kind = "external" }
memory.small = { start = 0x30000000, size_bytes = 0x100, roles = ["arena"] }
memory.large = { start = 0x30010000, size_bytes = 0x200, roles = ["arena"] }
memory.near = { start = 0x10000000, size_bytes = 0x100, roles = ["arena"], kind = "tcm" }
[memory.flash]"""
    text = BOARD.replace("[memory.flash]", pools).replace('["data"]', '["data", "arena"]')
    board = read(tmp_path, text)
    assert isinstance(board, Board)
    names = [pool.name for pool in board.arena_pools]
    assert names == ["near", "ram", "large", "small", "far"]
    assert board.memory("arena").name == "ram"
    plain = read(tmp_path, BOARD)
    assert isinstance(plain, Board)
    assert [pool.name for pool in plain.arena_pools] == ["ram"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ('["tool", "{elf}}"]', r"own\.toml: flash\.x\.argv has a brace too many in '\{elf\}\}'"),
        ('["tool", "{ elf }"]', "a brace too many"),
        ('["tool", "{elf"]', "a brace too many"),
        ('["tool", "{image}"]', r"flash\.x\.argv has the placeholder \{image\}"),
        ('["tool", ""]', r"own\.toml: flash\.x\.argv has an empty string"),
        ('["tool", "  "]', r"flash\.x\.argv has an empty string"),
        ("[]", r"flash\.x\.argv is empty"),
        ('["tool", "{own.key}"]', r"which is 'a\{elf\}': a setting in a command has no braces"),
    ],
)
def test_mistakes_in_commands(tmp_path: Path, words: str, message: str) -> None:
    text = f"{BOARD}\n[platform.own]\nkey = 'a{{elf}}'\n[flash.x]\nargv = {words}\n"
    with pytest.raises(BoardError, match=message):
        read(tmp_path, text)


def test_emulators_placeholders_are_known(tmp_path: Path) -> None:
    text = BOARD.replace('"-kernel", "{elf}"', '"-kernel", "{elf}", "{port}"')
    with pytest.raises(BoardError, match=r"emulator\.argv has the placeholder \{port\}"):
        read(tmp_path, text)
    with pytest.raises(BoardError, match=r"emulator\.argv has a brace too many"):
        read(tmp_path, BOARD.replace("{elf}", "{elf}}"))


def test_values_are_put_in_once() -> None:
    """A folder may be called like a placeholder."""
    emulator = Emulator("qemu", ("qemu", "{serial}", "-kernel", "{elf}"), False)
    command = emulator.command(Path("/a/{serial}/m.elf"), "unix:{elf}")
    assert command == ["qemu", "unix:{elf}", "-kernel", "/a/{serial}/m.elf"]
