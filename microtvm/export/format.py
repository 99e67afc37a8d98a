"""Formats of packages as data: folders of Jinja2 files below `project_templates/export`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from microtvm.errors import ToolError, UserError
from microtvm.export.reserved import Reserved, load_reserved
from microtvm.target import data_folder
from microtvm.target.document import near

_SETTINGS = "format.toml"
_COMMON = "common"
_KEYS = {
    *("description", "array", "archive", "single", "name"),
    *("headers", "sources", "metadata", "files"),
}


@dataclass(frozen=True)
class Format:
    """How one ecosystem wants a model laid out. Paths are templates, '' where there is none."""

    name: str
    folder: Path
    description: str
    array: bool
    """It holds the model's file as it is, and nothing that is compiled from it."""
    archive: str
    """How archives of it end: one of archive.SUFFIXES, '' for none."""
    single: str
    """The one file that it can be, '' for a format that needs several."""
    names: str
    """A regular expression: what packages can be called there, of what can begin C identifiers."""
    reserved: Reserved
    """What they can't be called."""
    headers: str
    """Of a header called `file`, '' where headers are part of a rendered file."""
    sources: str
    metadata: str
    """The path of `metadata.json`."""
    files: Mapping[str, str]
    """Path in the package: file of the format or of `common`, rendered if it ends in .j2."""

    def render(self, context: Mapping[str, Any]) -> dict[str, str]:
        """The files of the package that are not the model's own, by path.

        ToolError if a template is wrong.
        """
        environment = self._environment()
        result: dict[str, str] = {}
        for target, source in self.files.items():
            try:
                path = environment.from_string(target).render(context)
                if path:
                    result[path] = self._file(environment, source, context)
            except jinja2.TemplateError as error:
                raise ToolError(
                    f"format {self.name}: {target} can't be made: {type(error).__name__}: {error}"
                ) from None
        return result

    def check_name(self, name: str) -> None:
        """UserError, with a name to take instead, where no package of the format is called that."""
        if not re.fullmatch(self.names, name):
            raise UserError(
                f"{name!r} can't name a package of the format {self.name}",
                hint=f"choose a --prefix that matches {self.names}",
            )
        reason = self.reserved.reason(name)
        if reason:
            raise UserError(
                f"{name!r} can't name a package of the format {self.name}: {reason}",
                hint=f"choose another name: --prefix m_{name}, for example",
            )

    def path(self, pattern: str, context: Mapping[str, Any]) -> str:
        """A path of the settings, rendered."""
        return self._environment().from_string(pattern).render(context)

    def _environment(self) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([self.folder, self.folder.parent / _COMMON]),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["quoted"] = _quoted
        return environment

    def _file(
        self, environment: jinja2.Environment, source: str, context: Mapping[str, Any]
    ) -> str:
        if source.endswith(".j2"):
            return environment.get_template(source).render(context)
        assert environment.loader is not None
        return environment.loader.get_source(environment, source)[0]


def _quoted(text: str) -> str:
    """A string of JSON, which is one of YAML and of C as well."""
    return json.dumps(text, ensure_ascii=False)


def list_formats() -> list[str]:
    """The names of all formats, sorted."""
    return sorted(file.parent.name for file in _root().glob(f"*/{_SETTINGS}"))


def load_format(name: str, root: Path | None = None) -> Format:
    """The format of that name, of the installation's or of those below `root`.

    UserError if there is none, ToolError if its settings are wrong.
    """
    folder = (root or _root()) / name
    file = folder / _SETTINGS
    if not file.is_file():
        raise UserError(f"there is no format {name!r}", hint=near(name, list_formats()))
    settings = tomllib.loads(file.read_text(encoding="utf-8"))
    unknown = sorted(settings.keys() - _KEYS)
    if unknown:
        raise ToolError(f"{file}: unknown keys: {', '.join(unknown)}")
    files = settings.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(path, str) for path in files.values()):
        raise ToolError(f"{file}: files must be a table of paths, found {files!r}")
    return Format(
        name=name,
        folder=folder,
        description=str(settings.get("description", "")),
        array=bool(settings.get("array", False)),
        archive=str(settings.get("archive", "")),
        single=str(settings.get("single", "")),
        names=str(settings.get("name", ".*")),
        reserved=load_reserved((folder.parent / _COMMON, folder)),
        headers=str(settings.get("headers", "")),
        sources=str(settings.get("sources", "")),
        metadata=str(settings.get("metadata", "")),
        files=files,
    )


def _root() -> Path:
    return data_folder("project_templates") / "export"
