"""Creates, loads and builds projects, each a folder with a note in it that says what it is."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from microtvm.errors import BoardError, UserError
from microtvm.project.fit import check_fit, demand_of
from microtvm.project.library import Library, read_library
from microtvm.project.option import Value, parse_options
from microtvm.project.platform import Built, Platform, Project
from microtvm.project.registry import find_platform
from microtvm.project.template import load_template
from microtvm.target import ROLES, Board, data_folder, load_board
from microtvm.version import VERSION

NOTE = "project.json"
_FORMAT = 2
_ARTIFACTS = ("__pycache__", "build")


def build_project(
    project: Project,
    *,
    options: Mapping[str, Value] | None = None,
    strict: bool = False,
    jobs: int = 2,
) -> Built:
    """Builds the image with the tools of the project's platform, see `Platform.build`; `options`
    are the platform's own for this step."""
    return project.platform.build(project.in_step("build", options), strict=strict, jobs=jobs)


def create_project(
    library: Path,
    board: Board,
    output: Path,
    *,
    platform: str = "",
    options: Mapping[str, Value] | None = None,
    stack_bytes: int = 0,
    force: bool = False,
) -> Project:
    """Writes a project for `board` around the model library in the folder `library` into `output`.

    `platform` is one of the board's, by default its first; `options` are the platform's own;
    `stack_bytes` overrides what the board reserves for the stack, a multiple of 16. `output` must
    not exist or be empty; with `force` an earlier project there is replaced, but nothing else ever
    is.

    FitError if the model can't fit the board, BoardError if the template lacks a driver for it,
    UserError for a folder, library, option or stack that can't be used, and what the platform's
    `check` raises.
    """
    model = read_library(library)
    compiled_for = model.metadata.get("cpu") or board.cpu.name
    if compiled_for != board.cpu.name:
        raise UserError(
            f"the library {library} was compiled for {compiled_for}, "
            f"board {board.name} has a {board.cpu.name}",
            hint=f"compile the model again with --cpu {board.cpu.name}",
        )
    chosen = choose_platform(board, platform)
    values = parse_options(chosen.name, chosen.options_of("create"), options or {})
    chosen.check(board, values)
    template = load_template(chosen.name, chosen.template_folder)
    stack = stack_bytes or board.stack_bytes
    _check_stack_bytes(stack, chosen.stack_guard_bytes(board) or 0)
    check_fit(board, demand_of(model, stack), chosen.arena_pools(board))
    if library.resolve().is_relative_to(output.resolve()):
        raise UserError(f"the model library {library} lies in the project's folder {output}")
    context = _context(model, board, stack) | {"options": values}
    rendered = template.render(context | chosen.context(board, model, values), board)
    _clear(output, force=force)
    folders = template.folders_in(context | chosen.context(board, model, values))
    model_folder = chosen.model_folder(model.prefix)
    _write(output, rendered, folders, model, model_folder)
    note = {
        "format": _FORMAT,
        "microtvm": VERSION,
        "board": _reference(board),
        "platform": chosen.name,
        "model": model_folder,
        "options": values,
        "stack_bytes": stack,
    }
    (output / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return load_project(output)


def load_project(folder: Path) -> Project:
    """The project that `create_project` wrote into `folder`; UserError if there is none."""
    file = folder / NOTE
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        lacks = f"it has no {NOTE}" if folder.exists() else "there is no such folder"
        raise UserError(
            f"{folder} is not a project: {lacks}", hint="make one with: microtvm create"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(note, dict) or note.get("format") != _FORMAT:
        raise UserError(f"{file} was not written by this version", hint="create the project again")
    try:
        platform = find_platform(str(note["platform"]))
        return Project(
            folder=folder,
            board=load_board(str(note["board"])),
            platform=platform,
            options=parse_options(
                platform.name, platform.options_of("create"), dict(note["options"])
            ),
            library=read_library(folder / str(note["model"])),
            stack_bytes=int(note["stack_bytes"]),
        )
    except KeyError as error:
        raise UserError(
            f"{file} is damaged: it has no key {error}", hint="create the project again"
        ) from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} is damaged: {error!r}", hint="create the project again") from None


def choose_platform(board: Board, name: str = "") -> Platform:
    """The platform of that name, by default the board's first; UserError if the board does not
    support it, BoardError if it supports none."""
    if not board.platforms:
        raise BoardError(f"{board.file}: platforms is empty")
    if name and name not in board.platforms:
        raise UserError(
            f"board {board.name} does not support the platform {name!r}",
            hint="it supports: " + ", ".join(board.platforms),
        )
    return find_platform(name or board.platforms[0])


_LEAST_STACK_BYTES = 256
"""No image of a model and its server does with less."""


def _check_stack_bytes(stack: int, guard: int) -> None:
    least = _LEAST_STACK_BYTES + guard
    if stack % 16 or stack < least:
        reason = f", {guard} of them to guard its end" if guard else ""
        raise UserError(
            f"the stack must be a multiple of 16 and at least {least} bytes{reason}: {stack}"
        )


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


def _write(
    output: Path,
    rendered: Mapping[str, str],
    folders: Mapping[str, Sequence[str]],
    model: Library,
    model_folder: str,
) -> None:
    for target, text in rendered.items():
        path = output / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for target, sources in folders.items():
        for source in sources:
            name, _, rest = source.partition("/")
            shutil.copytree(
                data_folder(name) / rest,
                output / target,
                ignore=shutil.ignore_patterns(*_ARTIFACTS),
                dirs_exist_ok=True,
            )
    folder = output / model_folder
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.files:
        shutil.copyfile(file, folder / file.name)
