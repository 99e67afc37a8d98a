"""Boards as PlatformIO, Arduino's cores, probe-rs, TVM and programmers describe them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.source import Fact, Source
from benchmarks.source_zephyr import Zephyr
from microtvm.target import Board

_SECTION = re.compile(r"^  - !(\w+)\n((?:    .*\n)*)", re.MULTILINE)
_ORIGIN = re.compile(r"ORIGIN *= *(\w+) *, *LENGTH *= *(\w+)")
_LATENCY = re.compile(r"HAL_RCC_ClockConfig\(&\w+, FLASH_LATENCY_(\d+)\)")
_PROBES = {
    "ST-LINK/V2.1": r"ST-?LINK[/ -]?V2-1",
    "STLINK-V3": r"ST-?LINK[/ -]?V3",
    "J-Link": r"J-?Link",
    "ARM mbed": r"DAPLink|OpenSDA|CMSIS.DAP|mbed",
    "CP210x UART Bridge": r"CP210\d|USB-to-UART|USB-UART",
    "FT2232C/D/H Dual UART/FIFO IC": r"FT2232|FTDI",
}
"""What a page says of a board whose interface chip calls itself so on USB."""


class PlatformIO(Source):
    """A development platform: `boards/*.json`."""

    def __init__(self, root: Path) -> None:
        platform = json.loads((root / "platform.json").read_text(encoding="utf-8"))
        name = str(platform["name"])
        super().__init__(root, f"platformio-{name}", f"PlatformIO {name} {platform['version']}")

    def facts(self, board: Board) -> Iterator[Fact]:
        file = self.root / "boards" / f"{board.names.get('platformio', '')}.json"
        if not file.is_file():
            return
        where = self.shown(file)
        raw: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        build, upload = raw["build"], raw["upload"]
        yield Fact("names.platformio", file.stem, where)
        # A chip's name is a core's where the core has no name of its own.
        cores = [build["cpu"]] if "cpu" in build else []
        for core in cores or [build["mcu"]]:
            yield Fact("cpu", core, where, f"{'cpu' if cores else 'mcu'} {core}")
        yield Fact("mcu", build["mcu"], where, f"mcu {build['mcu']}")
        yield Fact("hz", int(str(build["f_cpu"]).rstrip("L")), where, "f_cpu")
        yield Fact("code_bytes", upload["maximum_size"], where, "maximum_size")
        yield Fact("data_bytes", upload["maximum_ram_size"], where, "maximum_ram_size")
        for vendor, product in build.get("hwids", []):
            yield Fact("usb", f"{vendor}:{product}".lower().replace("0x", ""), where, "hwids")
        if "offset_address" in upload:
            offset = int(upload["offset_address"], 0)
            yield Fact("offset", offset, where, "offset_address")
            yield Fact("region", (offset, upload["maximum_size"]), where, "offset_address")
        script = str(raw.get("debug", {}).get("openocd_target", ""))
        if script:
            yield Fact("openocd", script.removesuffix(".cfg"), where, f"openocd_target {script}")
        if "variant" in build:
            yield Fact("variant", build["variant"], where, f"variant {build['variant']}")


class ArduinoCore(Source):
    """A core: `boards.txt`, and its variants if they are there. `prefix` is packager:architecture.

    A prefix stands for all that begin with it: cores of one repository have one `boards.txt`.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        file = root / "platform.txt"
        found = re.search(r"^version=(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        super().__init__(
            root,
            f"arduino-{prefix.rstrip(':').replace(':', '-')}",
            f"Arduino core {prefix.rstrip(':')}",
        )
        if found is not None:
            self.title += f" {found[1]}"
        self._prefix = prefix
        self._cores = re.findall(r"-mcpu=([\w-]+)", file.read_text(encoding="utf-8"))
        text = (root / "boards.txt").read_text(encoding="utf-8", errors="replace")
        self._keys = dict(re.findall(r"^([\w.-]+)=(.*?)\s*$", text, re.MULTILINE))

    def facts(self, board: Board) -> Iterator[Fact]:
        fqbn = str(board.settings.get("arduino", {}).get("fqbn", ""))
        if not fqbn.startswith(self._prefix):
            return
        keys = self._of(fqbn.split(":")[2:])
        if keys is None:
            return
        yield Fact("platform.arduino.fqbn", fqbn, "boards.txt", keys["name"])
        if "build.mcu" in keys:
            yield Fact("cpu", keys["build.mcu"], "boards.txt", f"build.mcu={keys['build.mcu']}")
        for core in self._cores:
            yield Fact("cpu", core, "platform.txt", f"-mcpu={core}")
        if keys.get("build.f_cpu", "").rstrip("L").isdigit():
            hz = int(keys["build.f_cpu"].rstrip("L"))
            yield Fact("hz", hz, "boards.txt", "build.f_cpu")
        for key, kind in (("size", "code_bytes"), ("data_size", "data_bytes")):
            if f"upload.maximum_{key}" in keys:
                size = int(keys[f"upload.maximum_{key}"])
                yield Fact(kind, size, "boards.txt", f"upload.maximum_{key}")
        for index in range(8):
            if f"vid.{index}" in keys:
                usb = f"{keys[f'vid.{index}']}:{keys[f'pid.{index}']}".lower().replace("0x", "")
                yield Fact("usb", usb, "boards.txt", f"vid.{index}, pid.{index}")
        if "openocd.target" in keys:
            yield Fact("openocd", keys["openocd.target"], "boards.txt", "openocd.target")
        yield from self._variant(keys)

    def _of(self, words: list[str]) -> dict[str, str] | None:
        """The keys of a board, with those of the menu's choices over them; None if unknown."""
        name, options = words[0], words[1:]
        if f"{name}.name" not in self._keys:
            return None
        prefixes = [f"{name}."]
        for option in (part for each in options for part in each.split(",")):
            key, _, value = option.partition("=")
            if f"{name}.menu.{key}.{value}" not in self._keys:
                return None
            prefixes.append(f"{name}.menu.{key}.{value}.")
        return {
            key.removeprefix(prefix): value
            for prefix in prefixes
            for key, value in self._keys.items()
            if key.startswith(prefix)
        }

    def _variant(self, keys: Mapping[str, str]) -> Iterator[Fact]:
        variant = keys.get("build.variant") or keys.get("menu.Core.Main.build.variant", "")
        folder = self.root / "variants" / variant
        if not variant or not folder.is_dir():
            return
        for file in sorted(folder.glob("**/*.ld")):
            for start, length in _ORIGIN.findall(file.read_text(encoding="utf-8")):
                if length.rstrip("KM").isdigit() and start.startswith("0x"):
                    scale = {"K": 1024, "M": 1024**2}.get(length[-1], 1)
                    size = int(length.rstrip("KM")) * scale
                    yield Fact("region", (int(start, 0), size), self.shown(file), "MEMORY")
        name = keys.get("build.board", "")
        own = sorted(folder.glob(f"variant_{name}.c*"))
        for file in own or sorted(folder.glob("generic_clock.c")):
            for latency in _LATENCY.findall(file.read_text(encoding="utf-8")):
                yield Fact(
                    "wait_states", int(latency), self.shown(file), f"FLASH_LATENCY_{latency}"
                )


