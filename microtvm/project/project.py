"""A project: a folder that `make` turns into an image, and the note in it that says what it is."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import BoardError, UserError
from microtvm.project.fit import check_fit, demand_of
from microtvm.project.library import Library, read_library
from microtvm.project.template import Template, load_template
from microtvm.target import ROLES, Board, data_folder, load_board
from microtvm.version import VERSION

NOTE = "project.json"
_FORMAT = 1
_MODEL_FOLDER = "model"
_ARTIFACTS = ("__pycache__", "build")


@dataclass(frozen=True)
class Project:
    """A created project; nothing says that it has been built."""

    folder: Path
    board: Board
    template: str
    library: Library
    """The copy inside the project."""
    stack_bytes: int

    @property
    def elf(self) -> Path:
        """Where the build puts the image."""
        return self.folder / "build" / f"{self.library.prefix}.elf"

    @property
    def map_file(self) -> Path:
        """Where the linker writes its map."""
        return self.elf.with_suffix(".map")


def create_project(
    library: Path,
    board: Board,
    output: Path,
    *,
    template: str = "",
    stack_bytes: int = 0,
    force: bool = False,
) -> Project:
    """Writes a project for `board` around the model library in the folder `library` into `output`.

    `template` is one of the board's platforms, by default its first; `stack_bytes` overrides what
    the board reserves for the stack, a multiple of 16. `output` must not exist or be empty; with
    `force` an earlier project there is replaced, but nothing else ever is.

    FitError if the model can't fit the board, BoardError if the template lacks a driver for it,
    UserError for a folder, library or stack that can't be used.
    """
    model = read_library(library)
    compiled_for = model.metadata.get("cpu") or board.cpu.name
    if compiled_for != board.cpu.name:
        raise UserError(
            f"the library {library} was compiled for {compiled_for}, "
            f"board {board.name} has a {board.cpu.name}",
            hint=f"compile the model again with --cpu {board.cpu.name}",
        )
    chosen = load_template(_platform(board, template))
    stack = stack_bytes or board.stack_bytes
    if stack % 16 or stack < 256:
        raise UserError(f"the stack must be a multiple of 16 and at least 256 bytes: {stack}")
    check_fit(board, demand_of(model, stack))
    if library.resolve().is_relative_to(output.resolve()):
        raise UserError(f"the model library {library} lies in the project's folder {output}")
    rendered = chosen.render(_context(model, board, stack), board)
    _clear(output, force=force)
    _write(output, rendered, chosen, model)
    note = {
        "format": _FORMAT,
        "microtvm": VERSION,
        "board": _reference(board),
        "template": chosen.name,
        "stack_bytes": stack,
    }
    (output / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return load_project(output)


def load_project(folder: Path) -> Project:
    """The project that `create_project` wrote into `folder`; UserError if there is none."""
    file = folder / NOTE
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not a project: it has no {NOTE}", hint="make one with: microtvm create"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(note, dict) or note.get("format") != _FORMAT:
        raise UserError(f"{file} was not written by this version", hint="create the project again")
    try:
        return Project(
            folder=folder,
            board=load_board(str(note["board"])),
            template=str(note["template"]),
            library=read_library(folder / _MODEL_FOLDER),
            stack_bytes=int(note["stack_bytes"]),
        )
    except (KeyError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error!r}", hint="create the project again") from None


def _platform(board: Board, template: str) -> str:
    if not board.platforms:
        raise BoardError(f"{board.file}: platforms is empty")
    if template and template not in board.platforms:
        raise UserError(
            f"board {board.name} does not support the platform {template!r}",
            hint="it supports: " + ", ".join(board.platforms),
        )
    return template or board.platforms[0]


def _context(library: Library, board: Board, stack_bytes: int) -> dict[str, object]:
    """What the templates may refer to."""
    emulator = board.emulator
    command = (
        emulator.command(
            Path("build") / f"{library.prefix}.elf", "unix:build/serial,server=on,wait=off"
        )
        if emulator
        else []
    )
    return {
        "board": board,
        "cpu": board.cpu,
        "model": library,
        "memory": {role: board.memory(role).name for role in ROLES} if board.memories else {},
        "stack_bytes": stack_bytes,
        "emulator": shlex.join(command),
    }


def _reference(board: Board) -> str:
    """What `load_board` finds the board by."""
    inside = board.file.parent == data_folder("boards")
    return board.name if inside else str(board.file.resolve())


def _clear(output: Path, *, force: bool) -> None:
    if output.is_dir() and any(output.iterdir()):
        if not (output / NOTE).is_file():
            raise UserError(
                f"{output} is not empty and not a project", hint="choose a folder that is new"
            )
        if not force:
            raise UserError(
                f"there is a project in {output} already", hint="replace it with --force"
            )
        shutil.rmtree(output)
    elif output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file, not a folder")
    output.mkdir(parents=True, exist_ok=True)


def _write(output: Path, rendered: Mapping[str, str], template: Template, model: Library) -> None:
    for target, text in rendered.items():
        path = output / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for target, source in template.folders.items():
        name, _, rest = source.partition("/")
        shutil.copytree(
            data_folder(name) / rest, output / target, ignore=shutil.ignore_patterns(*_ARTIFACTS)
        )
    folder = output / _MODEL_FOLDER
    folder.mkdir()
    for file in model.files:
        shutil.copyfile(file, folder / file.name)
