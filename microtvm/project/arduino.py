"""Arduino: a sketch and a library, built by arduino-cli where it is on the PATH, else by
arduino-builder."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from microtvm.codegen.c_type import storage_type
from microtvm.codegen.member import io_members
from microtvm.doctor import install_line
from microtvm.errors import BoardError, FitError, MicrotvmError, ToolError, UserError
from microtvm.project.library import Library
from microtvm.project.make import run_build
from microtvm.project.option import Option, Value
from microtvm.project.platform import LINK_BAUD, Built, Platform, Project
from microtvm.project.watchdog import WATCHDOG, check_watchdog
from microtvm.target import Board
from microtvm.target.document import near

CLI, BUILDER = "arduino-cli", "arduino-builder"

CORES = Path("/usr/share/arduino/hardware")
"""Where distributions put the cores that arduino-builder compiles, a folder for each vendor."""
BUILDER_DATA = Path("/usr/share/arduino-builder")

SETTINGS = ("fqbn", "receive_ring", "serial")
"""What a board's table `platform.arduino` may have: its fully qualified board name, the bytes of
its core's receive ring, and the object that is its link."""
RING_BYTES = 64
"""The smallest receive ring of any core: what a board has that does not say."""
SHORTEST_FRAME = 20
"""MTVM_FRAME_BYTES is at least this."""

