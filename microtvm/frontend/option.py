"""The builtin options of one operator, by name, with a record of what was read.

An option that has another value than its default and that nobody read means something that the
importer does not know. That, and not the operator's version number, is how a file asks for
something too new.
"""

from __future__ import annotations

import struct
from typing import Any

import tflite

from microtvm.errors import ModelError
from microtvm.frontend.flatbuffer import table_fields

OptionValue = bool | int | float | tuple[int, ...]

_EMPTY_TABLE = struct.pack("<HHi", 4, 4, 4)
"""A vtable without fields, and at byte 4 a table that uses it: every field reads as its default."""
_UNIONS = {
    name: code for name, code in vars(tflite.BuiltinOptions).items() if isinstance(code, int)
}


class Options:
    """A table of options, such as Conv2DOptions, of an operator of a file that was checked."""

    def __init__(self, data: bytes, kind: str, union: int, table: Any) -> None:
        """`kind` is the table's name in the schema, `union` and `table` what the operator has.

        ModelError where the operator has options of another kind, or an option that the schema
        lacks.
        """
        self._kind = kind
        self._read: set[str] = set()
        self._values: dict[str, OptionValue] = {}
        self._defaults: dict[str, OptionValue] = {}
        self.present = table is not None and union != 0
        if not self.present or not kind:
            return
        if union != _UNIONS[kind]:
            raise ModelError(f"its options are not {kind} but of kind {union}")
        reader = getattr(tflite, kind)
        names = _fields(reader)
        found, default = reader(), reader()
        found.Init(data, table.Pos)
        default.Init(_EMPTY_TABLE, 4)
        if any(table_fields(data, table.Pos)[len(names) :]):
            raise ModelError(f"{kind} has an option that is newer than this program")
        try:
            self._values = {name: _value(found, name) for name in names}
        except (struct.error, ValueError, TypeError, OverflowError) as error:
            raise ModelError(f"its {kind} are damaged: {error}") from error
        self._defaults = {name: _value(default, name) for name in names}

    def __getitem__(self, name: str) -> OptionValue:
        if not self.present:
            raise ModelError(f"has no {self._kind}")
        self._read.add(name)
        return self._values[name]

    def unread(self) -> dict[str, OptionValue]:
        """Options with another value than their default that were never asked for."""
        return {
            name: value
            for name, value in self._values.items()
            if name not in self._read and value != self._defaults[name]
        }


def _fields(reader: type) -> list[str]:
    """The accessors of a generated class, in the schema's order: one a field."""
    helpers = ("Init", "GetRootAs")
    suffixes = ("Length", "AsNumpy", "IsNone", "BufferHasIdentifier")
    return [
        name
        for name in vars(reader)
        if name[0].isupper() and not name.startswith(helpers) and not name.endswith(suffixes)
    ]


def _value(table: Any, name: str) -> OptionValue:
    if not hasattr(table, f"{name}Length"):
        value = getattr(table, name)()
        assert isinstance(value, bool | int | float), f"{name} is {value!r}"
        return value
    if getattr(table, f"{name}Length")() == 0:
        return ()
    return tuple(int(v) for v in getattr(table, f"{name}AsNumpy")())
