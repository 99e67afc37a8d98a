"""The UART of a board's console as Zephyr's devicetree has it: label, speed, pins, USB ids.

Pins are read from the source as it is written: the lists of a chip's pins are in modules that need
not be there, so that names are all there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.devicetree import DeviceTreeError, Node, chosen
from benchmarks.source import Fact

USB_UART = "zephyr,cdc-acm-uart"
"""What a console through the chip's own USB is compatible with."""

_LABEL = re.compile(r"&(\w+)")
_COMMENT = re.compile(r"/\*\s*(tx|rx)(?:\s+(tx|rx))?\s*\*/", re.IGNORECASE)
_RENESAS = re.compile(r"RA_PSEL\(RA_PSEL_SCI_\w+,\s*(\d+),\s*(\d+)\)")
_SPELLINGS = (
    # usart2_tx_pa2: the node is the pin.
    (re.compile(r"(?i)\b(?:lp)?us?art\d+_(tx|rx)_(p[a-k]\d+)\b"), "{0}"),
    (re.compile(r"NRF_PSEL\(UART_(TX|RX),\s*(\d+),\s*(\d+)\)"), "P{0}.{1:0>2}"),
    (re.compile(r"\bUS?ART\d+_(TX|RX)_(GPIO\d+|PT[A-E]\d+|P[A-E]\d+)(?:_NORMP)?\b"), "{0}"),
    (re.compile(r"\bUART\d+_(TX|RX)_P(\d+)\b"), "GPIO{0}"),
    (re.compile(r"\biomuxc_(gpio_\w+?)_lpuart\d+_(rx|tx)\b"), "{0}"),
    # Of a Flexcomm, P0 receives and P1 sends.
    (re.compile(r"\bFC\d+_(P[01])_PIO(\d+_\d+)\b"), "P{0}"),
    (re.compile(r"\b(P[A-D]\d+)[A-F]_UART_U?(RX|TX)D\b"), "{0}"),
    (re.compile(r"\b(P\d+)_(RX|TX)D\d+\b"), "{0}"),
    (re.compile(r"\buart\d+_(rx|tx)_default\s*\{\s*pinmux = <(\d+) SIFIVE"), "GPIO{0}"),
)
_DIRECTIONS = {"tx": "tx", "rx": "rx", "p1": "tx", "p0": "rx"}


def uart_facts(root: Node, file: Path, tree: Path) -> Iterator[Fact]:
    """What the board's source `file`, read as `root`, says of its console's UART."""
    node = chosen(root, "zephyr,console") or chosen(root, "zephyr,shell-uart")
    chosen_at = root.children["chosen"].properties if "chosen" in root.children else {}
    prop = chosen_at.get("zephyr,console") or chosen_at.get("zephyr,shell-uart")
    if node is None or prop is None:
        return
    label = prop.raw.strip().lstrip("&")
    yield Fact("uart.name", label, _within(prop.file, tree), f"zephyr,console = {prop.raw}")
    speed = node.properties.get("current-speed")
    if speed is not None:
        says = f"{label} current-speed"
        yield Fact("uart.baud", speed.cells[0], _within(speed.file, tree), says)
    if USB_UART in node.compatible:
        yield Fact("uart.via", "usb", _within(prop.file, tree), USB_UART)
        yield from _usb_facts(file.parent, tree)
    control = node.properties.get("pinctrl-0") or (
        node.parent.properties.get("pinctrl-0") if node.parent is not None else None
    )
    if control is None:
        return
    for name in _LABEL.findall(control.raw):
        for way, pin in _pins_of_name(name).items():
            yield Fact(f"uart.{way}", pin, _within(control.file, tree), f"&{name}")
        for source in _included(file, set()):
            text = source.read_text(encoding="utf-8")
            block = _block(text, name)
            for way, pin in _pins(block, node if "rxpo" in node.properties else None).items():
                yield Fact(f"uart.{way}", pin, source.relative_to(tree).as_posix(), name)