class ProbeRs(Source):
    """probe-rs's targets, most of them made from CMSIS packs."""

    def __init__(self, root: Path) -> None:
        found = re.search(r"^## \[(\S+)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
        super().__init__(root, "probe-rs", f"probe-rs {found[1] if found else ''}".strip())
        self._texts = {
            file: file.read_text(encoding="utf-8")
            for file in sorted(root.glob("probe-rs/targets/*.yaml"))
        }

    def facts(self, board: Board) -> Iterator[Fact]:
        name = board.names.get("probe-rs", "")
        if not name:
            return
        for file, text in self._texts.items():
            match = re.search(
                rf"^- name: {re.escape(name)}\n(?:  .*\n)*?  memory_map:\n((?:  .*\n)*)",
                text,
                re.MULTILINE,
            )
            if match is None:
                continue
            where = self.shown(file)
            yield Fact("names.probe-rs", name, where)
            regions: dict[str, list[tuple[int, int]]] = {}
            for kind, body in _SECTION.findall(re.split(r"\n  \w+:", match[1])[0] + "\n"):
                found = re.search(r"start: (\w+)\n\s+end: (\w+)", body)
                if found is not None:
                    start, end = int(found[1], 0), int(found[2], 0)
                    regions.setdefault(kind, []).append((start, end - start))
            for kind, parts in regions.items():
                for start, size in _with_sums(sorted(parts)):
                    yield Fact("region", (start, size), where, kind)


def _with_sums(parts: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every region, and every run of regions that follow each other without a gap."""
    yield from parts
    start, total = parts[0]
    for (low, size), (high, more) in pairwise(parts):
        start, total = (start, total + more) if low + size == high else (high, more)
        if start != high:
            yield start, total


class Tvm(Source):
    """The two `boards.json` of TVM v0.18's microTVM, as `zephyr/` and `arduino/`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "tvm", "TVM 0.18 microTVM")

    def facts(self, board: Board) -> Iterator[Fact]:
        name = board.names.get("tvm", "")
        for file in sorted(self.root.glob("*/boards.json")):
            entry = json.loads(file.read_text(encoding="utf-8")).get(name)
            if entry is None:
                continue
            where = self.shown(file)
            yield Fact("names.tvm", name, where)
            if entry["vid_hex"]:
                yield Fact(
                    "usb", f"{entry['vid_hex']}:{entry['pid_hex']}", where, "vid_hex, pid_hex"
                )
            if "package" in entry:
                fqbn = ":".join(entry[key] for key in ("package", "architecture", "board"))
                yield Fact("platform.arduino.fqbn", fqbn, where)


class PyOcd(Source):
    """pyOCD's own targets."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__(root, "pyocd", f"pyOCD {version}")
        self._file = root / "pyocd" / "target" / "builtin" / "__init__.py"
        self._targets = re.findall(r"'(\w+)'\s*:", self._file.read_text(encoding="utf-8"))

    def facts(self, board: Board) -> Iterator[Fact]:
        for target in self._targets:
            yield Fact("pyocd", target, self.shown(self._file), f"target {target}")


class OpenOcd(Source):
    """OpenOCD's scripts: `scripts/` of an installation."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__(root, "openocd", f"OpenOCD {version}")

    def facts(self, board: Board) -> Iterator[Fact]:
        for file in sorted(self.root.glob("*/*.cfg")):
            yield Fact("script", self.shown(file), self.shown(file))


class Uf2Families(Source):
    """Microsoft's list of UF2 families: the chips that the board's description begins with."""

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent, "uf2", "UF2 families")
        self._file = file
        self._families = json.loads(file.read_text(encoding="utf-8"))

    def facts(self, board: Board) -> Iterator[Fact]:
        for family in self._families:
            name = str(family["short_name"])
            chip, _, core = name.lower().partition("_")
            other = (core == "riscv") != (board.cpu.family == "riscv") and bool(core)
            if chip in board.description.lower() and not other:
                yield Fact("uf2", str(family["id"]), self._file.name, name)


class UsbIds(Source):
    """The list of USB ids, with the page of Zephyr's documentation that names the board's probe."""

    def __init__(self, file: Path, trees: list[Zephyr]) -> None:
        text = file.read_text(encoding="utf-8", errors="replace")
        found = re.search(r"^# Version: (\S+)", text, re.MULTILINE)
        super().__init__(file.parent, "usb.ids", f"usb.ids {found[1] if found else ''}".strip())
        self._trees = trees
        self._names: dict[str, str] = {}
        vendor = ""
        for line in text.splitlines():
            if re.match(r"[0-9a-f]{4}  ", line):
                vendor = line[:4]
            elif re.match(r"\t[0-9a-f]{4}  ", line):
                self._names[f"{vendor}:{line[1:5]}"] = line[7:].strip()

    def facts(self, board: Board) -> Iterator[Fact]:
        for device in map(str, board.usb):
            name = self._names.get(device, "")
            if name not in _PROBES:
                continue
            for tree in self._trees:
                for text, page in tree.pages(board):
                    if re.search(_PROBES[name], text, re.IGNORECASE):
                        yield Fact("usb", device, "usb.ids", f"{name}; {tree.title} {page}")


class AvrLibc(Source):
    """avr-libc's headers: `avr/` of its include folder."""

    def __init__(self, root: Path, version: str) -> None:
        super().__init__(root, "avr-libc", f"avr-libc {version}")

    def facts(self, board: Board) -> Iterator[Fact]:
        chip = board.cpu.name.replace("atmega", "m").replace("attiny", "tn")
        file = self.root / f"io{chip}.h"
        if not file.is_file():
            return
        text = file.read_text(encoding="utf-8", errors="replace")
        for name in re.findall(r"#include <avr/(\w+\.h)>", text):
            text += (self.root / name).read_text(encoding="utf-8", errors="replace")
        found = {
            key: int(value, 0)
            for key, value in re.findall(r"#\s*define\s+(\w+)\s+\(?(0x[0-9A-Fa-f]+)", text)
        }
        where = self.shown(file)
        yield Fact("region", (0, found["FLASHEND"] + 1), where, "FLASHEND")
        # AVR's linkers have the addresses of data from 0x800000 on.
        size = found["RAMEND"] + 1 - found["RAMSTART"]
        yield Fact("region", (0x800000 + found["RAMSTART"], size), where, "RAMSTART, RAMEND")


class XtensaOverlays(Source):
    """Espressif's configurations of Xtensa cores: `xtensa_<cpu>/**/core-isa.h`."""

    OPTIONS: Mapping[str, str] = {
        "clz": "XCHAL_HAVE_NSA",
        "divide": "XCHAL_HAVE_DIV32",
        "fpu-single": "XCHAL_HAVE_FP",
        "mul-long": "XCHAL_HAVE_MUL32_HIGH",
        "unaligned": "XCHAL_UNALIGNED_LOAD_HW",
    }

    def __init__(self, root: Path) -> None:
        super().__init__(root, "xtensa-overlays", "Espressif xtensa-overlays")

    def facts(self, board: Board) -> Iterator[Fact]:
        for file in sorted(self.root.glob(f"xtensa_{board.cpu.name}/**/core-isa.h")):
            on = set(re.findall(r"^#define\s+(\w+)\s+1\b", file.read_text(), re.MULTILINE))
            names = tuple(sorted(f for f, option in self.OPTIONS.items() if option in on))
            yield Fact(
                "features",
                names,
                self.shown(file),
                ", ".join(sorted(on & set(self.OPTIONS.values()))),
            )
