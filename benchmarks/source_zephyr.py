"""Boards as a Zephyr tree describes them: devicetree, Kconfig, board.yml, board.cmake, its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.devicetree import DeviceTreeError, Node, chosen, read
from benchmarks.source import Fact, Source
from benchmarks.source_uart import page_facts, uart_facts
from microtvm.target import Board

_HZ = re.compile(r"^CONFIG_SYS_CLOCK_HW_CYCLES_PER_SEC=(\d+)", re.MULTILINE)
_RUNNER = re.compile(
    r'board_runner_args\(\s*([\w-]+)\s+"?--(target|pid|offset|board-id|mcu)=([^")\s]+)'
)
_RUNNER_KINDS = {
    "target": "pyocd",
    "pid": "dfu",
    "offset": "offset",
    "board-id": "board-id",
    "mcu": "teensy",
}
_SCRIPT = re.compile(r"target/([\w.-]+)\.cfg")
_TCM = ("arm,dtcm", "arm,itcm", "nxp,imx-dtcm", "nxp,imx-itcm")
_MEMORIES = {
    *("mmio-sram", "soc-nv-flash", "zephyr,memory-region", "fixed-partitions"),
    *("arm,ccm", "arm,dtcm", "arm,itcm", "nxp,imx-dtcm", "nxp,imx-itcm", "sifive,dtim0"),
    *("renesas,ra-nv-code-flash", "st,stm32-nv-flash"),
}


class Zephyr(Source):
    """A tree from release 3.7 on, or as much of one as describes the boards in question."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "zephyr", f"Zephyr {_version(root)}")
        if _version(root) == "main":
            self.key = "zephyr-main"
        deprecated = root / "boards" / "deprecated.cmake"
        text = deprecated.read_text(encoding="utf-8") if deprecated.is_file() else ""
        self._old = [
            (re.sub(r"@\w+", "", new), old)
            for old, new in re.findall(r"set\((\w+)_DEPRECATED\s+([\w/@.]+)\s*\)", text)
        ]
        self._folders = [
            root / "include", root / "include" / "zephyr", root / "dts",
            *(root / "dts" / name for name in ("common", "arm", "riscv", "xtensa")),
        ]  # fmt: skip
        self._found: dict[str, tuple[Path, Node]] = {}

    def facts(self, board: Board) -> Iterator[Fact]:
        target = str(board.settings.get("zephyr", {}).get("board", ""))
        other = board.names.get("zephyr-chip", "")
        for chain, name in (("platform.zephyr.board", target), ("names.zephyr-chip", other)):
            found = self._board(name)
            if found is None:
                continue
            file, root = found
            yield Fact(chain, name, self.shown(file))
            yield from self._chip(root, name)
            if name == target:
                yield from self._tools(file.parent)
                yield from self._modules(file.parent, target)
                yield from uart_facts(root, file, self.root)
                yield from page_facts(file.parent, self.root)
        for new, old in self._old:
            if new == target:
                yield Fact("platform.zephyr.old", old, "boards/deprecated.cmake")

    def pages(self, board: Board) -> Iterator[tuple[str, str]]:
        """The text of the board's page in the documentation, with the file's name."""
        found = self._board(str(board.settings.get("zephyr", {}).get("board", "")))
        if found is not None:
            for page in sorted(found[0].parent.glob("doc/*.rst")):
                yield page.read_text(encoding="utf-8"), self.shown(page)

    def _board(self, target: str) -> tuple[Path, Node] | None:
        """The board's source, merged with its overlay for the default revision, if any."""
        if target and target not in self._found:
            name, *qualifiers = target.split("/")
            # A board with one chip may leave its name out of the file's.
            stems = ["_".join((name, *qualifiers)), "_".join((name, *qualifiers[1:]))]
            files = [
                file for stem in stems for file in sorted(self.root.glob(f"boards/*/**/{stem}.dts"))
            ]
            if not files:
                return None
            self._found[target] = (files[0], read(files[0], self._folders, _overlays(files[0])))
        return self._found.get(target)

    def _chip(self, root: Node, target: str) -> Iterator[Fact]:
        cpus = [node for node in root.walk() if node.name.startswith("cpu@")]
        cpu = cpus[0] if cpus else Node("cpu")
        isa = cpu.properties.get("riscv,isa")
        if isa is not None:
            yield Fact("cpu", isa.strings[0], self._within(isa.file), f"riscv,isa {isa.raw}")
        for name in cpu.compatible:
            yield Fact("cpu", name, self._within(cpu.properties["compatible"].file), name)
        yield from self._clock(root, cpu, target)
        for key in ("zephyr,sram", "zephyr,flash"):
            node = chosen(root, key)
            for region in node.regions() if node else ():
                assert node is not None
                yield Fact("region", region, self._within(node.properties["reg"].file), key)
        for node in root.walk():
            yield from self._memory(node)

    def _clock(self, root: Node, cpu: Node, target: str) -> Iterator[Fact]:
        """Cycles of the core in a second: each vendor's devicetree has them in another place."""
        labels = {label: node for node in root.walk() for label in node.labels}
        places = [(cpu, 1)]
        if "rcc" in labels:
            rcc = labels["rcc"]
            places.append((rcc, rcc.number("d1cpre", 1) * rcc.number("cpu1-prescaler", 1)))
        places += [
            (labels[name], 1) for name in ("sysclk", "clk_sys", "iclk", "coreclk") if name in labels
        ]
        for node, divisor in places:
            prop = node.properties.get("clock-frequency")
            if prop is not None:
                hz = prop.cells[0] // divisor
                yield Fact("hz", hz, self._within(prop.file), f"{node.name} clock-frequency")
        for key in ("freq", "freqp"):
            node = labels.get("pllp" if key == "freq" else "pll")
            if node is not None and "cpuclk" in labels and key in node.properties:
                hz = node.number(key, 0) // labels["cpuclk"].number("div", 1)
                yield Fact("hz", hz, self._within(node.properties[key].file), f"{node.name} {key}")
        yield from self._configured_clock(target)

    def _configured_clock(self, target: str) -> Iterator[Fact]:
        file, _ = self._found[target]
        for config in sorted(file.parent.glob(f"{file.stem}_defconfig")):
            for hz in _HZ.findall(config.read_text(encoding="utf-8")):
                yield Fact("hz", int(hz), self.shown(config), "SYS_CLOCK_HW_CYCLES_PER_SEC")
        soc = "_".join(target.split("/")[1:]).upper()
        if not soc:
            return
        chip = soc.split("_")[0]
        for config in sorted(self.root.glob("soc/*/**/Kconfig.defconfig*")):
            text = config.read_text(encoding="utf-8")
            for hz in re.findall(rf"^\s*default (\d+) if SOC_{soc}$", text, re.MULTILINE):
                yield Fact("hz", int(hz), self.shown(config), f"default if SOC_{soc}")
            socs = config.parent / "Kconfig.soc"
            if socs.is_file() and f"SOC_{chip}\n" in socs.read_text(encoding="utf-8"):
                for hz in re.findall(r"default (\d+) if CORTEX_M_SYSTICK", text):
                    yield Fact("hz", int(hz), self.shown(config), "default if CORTEX_M_SYSTICK")

    def _memory(self, node: Node) -> Iterator[Fact]:
        parent = node.parent
        size = node.properties.get("size")
        if size is not None and parent is not None and len(parent.regions()) > 1:
            # A serial flash, in bits, behind a controller whose second region maps it.
            mapped = parent.regions()[1]
            yield Fact("region", mapped, self._within(parent.properties["reg"].file), parent.name)
            whole = (mapped[0], size.cells[0] // 8)
            yield Fact("region", whole, self._within(size.file), node.name)
        known = _MEMORIES & set(node.compatible)
        partition = parent is not None and "fixed-partitions" in parent.compatible
        if not (known or partition or node.name.startswith(("memory@", "sdram@"))):
            return
        try:
            regions = node.regions()
        except DeviceTreeError:
            return
        base = _flash_of(node).regions()[0][0] if partition and _flash_of(node).regions() else 0
        for start, length in regions:
            file = self._within(node.properties["reg"].file)
            yield Fact("region", (base + start, length), file, node.name)
            if "zephyr,memory-region" in node.compatible:
                for label in node.labels:
                    yield Fact("memory-label", (start, label), file, "zephyr,memory-region")
            for kind, says in _kinds(node):
                yield Fact("memory-kind", (start, kind), file, says)
            if partition:
                yield Fact("region", (start, length), file, node.name)

    def _tools(self, folder: Path) -> Iterator[Fact]:
        files = [*sorted(folder.glob("board.cmake")), *sorted(folder.glob("support/*.cfg"))]
        for file in files:
            text = file.read_text(encoding="utf-8")
            for tool, option, value in _RUNNER.findall(text):
                kind = _RUNNER_KINDS[option]
                number = int(value, 0) if option == "offset" else value
                yield Fact(kind, number, self.shown(file), f"{tool} --{option}={value}")
            for script in _SCRIPT.findall(text):
                yield Fact("openocd", script, self.shown(file), f"target/{script}.cfg")

    def _modules(self, folder: Path, target: str) -> Iterator[Fact]:
        """The manifest's `hal_` project of the board's chip: called after its maker or family, or
        with a Kconfig for what the chip selects."""
        manifest = self.root / "west.yml"
        if not manifest.is_file():
            return
        known = re.findall(r"- name: hal_(\w+)", manifest.read_text(encoding="utf-8"))
        text = (folder / "board.yml").read_text(encoding="utf-8")
        names = set(re.findall(r"^ *- name: '?(\w+)", text, re.MULTILINE)) - {target.split("/")[0]}
        for soc in sorted(self.root.glob("soc/**/soc.yml")):
            listed = set(re.findall(r"name: '?(\w+)", soc.read_text(encoding="utf-8")))
            if not names & listed:
                continue
            words = soc.parent.relative_to(self.root / "soc").parts
            for name in known:
                if name in words or self._selects(soc.parent, name):
                    file = self.shown(manifest)
                    yield Fact("module", f"hal_{name}", file, f"for {self.shown(soc)}")

    def _selects(self, soc: Path, module: str) -> bool:
        """Whether a chip selects what the module's Kconfig defines."""
        files = sorted(self.root.glob(f"modules/hal_{module}/**/Kconfig"))
        own = {
            symbol
            for file in files
            for symbol in re.findall(
                r"^config (HAS_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE
            )
        }
        selected = {
            symbol
            for file in soc.glob("**/Kconfig*")
            for symbol in re.findall(r"select (HAS_\w+)", file.read_text(encoding="utf-8"))
        }
        return bool(own & selected)

    def _within(self, file: str) -> str:
        return self.shown(Path(file))


def _kinds(node: Node) -> Iterator[tuple[str, str]]:
    """How far a memory is from the core, as `microtvm.target.board.KINDS` has it, and why."""
    for name in node.compatible:
        if name in _TCM:
            yield "tcm", name
    for name in (node.name, *node.labels):
        if name.startswith("sdram"):
            yield "external", name


def _flash_of(partition: Node) -> Node:
    """The memory that a node of a partition table is a part of."""
    assert partition.parent is not None
    assert partition.parent.parent is not None
    return partition.parent.parent


def _overlays(file: Path) -> list[Path]:
    """What is laid over a board with external flash, in the variant that its makers deliver."""
    for name, pattern in (
        ("board.yml", r'default: "?(\w+)'),
        ("revision.cmake", r'set\(BOARD_REVISION "(\w+)"'),
    ):
        text = (
            (file.parent / name).read_text(encoding="utf-8")
            if (file.parent / name).is_file()
            else ""
        )
        for revision in re.findall(pattern, text)[:1]:
            found = sorted(file.parent.glob(f"{file.stem}_*_{revision}.overlay"))
            if found:
                return found
    return []


def _version(root: Path) -> str:
    file = root / "VERSION"
    if not file.is_file():
        return "main"
    fields = dict(re.findall(r"^(\w+) *= *(\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    return ".".join(fields[key] for key in ("VERSION_MAJOR", "VERSION_MINOR", "PATCHLEVEL"))
