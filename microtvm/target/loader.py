"""From the files of `boards/` to `Cpu` and `Board`: every key checked, unknown ones refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from microtvm.errors import BoardError
from microtvm.target.board import (
    EMULATORS,
    FAMILIES,
    FEATURES,
    FLASH_PLACEHOLDERS,
    KINDS,
    NAMERS,
    ROLES,
    WAYS,
    Board,
    Counter,
    Cpu,
    Emulator,
    FlashTool,
    Memory,
    Setting,
    Uart,
    UsbId,
    Watchdog,
)
from microtvm.target.data import data_folder
from microtvm.target.document import leaves, load_table, near
from microtvm.target.reader import Reader
from microtvm.target.timing import read_timing

_ADDRESS_LIMIT = 2**32
_HZ_LIMIT = 10**10
_BAUD_LIMIT = 10**8
_USB_ID = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})")
_BRACE = re.compile(r"[{}]")
_WORD_IN_BRACES = re.compile(r"\{[\w.-]*\}")
_PLACEHOLDERS = {"process": ("{elf}",), "qemu": ("{elf}", "{serial}"), "simavr": ("{elf}",)}


def list_boards() -> list[str]:
    """The names of all boards that come with microtvm, sorted."""
    return sorted(file.stem for file in data_folder("boards").glob("*.toml"))


def list_cpus() -> list[str]:
    """The names of all CPUs that come with microtvm, sorted."""
    return sorted(file.stem for file in (data_folder("boards") / "cpu").glob("*.toml"))


def load_cpu(name: str) -> Cpu:
    """The CPU of that name; BoardError for an unknown name or wrong data."""
    root = data_folder("boards")
    if name not in list_cpus():
        raise BoardError(f"there is no CPU {name!r}", hint=near(name, list_cpus()))
    return read_cpu(root, root / "cpu" / f"{name}.toml")


def load_board(name: str) -> Board:
    """The board of that name, or of the file if the name ends in `.toml`.

    A board's own file may inherit from, and name CPUs of, what comes with microtvm. BoardError for
    an unknown name (the hint has near ones) or wrong data (the message has file and key chain).
    """
    root = data_folder("boards")
    if name.endswith(".toml"):
        return read_board(root, Path(name))
    file = root / f"{name}.toml"
    if file.parent != root or not file.is_file():
        hint = near(name, list_boards(), otherwise="`microtvm boards` lists them")
        raise BoardError(f"there is no board {name!r}", hint=hint)
    return read_board(root, file)


def read_board(root: Path, file: Path) -> Board:
    """The board described by `file`, with parents and CPUs looked up below `root`."""
    table = load_table(root, file)
    reader = Reader(table, file)
    cpu = _cpu_of(root, reader)
    memories = tuple(_memory(name, inner) for name, inner in reader.tables("memory"))
    settings = _settings(reader)
    board = Board(
        name=file.stem,
        description=reader.text("description"),
        cpu=cpu,
        memories=memories,
        uart=_uart(reader, file),
        counter=_counter(reader),
        emulator=_emulator(reader),
        platforms=reader.texts("platforms"),
        stack_bytes=reader.whole("stack_bytes", 256, 2**24),
        file=file,
        hz=reader.whole("hz", 0, _HZ_LIMIT, default=0),
        url=reader.text("url", ""),
        usb=_usb(reader, "usb"),
        platform_usb=_platform_usb(reader),
        boot_usb=_usb(reader, "boot_usb"),
        flash_tools=tuple(
            _flash_tool(name, inner, settings) for name, inner in reader.tables("flash")
        ),
        settings=settings,
        watchdog=_watchdog(reader),
        names=_names(reader),
        origins={chain: leaf.origin for chain, leaf in leaves(table)},
    )
    reader.finish()
    _check_usb(board)
    _check_memories(board)
    return board


def _cpu_of(root: Path, reader: Reader) -> Cpu:
    name = reader.text("cpu")
    file = root / "cpu" / f"{name}.toml"
    if not file.is_file():
        known = sorted(each.stem for each in file.parent.glob("*.toml"))
        raise BoardError(
            f"{reader.where('cpu')} is {name!r}, but there is no {file}", hint=near(name, known)
        )
    return read_cpu(root, file)


def read_cpu(root: Path, file: Path) -> Cpu:
    """The CPU described by `file`, with parents looked up below `root`."""
    reader = Reader(load_table(root, file), file)
    family = reader.one_of("family", FAMILIES)
    features = frozenset(reader.some_of("features", FEATURES))
    timing, no_timing = read_timing(reader.table("timing"), family, features)
    cpu = Cpu(
        name=file.stem,
        description=reader.text("description"),
        family=family,
        arch=reader.text("arch"),
        features=features,
        prefix=reader.text("prefix", ""),
        compiler=reader.text("compiler"),
        flags=reader.texts("flags"),
        alignment=reader.whole("alignment", 1, 128),
        timing=timing,
        no_timing=no_timing,
    )
    if cpu.alignment & (cpu.alignment - 1):
        raise BoardError(f"{reader.where('alignment')} must be a power of two: {cpu.alignment}")
    reader.finish()
    return cpu


def _memory(name: str, reader: Reader) -> Memory:
    memory = Memory(
        name=name,
        start=reader.whole("start", 0, _ADDRESS_LIMIT - 1),
        size_bytes=reader.whole("size_bytes", 1, _ADDRESS_LIMIT),
        roles=reader.some_of("roles", ROLES),
        wait_states=reader.whole("wait_states", 0, 100) if reader.has("wait_states") else None,
        kind=reader.one_of("kind", KINDS) if reader.has("kind") else "",
        label=reader.text("label", ""),
    )
    if memory.start + memory.size_bytes > _ADDRESS_LIMIT:
        raise BoardError(f"{reader.where('size_bytes')}: the memory ends beyond 32-bit addresses")
    reader.finish()
    return memory


def _uart(reader: Reader, file: Path) -> Uart | None:
    inner = reader.table("uart")
    if inner is None:
        return None
    extra = []
    for key, value in inner.scalars("extra"):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BoardError(f"{inner.where('extra')}.{key} must be an integer, found {value!r}")
        extra.append((key, value))
    uart = Uart(
        driver=inner.text("driver", ""),
        base=inner.whole("base", 0, _ADDRESS_LIMIT - 1, default=0),
        extra=tuple(extra),
        name=inner.text("name", ""),
        tx=inner.text("tx", ""),
        rx=inner.text("rx", ""),
        baud=inner.whole("baud", 1, _BAUD_LIMIT, default=0),
        via=inner.one_of("via", WAYS) if inner.has("via") else "",
    )
    if not uart.driver and not uart.name:
        raise BoardError(
            f"{file}: uart has neither a name nor a driver",
            hint="name: what its devicetree calls it; driver: the source that drives it",
        )
    inner.finish()
    return uart


def _counter(reader: Reader) -> Counter | None:
    inner = reader.table("counter")
    if inner is None:
        return None
    counter = Counter(
        kind=inner.text("kind"),
        hz=inner.whole("hz", 1, _ADDRESS_LIMIT - 1),
        base=inner.whole("base", 0, _ADDRESS_LIMIT - 1, default=0),
    )
    inner.finish()
    return counter


def _watchdog(reader: Reader) -> Watchdog | None:
    inner = reader.table("watchdog")
    if inner is None:
        return None
    watchdog = Watchdog(
        kind=inner.text("kind"),
        base=inner.whole("base", 0, _ADDRESS_LIMIT - 1),
        hz=inner.whole("hz", 1, _ADDRESS_LIMIT - 1),
        bits=inner.whole("bits", 1, 32, default=32),
    )
    inner.finish()
    return watchdog


def _emulator(reader: Reader) -> Emulator | None:
    inner = reader.table("emulator")
    if inner is None:
        return None
    kind = inner.one_of("kind", EMULATORS)
    argv = _argv(inner)
    for placeholder in _PLACEHOLDERS[kind]:
        if not any(placeholder in word for word in argv):
            raise BoardError(f"{inner.where('argv')} lacks the placeholder {placeholder}")
    for placeholder in (found for word in argv for found in _WORD_IN_BRACES.findall(word)):
        if placeholder not in _PLACEHOLDERS[kind]:
            raise BoardError(
                f"{inner.where('argv')} has the placeholder {placeholder}",
                hint=near(placeholder, list(_PLACEHOLDERS[kind])),
            )
    emulator = Emulator(kind=kind, argv=argv, icount=inner.flag("icount", False))
    inner.finish()
    return emulator


def _usb(reader: Reader, key: str) -> tuple[UsbId, ...]:
    ids: list[UsbId] = []
    for text in reader.texts(key, ()):
        found = _USB_ID.fullmatch(text)
        if found is None:
            raise BoardError(
                f"{reader.where(key)} has {text!r}",
                hint="a USB id is vendor:product in lower-case hex digits, such as 0483:374b",
            )
        usb = UsbId(int(found[1], 16), int(found[2], 16))
        if usb in ids:
            raise BoardError(f"{reader.where(key)} has {text!r} twice")
        ids.append(usb)
    return tuple(ids)


def _platform_usb(reader: Reader) -> dict[str, tuple[UsbId, ...]]:
    return {
        name: _usb(inner, "usb") for name, inner in reader.tables("platform") if inner.has("usb")
    }


def _flash_tool(
    name: str, reader: Reader, settings: Mapping[str, Mapping[str, Setting]]
) -> FlashTool:
    argv = _argv(reader)
    known = {
        f"{{{platform}.{key}}}": str(value)
        for platform, table in settings.items()
        for key, value in table.items()
    }

    def filled(match: re.Match[str]) -> str:
        placeholder = match[0]
        if placeholder in FLASH_PLACEHOLDERS:
            return placeholder
        if placeholder not in known:
            raise BoardError(
                f"{reader.where('argv')} has the placeholder {placeholder}",
                hint=near(placeholder, sorted((*FLASH_PLACEHOLDERS, *known))),
            )
        if _BRACE.search(known[placeholder]):
            raise BoardError(
                f"{reader.where('argv')} has the placeholder {placeholder}, which is "
                f"{known[placeholder]!r}: a setting in a command has no braces"
            )
        return known[placeholder]

    words = tuple(_WORD_IN_BRACES.sub(filled, word) for word in argv)
    reader.finish()
    return FlashTool(name, words)


def _argv(reader: Reader) -> tuple[str, ...]:
    """A command: at least a program, no word that a brace is left over in."""
    argv = reader.texts("argv")
    if not argv:
        raise BoardError(f"{reader.where('argv')} is empty")
    for word in argv:
        if _BRACE.search(_WORD_IN_BRACES.sub("", word)):
            raise BoardError(
                f"{reader.where('argv')} has a brace too many in {word!r}",
                hint="a placeholder is a name in braces, such as {elf}",
            )
    return argv


def _names(reader: Reader) -> dict[str, str]:
    inner = reader.table("names")
    if inner is None:
        return {}
    names = {namer: inner.text(namer) for namer in NAMERS if inner.has(namer)}
    inner.finish()
    return names


def _settings(reader: Reader) -> dict[str, dict[str, Setting]]:
    outer = reader.table("platform")
    if outer is None:
        return {}
    return {
        name: {key: inner.scalar(key) for key in inner.names() if key != "usb"}
        for name, inner in reader.tables("platform")
    }


def _check_usb(board: Board) -> None:
    """No id is the board's always and a platform's or the boot loader's: which would it be?"""
    for name, ids in {**board.platform_usb, "boot_usb": board.boot_usb}.items():
        for usb in ids:
            if usb in board.usb or (name != "boot_usb" and usb in board.boot_usb):
                raise BoardError(
                    f"{board.file}: the USB id {usb} is in two lists, one of them "
                    + (name if name == "boot_usb" else f"platform.{name}.usb"),
                    hint="usb is for what is there always, whatever the chip runs",
                )


def _check_memories(board: Board) -> None:
    if board.cpu.family == "native":
        return
    for role in ROLES:
        owners = [memory.name for memory in board.memories if role in memory.roles]
        if len(owners) > 1 and role != "arena":
            raise BoardError(f"{board.file}: memories {' and '.join(owners)} share role {role!r}")
        board.memory(role)
    ordered = sorted(board.memories, key=lambda memory: memory.start)
    for low, high in pairwise(ordered):
        if low.start + low.size_bytes > high.start:
            raise BoardError(f"{board.file}: memories {low.name} and {high.name} overlap")
