"""What is known of a CPU and of a board: plain data, read from `boards/` by `loader.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from microtvm.errors import BoardError
from microtvm.target.data import data_folder
from microtvm.target.timing import Timing

_PLACEHOLDER = re.compile(r"\{[\w.-]*\}")

FEATURES: Mapping[str, str] = {
    "clz": "counts leading zeros in one instruction",
    "divide": "divides 32-bit integers in hardware",
    "dsp": "the DSP extension of Armv7E-M and Armv8-M: SMLAD, SXTB16, SMMULR, saturating adds",
    "double32": "C's double is single precision",
    "fpu-double": "double precision arithmetic in hardware",
    "fpu-half": "half precision arithmetic in hardware",
    "fpu-single": "single precision arithmetic in hardware",
    "harvard": "loads do not reach flash: what is constant there is read by other instructions",
    "int16": "C's int and addresses have 16 bits",
    "mla": "multiply and accumulate, and all registers at hand: the Thumb-2 base set",
    "mul-long": "the upper half of a 32 x 32 bit product in one or two instructions",
    "mve": "Helium, the M-profile vector extension, integers",
    "mve-float": "Helium, single and half precision",
    "riscv-mul": "RISC-V's M extension over all 31 registers",
    "saturate": "saturates to any width in one instruction: SSAT, USAT",
    "thumb1": "the Thumb-1 base set alone: eight registers at hand, all instructions set flags",
    "unaligned": "loads and stores words at any address",
}
"""Every feature that a CPU may claim, and what it promises to who selects instructions by it."""

FAMILIES = ("avr", "cortex-m", "native", "riscv", "xtensa")
"""What start-up code and toolchain depend on; `native` is the machine that microtvm runs on."""

ROLES = ("code", "data", "arena", "weights")
"""What a memory is used for. Each role has at most one memory, but for `arena`, which a platform
that can place it chooses a pool for. `arena` falls back on the memory of `data`, `weights` on that
of `code`."""

KINDS: Mapping[str, str] = {
    "tcm": "tightly coupled: the core reads and writes it in one cycle, past all caches and buses",
    "external": "a chip of its own behind a controller, many cycles away",
}
"""How far a memory is from the core, where it is not the chip's common RAM or flash."""

EMULATORS = ("process", "qemu", "simavr")
"""`process`: the image runs on the host itself, the link is its standard input and output.
`qemu`: the link is the chardev that replaces `{serial}`, say `unix:/tmp/x`; QEMU's options may be
added. `simavr`: the link is standard input and output of what stands for the program, which counts
cycles."""


@dataclass(frozen=True)
class Cpu:
    """A processor core and how to compile for it."""

    name: str
    description: str
    family: str
    """One of FAMILIES."""
    arch: str
    """The instruction set's name, e.g. `armv7e-m`."""
    features: frozenset[str]
    """Out of FEATURES."""
    prefix: str
    """What the toolchain's programs begin with, e.g. `arm-none-eabi-`; empty on the host."""
    compiler: str
    """The C compiler's name behind the prefix."""
    flags: tuple[str, ...]
    """The compiler's options that choose core, ABI and C library, for compiling and for linking."""
    alignment: int
    """The widest alignment in bytes that any load or store of the core asks for or gains from."""
    timing: Timing | None = None
    """How many cycles instructions take, for estimates."""
    no_timing: str = ""
    """Why there is no `timing`; empty if there is."""

    @property
    def cc(self) -> str:
        """The C compiler's program name, e.g. `arm-none-eabi-gcc`."""
        return self.prefix + self.compiler

    def tool(self, name: str) -> str:
        """A binutils program's name: `size` gives `arm-none-eabi-size`."""
        return self.prefix + name

    def has(self, *features: str) -> bool:
        """Whether the core has all of these features."""
        return self.features.issuperset(features)


@dataclass(frozen=True)
class Memory:
    """A range of addresses that the linker may fill."""

    name: str
    start: int
    size_bytes: int
    roles: tuple[str, ...]
    """Out of ROLES; empty for a memory that a user may place things in."""
    wait_states: int | None = None
    """Cycles of the core that a read takes beyond the first, at the board's `hz`; None where no
    source says."""
    kind: str = ""
    """One of KINDS; empty for the chip's common memories."""
    label: str = ""
    """The devicetree's label of the region, where a linker can be told to place things there by
    it."""


