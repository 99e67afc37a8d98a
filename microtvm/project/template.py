"""Project templates: files, some Jinja2, and a `template.toml` that says what goes where."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2

from microtvm.errors import BoardError, ToolError
from microtvm.target import Board

_SETTINGS = "template.toml"
_KEYS = {"description", "files", "folders"}


@dataclass(frozen=True)
class Template:
    """One platform's way to build an image."""

    name: str
    folder: Path
    description: str
    files: Mapping[str, str]
    """Path in the project: path in the template, both templates themselves."""
    folders: Mapping[str, tuple[str, ...]]
    """Path in the project, itself a template: folders of the installation, copied whole."""

    def render(self, context: Mapping[str, object], board: Board) -> dict[str, str]:
        """The project's files by their path.

        BoardError if the board names a driver that isn't here, ToolError if the template is wrong.
        """
        environment = self._environment()
        result: dict[str, str] = {}
        for target, pattern in self.files.items():
            try:
                source = environment.from_string(pattern).render(context)
                if source:
                    path = environment.from_string(target).render(context)
                    result[path] = self._file(environment, source, context, board)
            except jinja2.TemplateError as error:
                raise ToolError(
                    f"template {self.name}: {target} can't be made for board {board.name}: {error}"
                ) from None
        return result

    def folders_in(self, context: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
        """`folders` with the paths that they have in the project."""
        environment = self._environment()
        return {
            environment.from_string(target).render(context): sources
            for target, sources in self.folders.items()
        }

    def _environment(self) -> jinja2.Environment:
        return jinja2.Environment(
            loader=jinja2.FileSystemLoader(self.folder),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def _file(
        self,
        environment: jinja2.Environment,
        source: str,
        context: Mapping[str, object],
        board: Board,
    ) -> str:
        path = self.folder / source
        if not path.is_file():
            known = sorted(each.stem for each in path.parent.glob("*" + path.suffix))
            raise BoardError(
                f"the template {self.name} has no {source}, which board {board.name} asks for",
                hint=f"there are: {', '.join(known)}; or add the file",
            )
        if path.suffix == ".j2":
            return environment.get_template(source).render(context)
        return path.read_text(encoding="utf-8")


def load_template(name: str, folder: Path) -> Template:
    """The template of the platform `name` in `folder`; ToolError if it is missing or its settings
    are wrong."""
    file = folder / _SETTINGS
    if not file.is_file():
        raise ToolError(f"the platform {name} has no {file}", hint="install its package again")
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    unknown = sorted(settings.keys() - _KEYS)
    if unknown:
        raise ToolError(f"{file}: unknown keys: {', '.join(unknown)}")
    return Template(
        name=name,
        folder=folder,
        description=str(settings.get("description", "")),
        files={target: source for target, (source,) in _paths(file, settings, "files", 1).items()},
        folders=_paths(file, settings, "folders"),
    )


def _paths(
    file: Path, settings: Mapping[str, object], key: str, most: int = 0
) -> dict[str, tuple[str, ...]]:
    """A table of paths, or, unless `most` is 1, of lists of them."""
    table = settings.get(key, {})
    found: dict[str, tuple[str, ...]] = {}
    for target, value in table.items() if isinstance(table, dict) else [("", None)]:
        given = value if isinstance(value, list) and most != 1 else [value]
        paths = tuple(path for path in given if isinstance(path, str))
        if not paths or len(paths) != len(given):
            raise ToolError(f"{file}: {key} must be a table of paths, found {table!r}")
        found[str(target)] = paths
    return found
