"""A model library as the project layer sees it: the model's C files and its metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtvm.errors import UserError

METADATA = "metadata.json"
_FORMAT = 1
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Library:
    """What `compile` wrote: `<prefix>.h`, `<prefix>.c`, `metadata.json`."""

    folder: Path
    prefix: str
    """Of every symbol; names the files too."""
    name: str
    hash: str
    """32 hex digits."""
    arena_bytes: int
    """Tensors and scratch."""
    scratch_bytes: int
    """The part of the arena that kernels need beside the tensors."""
    weights_bytes: int | None
    """Everything per channel, None where the metadata don't say."""
    metadata: Mapping[str, Any]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a project needs."""
        return tuple(self.folder / name for name in (*self.sources, METADATA))

    @property
    def sources(self) -> tuple[str, str]:
        """The names of the C files."""
        return f"{self.prefix}.h", f"{self.prefix}.c"


def read_library(folder: Path) -> Library:
    """The library in `folder`; UserError if it isn't one or its metadata are damaged."""
    file = folder / METADATA
    try:
        metadata = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not a model library: it has no {METADATA}",
            hint="make one with: microtvm compile MODEL",
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise UserError(f"{file} must hold an object, found {type(metadata).__name__}")
    if metadata.get("format") != _FORMAT:
        raise UserError(
            f"{file} has format {metadata.get('format')!r}, this version reads {_FORMAT}",
            hint="compile the model again with this version",
        )
    prefix = _text(file, metadata, "prefix")
    if not _IDENTIFIER.fullmatch(prefix):
        raise UserError(f"{file}: prefix {prefix!r} is not a C identifier")
    library = Library(
        folder=folder,
        prefix=prefix,
        name=_text(file, metadata, "name"),
        hash=_text(file, metadata, "hash"),
        arena_bytes=_count(file, metadata, "arena_bytes"),
        scratch_bytes=_count(file, metadata, "scratch_bytes"),
        weights_bytes=_count(file, metadata, "weights_bytes")
        if "weights_bytes" in metadata
        else None,
        metadata=metadata,
    )
    for each in library.files:
        if not each.is_file():
            raise UserError(f"the model library {folder} lacks {each.name}")
    return library


def _text(file: Path, metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    if not isinstance(value, str) or not value:
        raise UserError(f"{file}: {key} must be a non-empty string, found {value!r}")
    return value


def _count(file: Path, metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{file}: {key} must be a number of bytes, found {value!r}")
    return value