WAYS: Mapping[str, str] = {
    "pins": "over pins alone: a serial adapter has to be connected to them",
    "usb": "over the chip's own USB",
}
"""Where the bytes of a link's UART leave the board, if not by the probe or bridge of `usb`."""


@dataclass(frozen=True)
class Uart:
    """The serial port that carries the link."""

    driver: str = ""
    """Names the driver's source in a project template, e.g. `cmsdk`; empty where the platform's own
    drivers carry the link."""
    base: int = 0
    """Address of its registers; 0 on the host, and where the driver needs none."""
    extra: tuple[tuple[str, int], ...] = ()
    """What else the driver needs: clock, pins, divisor."""
    name: str = ""
    """What Zephyr's devicetree calls it, e.g. `usart2`."""
    tx: str = ""
    """The pin that the board sends on, in the spelling of the chip's maker."""
    rx: str = ""
    """The pin that the board receives on."""
    baud: int = 0
    """Its speed as the board's platforms set it; 0 where unknown."""
    via: str = ""
    """One of WAYS; empty for the debug probe or USB bridge, as far as there is one."""

    @property
    def pins(self) -> str:
        """As `TX PA2, RX PA3`; empty if they are unknown."""
        return f"TX {self.tx}, RX {self.rx}" if self.tx and self.rx else ""

    def __str__(self) -> str:
        return self.name + (f" ({self.pins})" if self.pins else "")


@dataclass(frozen=True)
class Counter:
    """What the board measures time with."""

    kind: str
    """Names the driver's source in a project template, e.g. `systick`."""
    hz: int
    """How often it counts in a second."""
    base: int = 0
    """Address of its registers; 0 where the core has it built in."""


@dataclass(frozen=True)
class Watchdog:
    """What resets the board when its program is stuck."""

    kind: str
    """Names the driver's source in a project template, e.g. `cmsdk_watchdog`."""
    base: int
    """Address of its registers."""
    hz: int
    """How often it counts in a second."""
    bits: int
    """The width of its count."""

    @property
    def longest_s(self) -> int:
        """The longest time in whole seconds that it can be set to."""
        return ((1 << self.bits) - 1) // self.hz


@dataclass(frozen=True)
class Emulator:
    """How to run an image without the board."""

    kind: str
    """One of EMULATORS."""
    argv: tuple[str, ...]
    """With the placeholders {elf} and, for QEMU, {serial}."""
    icount: bool
    """Whether the emulator's time is its count of instructions: what counters say is then exact."""

    def command(self, elf: Path, serial: str = "") -> list[str]:
        """The argument list that runs `elf` with its UART on QEMU's character device `serial`."""
        values = {"{elf}": str(elf), "{serial}": serial}
        return [replaced(word, values) for word in self.argv]


def replaced(word: str, values: Mapping[str, str]) -> str:
    """The word with values in place of placeholders, in one pass: what looks like a placeholder in
    a value, such as a folder's name, stays."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), word)


@dataclass(frozen=True)
class FlashTool:
    """A program that puts an image into the board."""

    name: str
    """The key of its table, e.g. `pyocd`."""
    argv: tuple[str, ...]
    """With placeholders out of FLASH_PLACEHOLDERS."""


FLASH_PLACEHOLDERS: Mapping[str, str] = {
    "{elf}": "the image as the linker wrote it",
    "{hex}": "the image as Intel HEX",
    "{bin}": "the image as bytes, from the lowest address that is stored",
    "{uf2}": "the image in Microsoft's UF2 form",
    "{folder}": "the project's folder",
    "{build}": "the folder that the build wrote to",
    "{port}": "the board's serial port, found by its USB ids",
    "{serial_number}": "the USB serial number of that port, to tell boards apart",
}
"""What a flash tool's arguments may refer to. An argument whose `{serial_number}` is unknown is
left out, with the word before it if that begins with a dash and the argument itself doesn't.
`{PLATFORM.KEY}` is a setting of the board's `[platform.PLATFORM]`, put in as the board is read."""