def page_facts(folder: Path, tree: Path) -> Iterator[Fact]:
    """What the board's page says of a console that no USB socket of the board leads to."""
    for page in sorted(folder.glob("doc/*.rst")):
        text = " ".join(page.read_text(encoding="utf-8").split())
        found = re.search(
            r"Virtual Com Port is not wired|Connect a usb-to-serial adapter to use", text
        )
        if found is not None:
            yield Fact("uart.via", "pins", page.relative_to(tree).as_posix(), found[0])


def _usb_facts(folder: Path, tree: Path) -> Iterator[Fact]:
    """The ids of a board's own USB device: its Kconfig, or else what Zephyr has for all."""
    kinds = ("VID", "PID")
    for file in (
        *sorted(folder.glob("*_defconfig")),
        *sorted(folder.glob("Kconfig.defconfig")),
        tree / "subsys/usb/device/Kconfig",
    ):
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        ids = [
            re.search(rf"USB_DEVICE_{kind}(?:=|\n(?:\s+hex.*\n)?\s+default )0x(\w+)", text)
            for kind in kinds
        ]
        if all(ids):
            usb = ":".join(found[1].lower() for found in ids if found is not None)
            where = file.relative_to(tree).as_posix()
            yield Fact("platform.zephyr.usb", usb, where, "USB_DEVICE_VID, USB_DEVICE_PID")
            return


def _included(file: Path, seen: set[Path]) -> list[Path]:
    """The lists of pins that a source includes, out of its own folder."""
    seen.add(file)
    found = [file] if "pinctrl" in file.name else []
    for name in re.findall(r'^#include "([^"]+)"', file.read_text(encoding="utf-8"), re.MULTILINE):
        other = (file.parent / name).resolve()
        if other.is_file() and other not in seen:
            found += _included(other, seen)
    return found


def _block(text: str, label: str) -> str:
    """A node of a source from its label to the closing brace; empty if it isn't there."""
    found = re.search(rf"^\s*(?:/omit-if-no-ref/\s+)?{label}:\s*\w+\s*\{{", text, re.MULTILINE)
    if found is None:
        return ""
    depth = 0
    for at in range(found.end() - 1, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[found.start() : at + 1]
    raise DeviceTreeError(f"{label} is not closed")


def _pins_of_name(name: str) -> dict[str, str]:
    found = _SPELLINGS[0][0].fullmatch(name)
    return {found[1].lower(): found[2].upper()} if found else {}


def _pins(block: str, sercom: Node | None) -> dict[str, str]:
    """Pins by direction, in the spelling of the chip's maker."""
    pins: dict[str, str] = {}
    for pattern, form in _SPELLINGS[1:]:
        for found in pattern.finditer(block):
            words = list(found.groups())
            way = next(word for word in words if word.lower() in _DIRECTIONS)
            words.remove(way)
            pins.setdefault(_DIRECTIONS[way.lower()], form.format(*words).upper())
    for group in block.split("};"):
        comment = _COMMENT.search(group)
        if comment is not None:
            ways = [way.lower() for way in comment.groups() if way]
            for way, (port, pin) in zip(ways, _RENESAS.findall(group), strict=False):
                pins[way] = f"P{int(port):X}{int(pin):02}"
    if sercom is not None:
        pads = {pad: pin for pin, pad in re.findall(r"\b(P[A-D]\d+)[A-J]_SERCOM\d_PAD(\d)", block)}
        # Data is sent on pad 0 or 2, by TXPO.
        wanted: Mapping[str, int] = {
            "tx": 2 * sercom.number("txpo", 0),
            "rx": sercom.number("rxpo", 0),
        }
        pins |= {way: pads[str(pad)] for way, pad in wanted.items() if str(pad) in pads}
    return pins


def _within(file: str, tree: Path) -> str:
    return Path(file).relative_to(tree).as_posix()
