"""Takes typed values out of a merged table; what nobody took is an unknown key."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from microtvm.errors import BoardError
from microtvm.target.document import Leaf, Scalar, Table, near


class Reader:
    """One table. Every method marks its key as known; `finish` complains about the rest."""

    def __init__(self, table: Table, file: Path, chain: str = "") -> None:
        self._table = table
        self._file = file
        self._chain = chain
        self._known: list[str] = []

    def where(self, key: str) -> str:
        """`file: key.chain`, for messages."""
        item = self._table.get(key)
        origin = item.origin if isinstance(item, Leaf) else self._file
        return f"{origin}: {self._chain}{key}"

    def has(self, key: str) -> bool:
        """Whether the key is there, as a value or a table."""
        return key in self._table

    def text(self, key: str, default: str | None = None) -> str:
        """A non-empty string; required without a default."""
        leaf = self._leaf(key, required=default is None)
        if leaf is None:
            return default or ""
        if not isinstance(leaf.value, str) or not leaf.value:
            raise self._wrong(key, "a non-empty string", leaf)
        return leaf.value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        leaf = self._leaf(key, required=False)
        if leaf is None:
            return default
        if not isinstance(leaf.value, bool):
            raise self._wrong(key, "true or false", leaf)
        return leaf.value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """An integer of [low, high]; required without a default."""
        leaf = self._leaf(key, required=default is None)
        if leaf is None:
            assert default is not None
            return default
        value = leaf.value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, f"an integer from {low} to {high}", leaf)
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of strings, none of them empty or blank; required without a default."""
        leaf = self._leaf(key, required=default is None)
        if leaf is None:
            return default or ()
        if not isinstance(leaf.value, tuple):
            raise self._wrong(key, "a list of strings", leaf)
        items = [item.value for item in leaf.value]
        if not all(isinstance(item, str) for item in items):
            raise self._wrong(key, "a list of strings", leaf)
        if not all(str(item).strip() for item in items):
            raise BoardError(f"{self.where(key)} has an empty string")
        return tuple(str(item) for item in items)

    def one_of(self, key: str, known: Iterable[str]) -> str:
        """A string out of `known`."""
        value = self.text(key)
        choices = sorted(known)
        if value not in choices:
            raise BoardError(f"{self.where(key)} is {value!r}", hint=near(value, choices))
        return value

    def some_of(self, key: str, known: Iterable[str]) -> tuple[str, ...]:
        """A list of different strings out of `known`."""
        values = self.texts(key)
        choices = sorted(known)
        for position, value in enumerate(values):
            if value not in choices:
                raise BoardError(f"{self.where(key)} has {value!r}", hint=near(value, choices))
            if value in values[:position]:
                raise BoardError(f"{self.where(key)} has {value!r} twice")
        return values

    def names(self) -> tuple[str, ...]:
        """The names in the table, in the files' order; none of them is marked."""
        return tuple(self._table)

    def scalar(self, key: str) -> Scalar:
        """A plain value of any kind; required."""
        leaf = self._leaf(key, required=True)
        assert leaf is not None
        if isinstance(leaf.value, tuple):
            raise BoardError(f"{self.where(key)} must be a plain value")
        return leaf.value

    def scalars(self, key: str) -> tuple[tuple[str, Scalar], ...]:
        """A flat table of values under names of the writer's choice; empty if absent."""
        self._known.append(key)
        item = self._table.get(key, {})
        if isinstance(item, Leaf):
            raise self._wrong(key, "a table", item)
        result: list[tuple[str, Scalar]] = []
        for name, leaf in item.items():
            if not isinstance(leaf, Leaf) or isinstance(leaf.value, tuple):
                raise BoardError(f"{self._file}: {self._chain}{key}.{name} must be a plain value")
            result.append((name, leaf.value))
        return tuple(result)

    def table(self, key: str) -> Reader | None:
        """The reader of a table inside, None if absent."""
        self._known.append(key)
        item = self._table.get(key)
        if item is None:
            return None
        if isinstance(item, Leaf):
            raise self._wrong(key, "a table", item)
        return Reader(item, self._file, f"{self._chain}{key}.")

    def tables(self, key: str) -> list[tuple[str, Reader]]:
        """The tables inside a table of tables by name, in the files' order; empty if absent."""
        outer = self.table(key)
        if outer is None:
            return []
        result = []
        for name in outer._table:
            inner = outer.table(name)
            assert inner is not None
            result.append((name, inner))
        return result

    def finish(self) -> None:
        """BoardError if there is a key that no method asked for."""
        for key, item in self._table.items():
            if key not in self._known:
                file = item.origin if isinstance(item, Leaf) else self._origin(item)
                raise BoardError(
                    f"{file}: {self._chain}{key} is not a key known here",
                    hint=near(key, sorted(self._known)),
                )

    def _origin(self, table: Table) -> Path:
        for item in table.values():
            return item.origin if isinstance(item, Leaf) else self._origin(item)
        return self._file

    def _leaf(self, key: str, *, required: bool) -> Leaf | None:
        self._known.append(key)
        item = self._table.get(key)
        if item is None:
            if required:
                typos = get_close_matches(key, list(self._table), n=1)
                raise BoardError(
                    f"{self._file}: {self._chain}{key} is missing",
                    hint=f"is {typos[0]} a misspelling of it?" if typos else "",
                )
            return None
        if not isinstance(item, Leaf):
            raise BoardError(f"{self.where(key)} must be a value, found a table")
        return item

    def _wrong(self, key: str, wanted: str, leaf: Leaf) -> BoardError:
        value = leaf.value
        found = [item.value for item in value] if isinstance(value, tuple) else value
        return BoardError(f"{leaf.origin}: {self._chain}{key} must be {wanted}, found {found!r}")
