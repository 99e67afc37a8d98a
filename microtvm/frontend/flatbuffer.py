"""Whether a .tflite file is a flatbuffer of the shape that will be read from it.

Package `tflite` reads lazily and trusts every offset. This walks the tables first, as the Verifier
of the flatbuffers library does: each offset, table, vtable, vector and string lies inside the file.
What is not described here is never read. The layout is the flatbuffers' internals
(flatbuffers.dev/internals), the tables and their field numbers those of TFLite's schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from microtvm.errors import ModelError

IDENTIFIER = b"TFL3"
MAX_TABLES = 200_000
"""More tables than any model has that fits a microcontroller: bounds the time for a file made to be
slow.
"""


@dataclass(frozen=True)
class _Field:
    """What a field's offset points to. `size` in bytes: of a scalar, or of a vector's elements."""

    kind: str
    size: int = 0
    table: str = ""


def _scalar(size: int) -> _Field:
    return _Field("scalar", size)


def _vector(size: int) -> _Field:
    return _Field("vector", size)


def _tables(name: str) -> _Field:
    return _Field("tables", 4, name)


_STRING = _vector(1)

_SCHEMA: Mapping[str, Mapping[int, _Field]] = {
    "Model": {
        0: _scalar(4), 1: _tables("OperatorCode"), 2: _tables("SubGraph"), 3: _STRING,
        4: _tables("Buffer"),
    },
    "OperatorCode": {0: _scalar(1), 1: _STRING, 2: _scalar(4), 3: _scalar(4)},
    "Buffer": {0: _vector(1), 1: _scalar(8), 2: _scalar(8)},
    "SubGraph": {
        0: _tables("Tensor"), 1: _vector(4), 2: _vector(4), 3: _tables("Operator"), 4: _STRING,
    },
    "Tensor": {
        0: _vector(4), 1: _scalar(1), 2: _scalar(4), 3: _STRING,
        4: _Field("table", 4, "Quantization"), 5: _scalar(1), 6: _Field("table", 4, "Opaque"),
        7: _vector(4), 8: _scalar(1),
    },
    "Quantization": {
        0: _vector(4), 1: _vector(4), 2: _vector(4), 3: _vector(8), 4: _scalar(1),
        5: _Field("table", 4, "Opaque"), 6: _scalar(4),
    },
    "Operator": {
        0: _scalar(4), 1: _vector(4), 2: _vector(4), 3: _scalar(1),
        4: _Field("table", 4, "Opaque"), 6: _scalar(1),
    },
    "Opaque": {},
}  # fmt: skip


def check_flatbuffer(data: bytes) -> None:
    """Raise ModelError, which says what is damaged and at which byte, unless `data` is sound."""
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise ModelError(
            "not a TensorFlow Lite model: the identifier TFL3 is missing",
            hint="give a .tflite file, as TFLiteConverter writes it",
        )
    _Walk(data).table(_read(data, "<I", 0), "Model")


def table_fields(data: bytes, position: int) -> tuple[int, ...]:
    """Offsets of a table's fields in the file, 0 where absent; ModelError where it is unsound."""
    vtable = position - _read(data, "<i", position)
    vtable_bytes = _read(data, "<H", vtable)
    table_bytes = _read(data, "<H", vtable + 2)
    if vtable_bytes < 4 or vtable_bytes % 2 or vtable + vtable_bytes > len(data):
        raise _damaged(f"a table's layout of {vtable_bytes} bytes", vtable)
    if table_bytes < 4 or position + table_bytes > len(data):
        raise _damaged(f"a table of {table_bytes} bytes", position)
    offsets = struct.unpack_from(f"<{vtable_bytes // 2 - 2}H", data, vtable + 4)
    if any(offset >= table_bytes for offset in offsets):
        raise _damaged("a table with a field outside it", position)
    return tuple(offset and position + offset for offset in offsets)


class _Walk:
    """One pass over a file. Tables that are pointed to from several places are looked at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._seen: set[tuple[int, str]] = set()

    def table(self, position: int, name: str) -> None:
        if (position, name) in self._seen:
            return
        self._seen.add((position, name))
        if len(self._seen) > MAX_TABLES:
            raise ModelError(f"the file has more than {MAX_TABLES} tables")
        offsets = table_fields(self._data, position)
        for index, field in _SCHEMA[name].items():
            if index < len(offsets) and offsets[index]:
                self._field(offsets[index], field)

    def _field(self, position: int, field: _Field) -> None:
        if field.kind == "scalar":
            if position + field.size > len(self._data):
                raise _damaged(f"a number of {field.size} bytes", position)
            return
        target = position + _read(self._data, "<I", position)
        if field.kind == "table":
            self.table(target, field.table)
            return
        count = _read(self._data, "<I", target)
        if target + 4 + count * field.size > len(self._data):
            raise _damaged(f"a vector of {count} elements of {field.size} bytes", target)
        if field.kind == "tables":
            for i in range(count):
                place = target + 4 + 4 * i
                self.table(place + _read(self._data, "<I", place), field.table)


def _read(data: bytes, form: str, position: int) -> int:
    if not 0 <= position <= len(data) - struct.calcsize(form):
        raise _damaged("an offset", position)
    return int(struct.unpack_from(form, data, position)[0])


def _damaged(what: str, position: int) -> ModelError:
    return ModelError(
        f"the file is damaged: {what} at byte {position} leads outside the file",
        hint="it may be truncated: copy or convert it again",
    )