NAMERS: Mapping[str, str] = {
    "platformio": "PlatformIO: `board` in platformio.ini",
    "probe-rs": "probe-rs: `--chip`; a chip, not a board",
    "tvm": "TVM v0.18's microTVM: `--project-option board=`",
    "zephyr-chip": "a board of Zephyr's with the same chip, where Zephyr lacks this one",
}
"""Who else has a description of the board, under which its facts can be looked up."""


@dataclass(frozen=True)
class UsbId:
    """How a USB device says what it is."""

    vendor: int
    product: int

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"


Setting = str | int | bool | float


@dataclass(frozen=True)
class Board:
    """A board is data: the same code serves all of them."""

    name: str
    description: str
    cpu: Cpu
    memories: tuple[Memory, ...]
    """Empty on the host, whose memory is not ours to place things in."""
    uart: Uart | None
    """None where the platform's own drivers carry the link."""
    counter: Counter | None
    emulator: Emulator | None
    platforms: tuple[str, ...]
    """The project templates that support it."""
    stack_bytes: int
    """What the linker reserves for the stack."""
    file: Path
    hz: int = 0
    """Cycles of the core in a second, as its platforms set the clock; 0 where unknown."""
    url: str = ""
    """The page of the manual that the facts come from; empty for emulated machines."""
    usb: tuple[UsbId, ...] = ()
    """The debug probes or USB bridges whose serial port is the link, whatever the chip runs."""
    platform_usb: Mapping[str, tuple[UsbId, ...]] = field(default_factory=dict)
    """The chip's own USB as a platform programs it: devices whose serial port is its link."""
    boot_usb: tuple[UsbId, ...] = ()
    """Devices whose serial port takes images, and is no link."""
    flash_tools: tuple[FlashTool, ...] = ()
    """What can put an image into it, the first choice first."""
    settings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)
    """By platform, what it has to know of the board: the platform checks the keys."""
    watchdog: Watchdog | None = None
    """None where the board has none, or the platform's own driver is the only way to it."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What others call it, by NAMERS."""
    origins: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)
    """For every key chain, such as `memory.flash.start`, the file that its value came from."""

    @property
    def usb_ids(self) -> tuple[UsbId, ...]:
        """All devices that the board may be on USB, its boot loader too."""
        own = (usb for ids in self.platform_usb.values() for usb in ids)
        return tuple(dict.fromkeys((*self.usb, *own, *self.boot_usb)))

    def link_usb(self, platform: str) -> tuple[UsbId, ...]:
        """The devices whose serial port is the link of a platform's projects; () where the link is
        on pins, or its port is unknown."""
        wired = self.uart is None or self.uart.via != "pins"
        return (*(self.usb if wired else ()), *self.platform_usb.get(platform, ()))

    def on_pins(self, platform: str) -> bool:
        """Whether the link of a platform's projects is on pins that no USB socket leads to: as the
        board's data says, or because its socket is the chip's own, and the platform takes a
        UART."""
        if self.link_usb(platform) or self.uart is None:
            return False
        return self.uart.via == "pins" or bool(self.platform_usb)

    @property
    def arena_pools(self) -> tuple[Memory, ...]:
        """The memories that an arena can live in, the fastest first; of those as fast, that of the
        variables, then the larger."""
        pools = [memory for memory in self.memories if "arena" in memory.roles]
        if not pools and self.memories:
            pools = [self.memory("arena")]
        rank = {"tcm": 0, "": 1, "external": 2}
        return tuple(
            sorted(pools, key=lambda m: (rank[m.kind], "data" not in m.roles, -m.size_bytes))
        )

    @property
    def own_file(self) -> str:
        """Where its user changes what is known of the board: not in what came with microtvm."""
        if self.file.parent == data_folder("boards"):
            return f'a board file of your own that has inherits = ["{self.name}"]'
        return str(self.file)

    def memory(self, role: str) -> Memory:
        """The memory of a role of ROLES, after the fall-backs; BoardError if the board has none."""
        wanted = [role]
        if role == "arena":
            wanted.append("data")
        if role == "weights":
            wanted.append("code")
        for name in wanted:
            found = [memory for memory in self.memories if name in memory.roles]
            if found:
                # Of several pools for the arena that of the variables: it needs no placing.
                return next((memory for memory in found if "data" in memory.roles), found[0])
        raise BoardError(
            f"board {self.name} has no memory of role {role!r}",
            hint=f"add the role to a [memory.<name>] table of {self.own_file}",
        )
