"""Expressions as C99 for compilers whose int has 16 bits.

A sum of products of bytes is the same text as elsewhere: C computes each product in 16 bits, where
it fits, and the sum in 32, because one operand is an int32_t. Only where a value may leave 16 bits
and no operand is longer is the first one converted.
"""

from __future__ import annotations

from microtvm.codegen.c_expr import Bounds, CText, Elements, ExprPrinter, Support, exact
from microtvm.codegen.c_type import value_dtype
from microtvm.codegen.dialect import Dialect
from microtvm.tir.dtype import INT_BITS, dtype_range, is_float
from microtvm.tir.expr import (
    COMPARISON,
    LOGICAL,
    BinOp,
    Call,
    Cast,
    Expr,
    IntImm,
    Not,
    Param,
    Read,
    Select,
)
from microtvm.tir.intrinsic import Interval

INT: Interval = (-(1 << 15), (1 << 15) - 1)


class ShortIntPrinter(ExprPrinter):
    """An `ExprPrinter` that knows which texts C holds in an int. `short` has the variables that
    are no longer than one."""

    def __init__(
        self, bounds: Bounds, elements: Elements, support: Support, dialect: Dialect
    ) -> None:
        super().__init__(bounds, elements, support, dialect)
        self.short: set[Expr] = set()

    def text(self, node: Expr) -> CText:
        if node in self.names:
            return super().text(node)
        if isinstance(node, IntImm | Param) and value_dtype(node.dtype) == "uint32":
            return CText(f"UINT32_C({node.value})")
        result = super().text(node)
        # An uint16_t is not promoted to int, but to what has no sign.
        return self._convert("int32_t", result) if node.dtype == "uint16" else result

    def stored(self, node: Expr) -> str:
        if node.dtype == "uint16":
            return self._convert("uint16_t", self.text(node)).text
        return super().stored(node)

    def local_type(self, node: Expr) -> str:
        if value_dtype(node.dtype) != "int32" or not _fits(self._span(node)):
            self.short.discard(node)
            return super().local_type(node)
        self.short.add(node)
        return "int16_t"

    def local_value(self, node: Expr, value: Expr) -> str:
        text = self.text(value)
        if node in self.short and not self.is_short(value):
            text = self._convert("int16_t", text)
        return text.text

    def loop_head(self, var: Expr, begin: Expr, low: int, high: int) -> tuple[str, str]:
        if var.dtype != "int32" or not _fits((low, high)):
            return super().loop_head(var, begin, low, high)
        self.short.add(var)
        text = self.text(begin)
        return "int16_t", text.text if self.is_short(begin) else self._convert("int16_t", text).text

    def _first(self, node: BinOp, operand: Expr) -> CText:
        text = super()._first(node, operand)
        return self._convert("int32_t", text) if self._needs_conversion(node) else text

    def is_short(self, node: Expr) -> bool:
        """Whether C holds a node's text in an int."""
        if node in self.names:
            return node in self.short
        if isinstance(node, IntImm | Param):
            return value_dtype(node.dtype) == "int32" and _fits(_single(node.value))
        if node.dtype == "uint16" or value_dtype(node.dtype) != "int32":
            return False
        if isinstance(node, Read):
            return node.source.scope != "register" and node.dtype != "int32"
        if isinstance(node, Cast):
            if not self.is_silent(node) and (node.dtype == "bool" or self.wraps(node)):
                return True
            return self.is_short(node.value)
        if isinstance(node, Call):
            return False
        if isinstance(node, Select):
            return self.is_short(node.on_true) and self.is_short(node.on_false)
        if isinstance(node, Not):
            return True
        if isinstance(node, BinOp):
            return self._is_short_operation(node)
        return False

    def _is_short_operation(self, node: BinOp) -> bool:
        if node.op in COMPARISON or node.op in LOGICAL or node.dtype == "uint8":
            return True
        first = self.is_short(node.a) and not self._needs_conversion(node)
        if node.op == ">>":
            return first
        if node.op == "<<":
            return first and isinstance(node.b, IntImm) and _fits(_single(1 << node.b.value))
        if node.op in ("//", "%") and not self.is_plain_division(node):
            return first and self.is_shift(node)
        return first and self.is_short(node.b)

    def _needs_conversion(self, node: BinOp) -> bool:
        """Whether the operation may leave the int in which C would do it."""
        if value_dtype(node.dtype) != "int32" or not self.is_short(node.a):
            return False
        if node.op == ">>":
            known = self.bounds(node.b)
            return known is None or known[1] >= INT_BITS["int16"]
        if node.op == "//" and self.is_shift(node):
            assert isinstance(node.b, IntImm)
            return node.b.value >= 1 << INT_BITS["int16"]
        if node.op == "<<":
            if not isinstance(node.b, IntImm):
                return False  # it is shifted as uint32_t
            factor = 1 << node.b.value
            low, high = self._span(node.a)
            return _fits(_single(factor)) and not _fits((low * factor, high * factor))
        if not self.is_short(node.b):
            return False
        if node.op in ("+", "-", "*"):
            return not _fits(exact(node.op, self._span(node.a), self._span(node.b)))
        if node.op in ("//", "%", "tdiv", "tmod"):
            return self._span(node.a)[0] <= INT[0] and self._span(node.b)[0] < 0
        return False

    def _span(self, node: Expr) -> Interval:
        """An interval that the node's value is within."""
        known = self.bounds(node)
        if known is not None:
            return known
        whole = dtype_range(node.dtype) if not is_float(node.dtype) else INT
        if isinstance(node, Cast) and not is_float(node.value.dtype):
            inner = self._span(node.value)
            return inner if whole[0] <= inner[0] and inner[1] <= whole[1] else whole
        if isinstance(node, BinOp) and node.op in ("+", "-", "*"):
            found = exact(node.op, self._span(node.a), self._span(node.b))
            assert found is not None
            return found if whole[0] <= found[0] and found[1] <= whole[1] else whole
        if isinstance(node, Select):
            a, b = self._span(node.on_true), self._span(node.on_false)
            return min(a[0], b[0]), max(a[1], b[1])
        return whole


def _single(value: int) -> Interval:
    return value, value


def _fits(span: Interval | None) -> bool:
    return span is not None and INT[0] < span[0] and span[1] <= INT[1]
