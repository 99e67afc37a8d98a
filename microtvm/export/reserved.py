"""Names that packages can't have: their header would hide one that is there already, or be hidden.

They are data: `reserved.toml` in a format's folder, and in `common` for all formats. Its table
`headers` has lists of headers, without `.h`, by who has them; the table `names` has lists of what
packages are called there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import ToolError

FILE = "reserved.toml"
_TABLES = ("headers", "names")


@dataclass(frozen=True)
class Reserved:
    """Who has each name, by the name in lower case: file systems may not tell cases apart."""

    headers: Mapping[str, str]
    names: Mapping[str, str]

    def reason(self, name: str) -> str:
        """Why a package can't be called that; empty if it can."""
        if name.lower() in self.headers:
            return f"{name}.h would hide a header of {self.headers[name.lower()]}"
        if name.lower() in self.names:
            return f"{self.names[name.lower()]} has one of that name"
        return ""


def load_reserved(folders: tuple[Path, ...]) -> Reserved:
    """What the files of the folders say together; a folder need not have one.

    ToolError for a file of another form.
    """
    found: dict[str, dict[str, str]] = {table: {} for table in _TABLES}
    for file in (folder / FILE for folder in folders):
        tables = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        for table, lists in tables.items():
            if table not in found or not isinstance(lists, dict):
                raise ToolError(f"{file}: {table} is none of the tables {', '.join(_TABLES)}")
            for owner, names in lists.items():
                if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
                    raise ToolError(f"{file}: {table}.{owner} must be a list of names")
                found[table].update({name.lower(): owner for name in names})
    return Reserved(found["headers"], found["names"])
