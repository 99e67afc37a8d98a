"""TOML files that inherit from one another, merged into a table whose every value knows its file.

`inherits = ["soc/mps2", ...]` names files by their path below the root, without `.toml`. Parents
are merged in the order in which they are named, each over the ones before it, and the file itself
over all of them: scalars and lists replace, tables merge. `key.append = [...]` appends to the list
that was inherited. A value never turns into a table nor a table into a value.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from microtvm.errors import BoardError

Scalar = str | int | float | bool

INHERITS = "inherits"
APPEND = "append"


@dataclass(frozen=True)
class Leaf:
    """A scalar, or a list as a tuple of leaves, and the file that last set it."""

    value: Scalar | tuple[Leaf, ...]
    origin: Path


Table = Mapping[str, "Leaf | Table"]

_LIKE = 0.6
"""From here on, of 1, a known name may be meant by another: `author` by `watchdog_s` is 0.5."""
_OFFERED = 3


def near(name: str, known: list[str], *, otherwise: str = "") -> str:
    """Advice for a misspelt name: the nearest known ones, or those that it is a part of, else what
    is said `otherwise`, else all of them."""
    close = get_close_matches(name, known, n=_OFFERED, cutoff=_LIKE)
    if not close and len(name) > 1:
        close = [each for each in known if name in each][:_OFFERED]
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if otherwise:
        return otherwise
    return "there are: " + ", ".join(known) if known else ""


def load_table(root: Path, file: Path, *, _open: tuple[Path, ...] = ()) -> Table:
    """The merged table of `file`, without the key `inherits`; parents are looked up below `root`.

    BoardError for what isn't TOML, for parents that don't exist, are named twice or lead back to
    the file, and for values that can't be merged.
    """
    if file in _open:
        chain = " -> ".join(_shown(root, each) for each in (*_open[_open.index(file) :], file))
        raise BoardError(f"boards inherit in a circle: {chain}")
    raw = _parse(file)
    parents = raw.pop(INHERITS, [])
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise BoardError(f"{file}: {INHERITS} must be a list of names, found {parents!r}")
    merged: Table = {}
    for position, parent in enumerate(parents):
        if parent in parents[:position]:
            raise BoardError(f"{file}: {INHERITS} names {parent!r} twice")
        path = root / f"{parent}.toml"
        if not path.is_file():
            known = sorted(_shown(root, each) for each in root.rglob("*.toml"))
            raise BoardError(
                f"{file}: {INHERITS} names {parent!r}, but there is no file {path}",
                hint=near(parent, known),
            )
        merged = _merge(merged, load_table(root, path, _open=(*_open, file)), ())
    return _apply(merged, raw, file, ())


def leaves(table: Table, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every leaf with its dotted key chain, in the table's order."""
    for key, item in table.items():
        if isinstance(item, Leaf):
            yield prefix + key, item
        else:
            yield from leaves(item, f"{prefix}{key}.")


def first_file(table: Table) -> Path | None:
    """A file that has a part in the table, None for an empty table."""
    return next((leaf.origin for _, leaf in leaves(table)), None)


def _shown(root: Path, file: Path) -> str:
    """A file's name as `inherits` would spell it."""
    return str(file.relative_to(root).with_suffix("")) if file.is_relative_to(root) else str(file)


@lru_cache(maxsize=512)
def _parsed(text: str) -> dict[str, object]:
    """Boards share most of their parents, and parsing takes most of the time of reading them."""
    return tomllib.loads(text)


def _parse(file: Path) -> dict[str, object]:
    try:
        return dict(_parsed(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise BoardError(f"{file} is not TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise BoardError(f"{file} is not UTF-8: {error}") from None
    except OSError as error:
        raise BoardError(f"{file} can't be read: {error.strerror}") from None


def _leaf(raw: object, file: Path, chain: tuple[str, ...]) -> Leaf:
    if isinstance(raw, list):
        items = tuple(_leaf(item, file, (*chain, str(i))) for i, item in enumerate(raw))
        return Leaf(items, file)
    if isinstance(raw, (str, int, float, bool)):
        return Leaf(raw, file)
    raise BoardError(f"{file}: {'.'.join(chain)} has a value of a kind not used here: {raw!r}")


def _apply(base: Table, raw: Mapping[str, object], file: Path, chain: tuple[str, ...]) -> Table:
    """The file's own raw table laid over what it inherited."""
    result = dict(base)
    for key, item in raw.items():
        here = (*chain, key)
        old = result.get(key)
        if isinstance(item, dict) and set(item) == {APPEND}:
            result[key] = _appended(old, item[APPEND], file, here)
        elif isinstance(item, dict):
            if isinstance(old, Leaf):
                raise BoardError(
                    f"{file}: {'.'.join(here)} is a table, but a value in {old.origin}"
                )
            result[key] = _apply(old or {}, item, file, here)
        else:
            if old is not None and not isinstance(old, Leaf):
                raise BoardError(
                    f"{file}: {'.'.join(here)} is a value, but a table in {first_file(old)}"
                )
            result[key] = _leaf(item, file, here)
    return result


def _appended(old: Leaf | Table | None, raw: object, file: Path, chain: tuple[str, ...]) -> Leaf:
    name = ".".join(chain)
    if not isinstance(raw, list):
        raise BoardError(f"{file}: {name}.{APPEND} must be a list, found {raw!r}")
    if not isinstance(old, Leaf) or not isinstance(old.value, tuple):
        raise BoardError(f"{file}: {name}.{APPEND} has no inherited list to append to")
    added = tuple(_leaf(item, file, (*chain, str(i))) for i, item in enumerate(raw))
    return Leaf(old.value + added, file)


def _merge(base: Table, over: Table, chain: tuple[str, ...]) -> Table:
    """A later parent laid over the earlier ones."""
    result = dict(base)
    for key, item in over.items():
        old = result.get(key)
        if isinstance(item, Leaf) or old is None:
            if old is not None and not isinstance(old, Leaf):
                raise _mixed((*chain, key), first_file(old), over)
            result[key] = item
        elif isinstance(old, Leaf):
            raise _mixed((*chain, key), first_file(item), {key: old})
        else:
            result[key] = _merge(old, item, (*chain, key))
    return result


def _mixed(chain: tuple[str, ...], table_file: Path | None, value: Table) -> BoardError:
    return BoardError(
        f"{'.'.join(chain)} is a table in {table_file}, but a value in {first_file(value)}"
    )
