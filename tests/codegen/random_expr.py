"""Random expressions that are valid for all inputs: each keeps its value within its dtype."""

from __future__ import annotations

import random
from dataclasses import dataclass

from microtvm.tir.dtype import INT_BITS, dtype_range
from microtvm.tir.expr import BinOp, Expr, FloatImm, IntImm, Not, Param, Read, Select, binary, cast
from microtvm.tir.intrinsic import call
from microtvm.tir.stmt import Buffer

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
SIGNED = INTEGERS[:4]


@dataclass(frozen=True)
class Ranged:
    """An integer expression and bounds of its value."""

    expr: Expr
    low: int
    high: int

    @property
    def dtype(self) -> str:
        return self.expr.dtype


class RandomExpr:
    """Grows expressions over buffers that are read at `index`; some nodes are used again."""

    def __init__(self, rng: random.Random, buffers: list[Buffer], index: Expr, extent: int) -> None:
        self.rng = rng
        self.by_dtype = {b.dtype: b for b in buffers}
        self.index = index
        self.extent = extent
        self.pool: dict[str, list[Ranged]] = {}
        self.floats: list[Expr] = []
        self.params = 0

    def any(self, dtype: str, depth: int) -> Expr:
        """An expression of the dtype."""
        if dtype == "bool":
            return self.condition(depth)
        return self.real(depth) if dtype == "float32" else self.integer(dtype, depth).expr

    def place(self) -> tuple[Expr, ...]:
        """The index, or a neighbour of it that a select keeps in bounds."""
        return (self.index,)

    # ---- integers ----

    def integer(self, dtype: str, depth: int) -> Ranged:
        known = self.pool.setdefault(dtype, [])
        if known and self.rng.random() < 0.25:
            return self.rng.choice(known)
        made = self.leaf(dtype) if depth <= 0 else self.inner(dtype, depth)
        known.append(made)
        return made

    def constant(self, dtype: str, low: int, high: int) -> Ranged:
        low, high = max(low, dtype_range(dtype)[0]), min(high, dtype_range(dtype)[1])
        value = self.rng.choice((low, high, self.rng.randint(low, high)))
        return Ranged(IntImm(value, dtype), value, value)

    def leaf(self, dtype: str) -> Ranged:
        kind = self.rng.randrange(8)
        if kind == 0:
            return self.constant(dtype, *dtype_range(dtype))
        if kind == 1:
            return self.constant(dtype, -9, 9)
        if kind == 2:
            self.params += 1
            value = self.rng.randint(max(-128, dtype_range(dtype)[0]), 127)
            return Ranged(Param(f"p{self.params}", value, dtype), value, value)
        if kind == 3:
            return Ranged(cast(dtype, self.index), 0, self.extent - 1)
        return Ranged(Read(self.by_dtype[dtype], self.place()), *dtype_range(dtype))

    def within(self, value: Ranged, low: int, high: int) -> Ranged:
        """The value brought into a range (that holds 0 or lies above it) in one of several ways."""
        low, high = max(low, dtype_range(value.dtype)[0]), min(high, dtype_range(value.dtype)[1])
        if low <= value.low and value.high <= high:
            return value
        way = self.rng.randrange(4)
        dtype = value.dtype
        if way == 0 and low <= 0 < high:
            limit = high + 1 if value.low >= 0 or low == 0 else min(high, -low) + 1
            if limit <= dtype_range(dtype)[1]:
                op = "tmod" if low < 0 else "%"
                expr = binary(op, value.expr, limit)
                return Ranged(expr, 0 if op == "%" else 1 - limit, limit - 1)
        if way == 1 and low < 0 < high:
            shift = 0
            while value.low >> shift < low or value.high >> shift > high:
                shift += 1
            if shift < INT_BITS[dtype]:
                expr = binary(">>", value.expr, shift)
                return Ranged(expr, value.low >> shift, value.high >> shift)
        expr = binary("max", binary("min", value.expr, high), low)
        return Ranged(expr, max(min(value.low, high), low), max(min(value.high, high), low))

    def inner(self, dtype: str, depth: int) -> Ranged:
        kind = self.rng.randrange(12)
        if kind < 5:
            return self.arithmetic(dtype, depth)
        if kind == 5:
            return self.division(dtype, depth)
        if kind == 6:
            return self.shift(dtype, depth)
        if kind == 7:
            return self.bitwise(dtype, depth)
        if kind == 8:
            return self.conversion(dtype, depth)
        if kind == 9 and dtype == "int32":
            return self.intrinsic(depth)
        if kind == 10:
            return self.guarded(dtype, depth)
        a, b = self.integer(dtype, depth - 1), self.integer(dtype, depth - 2)
        chosen = Select(self.condition(depth - 1), a.expr, b.expr)
        return Ranged(chosen, min(a.low, b.low), max(a.high, b.high))

    def arithmetic(self, dtype: str, depth: int) -> Ranged:
        op = self.rng.choice(("+", "-", "*", "min", "max"))
        a, b = self.integer(dtype, depth - 1), self.integer(dtype, depth - 1)
        low, high = dtype_range(dtype)
        if op in ("min", "max"):
            pick = min if op == "min" else max
            return Ranged(binary(op, a.expr, b.expr), pick(a.low, b.low), pick(a.high, b.high))
        if dtype[0] == "u" and self.rng.random() < 0.5:
            return Ranged(binary(op, a.expr, b.expr), low, high)
        bits = INT_BITS[dtype] // 2 - 1
        if op == "*":
            limit = 1 << bits
            a, b = self.within(a, -limit, limit), self.within(b, -limit, limit)
            ends = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        elif op == "+":
            a, b = self.within(a, low // 2, high // 2), self.within(b, low // 2, high // 2)
            ends = [a.low + b.low, a.high + b.high]
        else:
            a, b = self.within(a, low // 2, high // 2), self.within(b, low // 2, high // 2)
            ends = [a.low - b.high, a.high - b.low]
            if dtype[0] == "u":
                ends = [low, high]
        return Ranged(binary(op, a.expr, b.expr), min(ends), max(ends))

    def division(self, dtype: str, depth: int) -> Ranged:
        low, high = dtype_range(dtype)
        a = self.integer(dtype, depth - 1)
        op = self.rng.choice(("//", "%", "tdiv", "tmod"))
        kind = self.rng.randrange(4)
        if kind == 0:
            b = self.constant(dtype, 1, 16)
        elif kind == 1:
            power = 1 << self.rng.randrange(INT_BITS[dtype] - 1)
            b = Ranged(IntImm(power, dtype), power, power)
        elif kind == 2 and low < 0:
            b = self.constant(dtype, -16, -2)
        else:
            b = self.within(self.integer(dtype, depth - 1), 1, high)
        return Ranged(binary(op, a.expr, b.expr), low, high)

    def shift(self, dtype: str, depth: int) -> Ranged:
        low, high = dtype_range(dtype)
        bits = INT_BITS[dtype]
        a = self.integer(dtype, depth - 1)
        if self.rng.random() < 0.5:
            amount = self.constant(dtype, 0, bits - 1)
        else:
            amount = self.within(self.integer(dtype, depth - 2), 0, bits - 1)
        if self.rng.random() < 0.5:
            return Ranged(binary(">>", a.expr, amount.expr), min(a.low, 0), max(a.high, 0))
        if dtype[0] == "u":
            return Ranged(binary("<<", a.expr, amount.expr), low, high)
        most = self.rng.randrange(bits - 1)
        amount = self.within(amount, 0, most)
        a = self.within(a, low >> most, high >> most)
        ends = [x << y for x in (a.low, a.high) for y in (amount.low, amount.high)]
        return Ranged(binary("<<", a.expr, amount.expr), min(ends), max(ends))

    def bitwise(self, dtype: str, depth: int) -> Ranged:
        op = self.rng.choice(("&", "|", "^"))
        a, b = self.integer(dtype, depth - 1), self.integer(dtype, depth - 1)
        return Ranged(binary(op, a.expr, b.expr), *dtype_range(dtype))

    def conversion(self, dtype: str, depth: int) -> Ranged:
        low, high = dtype_range(dtype)
        source = self.rng.choice((*INTEGERS, "bool", "float32"))
        if source == "bool":
            return Ranged(cast(dtype, self.condition(depth - 1)), 0, 1)
        if source == "float32":
            limit = min(1 << 20, high)
            value = self.real(depth - 1)
            number = Select(binary("==", value, value), value, FloatImm(0.0))
            floor = 0 if low == 0 else -limit
            clipped = binary("min", binary("max", number, float(floor)), float(limit))
            return Ranged(cast(dtype, clipped), floor, limit)
        value = self.integer(source, depth - 1)
        if low == 0 and INT_BITS[dtype] >= INT_BITS[source]:
            fits = value.low >= 0
            return Ranged(
                cast(dtype, value.expr), *((value.low, value.high) if fits else (low, high))
            )
        value = self.within(value, low, high)
        return Ranged(cast(dtype, value.expr), value.low, value.high)

    def intrinsic(self, depth: int) -> Ranged:
        def argument(low: int, high: int) -> Expr:
            if self.rng.random() < 0.4:
                return self.constant("int32", low, high).expr
            return self.within(self.integer("int32", depth - 1), low, high).expr

        low, high = dtype_range("int32")
        name = self.rng.choice(
            (
                *("clz", "saturate8", "srdhm", "rdbp"),
                *("requantize", "requantize_right", "requantize_once"),
            )
        )
        if name == "clz":
            source = self.rng.choice(("int32", "uint32"))
            return Ranged(call(name, self.integer(source, depth - 1).expr), 0, 32)
        first = argument(low, high)
        if name == "saturate8":
            return Ranged(call(name, first), -128, 127)
        if name == "srdhm":
            return Ranged(call(name, first, argument(low, high)), low, high)
        if name == "rdbp":
            return Ranged(call(name, first, argument(0, 31)), low, high)
        if name == "requantize_right":
            return Ranged(call(name, first, argument(0, high), argument(-31, 0)), low, high)
        most = self.rng.randrange(30)
        first = argument(low >> most, high >> most)
        return Ranged(call(name, first, argument(0, high), argument(-31, most)), low, high)

    def guarded(self, dtype: str, depth: int) -> Ranged:
        """What may be evaluated only where the condition holds: a quotient by what may be zero."""
        low, high = dtype_range(dtype)
        a, b = self.integer(dtype, depth - 1), self.integer(dtype, depth - 1)
        if dtype[0] == "i":
            b = self.within(b, 0, high)
        quotient = binary(self.rng.choice(("//", "tdiv")), a.expr, b.expr)
        used = binary(self.rng.choice(("&", "|")), quotient, binary("^", quotient, a.expr))
        other = self.integer(dtype, depth - 2)
        return Ranged(Select(binary("!=", b.expr, 0), used, other.expr), low, high)

    # ---- conditions and floats ----

    def condition(self, depth: int) -> Expr:
        kind = self.rng.randrange(8)
        if depth <= 0 or kind == 0:
            return Read(self.by_dtype["bool"], self.place())
        if kind == 1:
            return Not(self.condition(depth - 1))
        if kind == 2:
            op = self.rng.choice(("and", "or", "&", "|", "^", "==", "!="))
            return binary(op, self.condition(depth - 1), self.condition(depth - 1))
        op = self.rng.choice(("==", "!=", "<", "<=", ">", ">="))
        if kind == 3:
            return BinOp(op, self.real(depth - 1), self.real(depth - 1))
        dtype = self.rng.choice(INTEGERS)
        if kind == 4:
            return binary(
                op, self.integer(dtype, depth - 1).expr, self.constant(dtype, -300, 300).expr
            )
        return binary(op, self.integer(dtype, depth - 1).expr, self.integer(dtype, depth - 1).expr)

    def real(self, depth: int) -> Expr:
        if self.floats and self.rng.random() < 0.25:
            return self.rng.choice(self.floats)
        made = self.new_real(depth)
        self.floats.append(made)
        return made

    def new_real(self, depth: int) -> Expr:
        kind = self.rng.randrange(8)
        if depth <= 0 or kind == 0:
            if self.rng.random() < 0.3:
                special = (0.0, -0.0, 0.1, 1.5, -3e38, 1e-45, float("inf"), 16777217.0)
                return FloatImm(self.rng.choice(special))
            return Read(self.by_dtype["float32"], self.place())
        if kind == 1:
            return cast("float32", self.integer(self.rng.choice(INTEGERS), depth - 1).expr)
        if kind == 2:
            return call(
                self.rng.choice(("sqrt", "floor", "abs", "round_away")), self.real(depth - 1)
            )
        if kind == 3:
            return Select(self.condition(depth - 1), self.real(depth - 1), self.real(depth - 2))
        if kind == 4:
            wide = cast("float64", self.real(depth - 1))
            return cast("float32", binary("*", wide, self.rng.random()))
        op = self.rng.choice(("+", "-", "*", "/", "min", "max"))
        return binary(op, self.real(depth - 1), self.real(depth - 1))