_FQBN = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+(:[\w.-]+=[\w.-]+(,[\w.-]+=[\w.-]+)*)?")
_OPTIONS = {
    "author": (re.compile(r"[^\x00-\x1f\x7f]+"), "one line of text"),
    "version": (re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?"), "a version such as 1.0.0"),
    "url": (re.compile(r"(https?://[^\s]+)?"), "an address that begins with https://"),
}
WATCHDOG_S = (1, 2, 4, 8)
"""The whole seconds that the watchdog of ATmegas counts: its prescaler has powers of two."""
SLOWEST_BAUD, FASTEST_BAUD = 300, 4_000_000
_UNKNOWN_BOARD = re.compile(
    r"\bboard \S+ .*(not found|is unknown)|unknown fqbn|invalid option", re.I
)
_UNKNOWN_CORE = re.compile(r"platform .*(not installed|is unknown)|package \S+ is unknown", re.I)
_TOO_BIG = re.compile(r"sketch too big|not enough memory|(text|data) section exceeds", re.I)
_BEYOND = re.compile(
    r"address (0x[0-9a-f]+) of .* section [`']\.\w+' is not within region [`']data'"
)
_USED = re.compile(r"(?:sketch uses|global variables use) \d+ bytes.*", re.I)


class Arduino(Platform):
    """A sketchbook with one sketch and one library."""

    name = "arduino"
    options = (
        Option("author", "microtvm", "Author and maintainer in library.properties."),
        Option("version", "1.0.0", "Of the library, as semantic versioning has it."),
        Option("url", "", "The library's page; by default the board's manual."),
        Option("baud", LINK_BAUD, "Speed of the serial port, where it is no USB."),
        WATCHDOG,
    )

    def check(self, board: Board, options: Mapping[str, Value]) -> None:
        settings = board.settings.get(self.name, {})
        for key in settings:
            if key not in SETTINGS:
                raise BoardError(
                    f"{board.file}: platform.{self.name}.{key} is not a key known here",
                    hint=near(key, list(SETTINGS)),
                )
        fqbn = settings.get("fqbn")
        if not isinstance(fqbn, str) or not _FQBN.fullmatch(fqbn):
            found = "is missing" if fqbn is None else f"is {fqbn!r}"
            raise BoardError(
                f"{board.file}: platform.{self.name}.fqbn {found}",
                hint="it is vendor:architecture:board, as `arduino-cli board listall` has it",
            )
        for name, (pattern, wanted) in _OPTIONS.items():
            if not pattern.fullmatch(str(options[name])):
                raise UserError(
                    f"option {name} of platform {self.name} must be {wanted}, "
                    f"found {options[name]!r}"
                )
        if not SLOWEST_BAUD <= int(options["baud"]) <= FASTEST_BAUD:
            raise UserError(
                f"option baud of platform {self.name} must be {SLOWEST_BAUD} to {FASTEST_BAUD}, "
                f"found {options['baud']}"
            )
        _check_watchdog(board, int(options[WATCHDOG.name]))
        ring = settings.get("receive_ring", RING_BYTES)
        if isinstance(ring, bool) or not isinstance(ring, int) or ring < 2 * SHORTEST_FRAME:
            raise BoardError(
                f"{board.file}: platform.{self.name}.receive_ring is {ring!r}",
                hint=f"it is a number of bytes, at least {2 * SHORTEST_FRAME}",
            )

    def context(
        self, board: Board, library: Library, options: Mapping[str, Value]
    ) -> dict[str, object]:
        settings = board.settings[self.name]
        fqbn = str(settings["fqbn"])
        ring = int(settings.get("receive_ring", RING_BYTES))
        window = ring // 2
        inputs, outputs = _fields(library)
        sketch = _sketch(library)
        lines = bool(options[WATCHDOG.name])
        return {
            "serial": settings.get("serial", "Serial"),
            "architecture": fqbn.split(":")[1],
            "ring": ring,
            "window": window,
            "frame": max(SHORTEST_FRAME, window if window < 64 else window // 2),
            "url": options["url"] or board.url or "https://docs.arduino.cc/",
            "sketch": sketch,
            "library_folder": f"libraries/{library.prefix}",
            "inputs": inputs,
            "outputs": outputs,
            "commands": [
                shlex.join(cli_argv(fqbn, sketch, lines=lines)),
                "mkdir -p build && "
                + shlex.join(builder_argv(fqbn, sketch, "BUILD", lines=lines)).replace(
                    "BUILD", '"$PWD/build"'
                ),
            ],
        }

    def model_folder(self, prefix: str) -> str:
        return f"libraries/{prefix}/src"

    def build(self, project: Project, *, strict: bool = False, jobs: int = 2) -> Built:
        fqbn = str(project.board.settings[self.name]["fqbn"])
        sketch = _sketch(project.library)
        lines = bool(project.options[WATCHDOG.name])
        if shutil.which(CLI):
            argv = cli_argv(fqbn, sketch, strict=strict, jobs=jobs, lines=lines)
        elif shutil.which(BUILDER):
            _require_core(project.board, fqbn)
            build = project.folder.resolve() / "build"
            argv = builder_argv(fqbn, sketch, str(build), strict=strict, lines=lines)
        else:
            raise ToolError(
                f"building for {project.board.name} needs {CLI} or {BUILDER}, "
                "neither is on the PATH",
                hint=f"things to try: {install_line(CLI)}; {install_line(BUILDER)}",
            )
        log = project.folder / "build" / "arduino.log"
        # arduino-builder asks that its folder exists.
        log.parent.mkdir(exist_ok=True)
        run_build(project, argv, log, folder=project.folder, explain=explain)
        return Built(project, self.elf(project), self.map_file(project), log)

    def stack_guard_bytes(self, board: Board) -> int | None:
        # Other cores have a system's threads.
        return 0 if board.cpu.family == "avr" else None

    def run_function(self, project: Project) -> str:
        name = super().run_function(project)
        return "mtvm_arduino_watched_run" if project.options[WATCHDOG.name] else name

    def baud(self, project: Project) -> int:
        return int(project.options["baud"])

    def elf(self, project: Project) -> Path:
        return project.folder / "build" / f"{_sketch(project.library)}.ino.elf"


_LINES = "compiler.c.elf.extra_flags=-Wl,--no-relax"
"""AVR's linker shortens calls, and then counts too little from a function to its lines."""


def cli_argv(
    fqbn: str, sketch: str, *, strict: bool = False, jobs: int = 2, lines: bool = False
) -> list[str]:
    """The command of arduino-cli, in the project's folder. `lines`: those of crashes are worth more
    than short calls, on AVR."""
    warnings = ["--warnings", "all"] if strict else []
    exact = ["--build-property", _LINES] if lines else []
    return [
        *(CLI, "compile", "--fqbn", fqbn, "--libraries", "libraries"),
        *("--build-path", "build", "--jobs", str(jobs), *warnings, *exact, sketch),
    ]


def builder_argv(
    fqbn: str, sketch: str, build: str, *, strict: bool = False, lines: bool = False
) -> list[str]:
    """The command of arduino-builder, in the project's folder, with a distribution's cores. It
    wants the path of `build` from the root; `lines` as above."""
    return [
        *(BUILDER, "-compile", "-hardware", str(CORES), "-hardware", str(BUILDER_DATA)),
        # It must exist; the compilers are on the PATH.
        *("-tools", str(BUILDER_DATA)),
        *("-libraries", "libraries", "-fqbn", fqbn, "-build-path", build),
        *(("-warnings", "all") if strict else ()),
        # The C library of AVR leaves this macro of C++11 out, which the core needs.
        *("-prefs", "compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__"),
        *(("-prefs", _LINES) if lines else ()),
        f"{sketch}/{sketch}.ino",
    ]


def explain(project: Project, output: str) -> MicrotvmError | None:
    """What a failed build's output means, if it is one of what Arduino's tools say."""
    board = project.board
    fqbn = str(board.settings[Arduino.name]["fqbn"])
    core = ":".join(fqbn.split(":")[:2])
    beyond = [int(address, 16) for address in _BEYOND.findall(output)]
    if beyond or _TOO_BIG.search(output):
        used = " ".join(_USED.findall(output)) or "it is too big"
        if beyond:
            memory = board.memory("data")
            excess = max(beyond) - memory.start - memory.size_bytes
            used = f"its memory {memory.name} is {excess:,} bytes too small"
        return FitError(
            f"the image does not fit board {board.name}: {used}",
            hint="choose a board with more memory, or a smaller model",
        )
    if _UNKNOWN_BOARD.search(output):
        return ToolError(
            f"the Arduino core {core} has no board {fqbn}",
            hint=f"things to try: arduino-cli board listall; arduino-cli core upgrade {core}",
        )
    if _UNKNOWN_CORE.search(output):
        return ToolError(
            f"the Arduino core {core} is not installed",
            hint=f"things to try: arduino-cli core update-index; arduino-cli core install {core}",
        )
    return None


def _check_watchdog(board: Board, seconds: int) -> None:
    if seconds and board.cpu.family != "avr":
        raise BoardError(
            f"board {board.name} has a {board.cpu.name}, and the platform {Arduino.name} drives "
            f"the watchdogs of AVRs alone, which the option {WATCHDOG.name} needs",
            hint="leave the option out, or choose a board with an AVR, such as arduino-mega2560",
        )
    if seconds and board.watchdog is not None and seconds not in WATCHDOG_S:
        raise UserError(
            f"option {WATCHDOG.name} of platform {Arduino.name} is {seconds}",
            hint=f"the watchdog of board {board.name} counts "
            f"{', '.join(map(str, WATCHDOG_S))} s; 0 is none",
        )
    check_watchdog(board, seconds, Arduino.name)


def _require_core(board: Board, fqbn: str) -> None:
    vendor, architecture = fqbn.split(":")[:2]
    if not (CORES / vendor / architecture / "boards.txt").is_file():
        raise ToolError(
            f"building for {board.name} needs the Arduino core {vendor}:{architecture}, "
            f"which {BUILDER} does not find in {CORES}",
            hint=f"things to try: {install_line(CLI)}, then "
            f"arduino-cli core install {vendor}:{architecture}",
        )


def _sketch(library: Library) -> str:
    return f"{library.prefix}_server"


def _fields(library: Library) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Of the structure of inputs and outputs: name, C type and number of elements."""
    tensors = library.metadata["tensors"]
    inputs = [tensors[i] for i in library.metadata["inputs"]]
    outputs = [tensors[i] for i in library.metadata["outputs"]]
    names = io_members([t["name"] for t in inputs], [t["name"] for t in outputs])
    return (
        [_field(t, name) for t, (_, name) in zip(inputs, names["inputs"], strict=True)],
        [_field(t, name) for t, (_, name) in zip(outputs, names["outputs"], strict=True)],
    )


def _field(tensor: Mapping[str, object], name: str) -> dict[str, object]:
    shape = tensor["shape"]
    assert isinstance(shape, list)
    elements = 1
    for extent in shape:
        elements *= extent
    return {
        "field": name,
        "ctype": storage_type(str(tensor["dtype"])),
        "is_float": tensor["dtype"] == "float32",
        "elements": elements,
    }
