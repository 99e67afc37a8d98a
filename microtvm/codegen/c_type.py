"""How dtypes, constants, names, comments and lists are spelled in C99."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from microtvm.errors import IRError
from microtvm.tir.dtype import INT_BITS, is_float

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while bool true false asm typeof linux unix
"""
_RESERVED = frozenset(_KEYWORDS.split())

COLUMNS = 100
"""Where lists of parameters and locals are broken."""

WRAPPED = ("uint8", "uint16")
"""Unsigned dtypes that C promotes to a signed int, so that wrapping has to be written."""


def storage_type(dtype: str) -> str:
    """The type of an array's elements; a bool is a byte of 0 or 1."""
    if is_float(dtype):
        return "float" if dtype == "float32" else "double"
    return "uint8_t" if dtype == "bool" else f"{dtype}_t"


def value_dtype(dtype: str) -> str:
    """The dtype of the arithmetic: what C promotes to int is held in 32 bits."""
    narrow = dtype == "bool" or (not is_float(dtype) and INT_BITS[dtype] < 32)
    return "int32" if narrow else dtype


def value_type(dtype: str) -> str:
    """The type of a local variable that holds a value of `dtype`."""
    return storage_type(value_dtype(dtype))


def integer_literal(value: int, dtype: str) -> str:
    """A constant of the value dtype; negative ones start with a minus sign."""
    if dtype == "uint32":
        return f"{value}u"
    if dtype == "uint64":
        return f"UINT64_C({value})"
    if dtype == "int64":
        if value == -(1 << 63):
            return "INT64_MIN"
        return f"-INT64_C({-value})" if value < 0 else f"INT64_C({value})"
    return "INT32_MIN" if value == -(1 << 31) else str(value)


def float_literal(value: float, dtype: str) -> str:
    """A constant that reads back as exactly `value`; infinities and NaN as the macros of math.h."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    if dtype == "float32":
        return f"{np.float32(value)!s}f"
    return repr(value)


def c_identifier(name: str) -> str:
    """A C identifier that resembles `name`."""
    if not name:
        raise IRError("a name is empty")
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    if plain[0].isdigit() or plain in _RESERVED or plain.startswith("_"):
        plain = f"v{plain}" if plain[0].isdigit() or plain[0] == "_" else f"{plain}_"
    return plain


def comment(notes: Sequence[str]) -> list[str]:
    """Lines of a C comment; none for no notes."""
    lines = [note.replace("*/", "* /").replace("/*", "/ *") for note in notes]
    if not lines:
        return []
    if len(lines) == 1:
        return [f"/* {lines[0]} */"]
    return [f"/* {lines[0]}", *(f"   {line}" for line in lines[1:-1]), f"   {lines[-1]} */"]


def wrapped(head: str, parts: Sequence[str], tail: str = ")") -> list[str]:
    """head, the parts with commas between them, tail; broken to COLUMNS and indented."""
    lines = []
    line = head
    indent = (
        " " * len(head) if len(head) < COLUMNS // 2 else " " * (len(head) - len(head.lstrip()) + 8)
    )
    for i, part in enumerate(parts):
        piece = part + ("," if i + 1 < len(parts) else tail)
        if line.strip() and line not in (head, indent) and len(line) + 1 + len(piece) > COLUMNS:
            lines.append(line)
            line = indent
        line += piece if line in (head, indent) else f" {piece}"
    return [*lines, line]
