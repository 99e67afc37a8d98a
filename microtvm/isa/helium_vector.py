"""Element-wise expressions as Helium instructions: four elements in 32 bits, registers allocated.

Every kind of node has its instructions; an expression with any other is `Unsupported`. Rows that
read the same vectors (a channel's bias, multiplier and shift) share them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from microtvm.te.layout import strides_of
from microtvm.te.tensor import IterVar, Tensor
from microtvm.tir.expr import BinOp, Call, Cast, Expr, IntImm, Param, Read
from microtvm.tir.simplify import Linear
from microtvm.tir.traversal import post_order

REGISTERS = 8
"""q0 to q7."""
LOADS = {
    "int8": ("vldrb.s32", 4), "uint8": ("vldrb.u32", 4),
    "int16": ("vldrh.s32", 8), "int32": ("vldrw.32", 16),
}  # fmt: skip
STORES = {"int8": ("vstrb.32", 4), "int16": ("vstrh.32", 8), "int32": ("vstrw.32", 16)}
BINARY = {"+": "vadd.i32", "-": "vsub.i32", "*": "vmul.i32", "min": "vmin.s32", "max": "vmax.s32"}
FARTHEST = 508
"""The largest immediate offset of a gathering VLDRW, in bytes."""
SATURATE = ("saturate8", "saturate8_shift")
TAKE_SCALAR = ("+", "-", "*")
"""Operators whose second operand may be a core register."""


class Unsupported(Exception):
    """The expression can't be computed here."""


@dataclass(frozen=True, eq=False)
class Value:
    """What a node became: a vector, or, where `number` is not empty, a number as C text."""

    number: str = ""


@dataclass(frozen=True, eq=False)
class Step:
    """One instruction: `text` has {} for the register of `made`, if any, then of each in `used`.

    With `changes`, `made` takes the register of the first in `used`, which the text has once.
    """

    text: str
    made: Value | None
    used: tuple[Value, ...]
    changes: bool = False


@dataclass(frozen=True)
class Access:
    """How an operand is read: `own` rows for each of the tile's, or one for all.

    A `packed` one has the rows' elements of one column side by side, then those of the next.
    """

    own: bool
    packed: bool


class Vectors:
    """The instructions of an expression over rows of elements.

    `body` is the value at (rows.., column); its other variables are of loops around. `operands` are
    its reads: the pointer of the k-th is `a<k>`, or `a<k>_<row>` where it has rows of its own;
    those of the output are `y_<row>`. Reads of the tensors `packed` are gathered. `parameters` are
    the numbers, p0 and on; `scalars` has the core registers by the C text of what they hold.
    """

    def __init__(
        self,
        body: Expr,
        rows: Sequence[IterVar],
        column: IterVar,
        count: int,
        packed: Collection[Tensor] = (),
    ) -> None:
        if body.dtype not in STORES:
            raise Unsupported
        self.rows, self.column, self.count, self.packed = tuple(rows), column, count, packed
        self.operands: dict[Read, Access] = {}
        self.parameters: dict[Expr, str] = {}
        self.scalars: dict[str, str] = {}
        self._before: list[Step] = []
        self._loop: list[Step] = []
        self._made: dict[tuple[Expr | Value, int], Value] = {}
        self._spread: dict[str, Value] = {}
        self.parents: Counter[Expr] = Counter()
        self._collect(body)
        for r in range(count):
            store, step = STORES[body.dtype]
            self._loop.append(
                Step(f"{store} {{}}, [%[y_{r}]], #{step}", None, (self._root(body, r),))
            )
        self.before, self.loop = allocate(self._before, self._loop)

    def _collect(self, body: Expr) -> None:
        for node in post_order(body):
            self.parents.update(node.children())
            if isinstance(node, Param) and node.dtype == "int32":
                self.parameters.setdefault(node, f"p{len(self.parameters)}")
            if isinstance(node, Read):
                strides = strides_of(node.source.shape)
                steps = [
                    sum(_step(i, axis) * n for i, n in zip(node.indices, strides, strict=True))
                    for axis in (*self.rows, self.column)
                ]
                packed = node.source in self.packed
                if node.dtype not in LOADS or not (packed or steps[-1] == 1):
                    raise Unsupported
                self.operands[node] = Access(packed or any(steps[:-1]), packed)

    # ---- nodes ----

    def _root(self, body: Expr, row: int) -> Value:
        value = body
        if isinstance(body, Cast) and body.value.dtype == "int32":
            value = body.value
        if isinstance(value, Call) and value.name in SATURATE and body.dtype == "int8":
            # Only the lowest byte of each lane is stored: the others may be anything.
            inner = self.vector(self.emit(value.args[0], row))
            if value.name == "saturate8_shift":
                inner = self._shifted(inner, value.args[1])
            return self.change("vqmovnb.s16 {0}, {0}", self.change("vqmovnb.s32 {0}, {0}", inner))
        return self.vector(self.emit(value, row))

    def emit(self, node: Expr, row: int) -> Value:
        """The node's value in one row; what is the same in all rows is made once."""
        own = any(self.operands[n].own for n in post_order(node) if isinstance(n, Read))
        key = (node, row if own else -1)
        if key not in self._made:
            self._made[key] = self._instructions(node, key[1])
        return self._made[key]

    def _instructions(self, node: Expr, row: int) -> Value:
        if isinstance(node, IntImm) and node.dtype == "int32":
            return Value(str(node.value))
        if node in self.parameters:
            return Value(self.parameters[node])
        if isinstance(node, Cast) and isinstance(node.value, Read) and node.dtype == "int32":
            return self.emit(node.value, row)
        if isinstance(node, Cast) and isinstance(node.value, Cast) and node.dtype == "int32":
            # What is narrowed fits: widened again, it is what it was.
            return self.emit(node.value.value, row)
        if isinstance(node, Read):
            return self._load(node, row)
        if isinstance(node, BinOp) and node.dtype == "int32":
            return self._binary(node, row)
        if isinstance(node, Call) and node.name in CALLS:
            return CALLS[node.name](self, *[self.emit(a, row) for a in node.args])
        raise Unsupported

    def _load(self, node: Read, row: int) -> Value:
        load, step = LOADS[node.dtype]
        k, access = list(self.operands).index(node), self.operands[node]
        if not access.packed:
            pointer = f"a{k}{f'_{row}' if row >= 0 else ''}"
            return self.make(f"{load} {{}}, [%[{pointer}]], #{step}")
        far = 4 * step * self.count // 4
        if node.dtype != "int32" or far > FARTHEST:
            raise Unsupported
        name = f"(uintptr_t)a{k} - {far}u"
        if name not in self._spread:
            # The addresses of four columns, one iteration before the first.
            made = self._spread[name] = Value()
            lines = (
                "mov lr, #0", "vidup.u32 {0}, lr, #1", f"mov lr, #{far // 4}",
                "vmul.i32 {0}, {0}, lr",
                f"vadd.i32 {{0}}, {{0}}, {self.scalar(name)}",
            )  # fmt: skip
            self._before.append(Step("\n".join(lines), made, ()))
        place = f"{far}]!" if row == 0 else f"{4 * row}]"
        return self.make(f"vldrw.u32 {{}}, [{{}}, #{place}", self._spread[name])

    def _binary(self, node: BinOp, row: int) -> Value:
        a = self.emit(node.a, row)
        factor = self._factor(node.b, row) if node.op == "+" and not a.number else None
        if factor is not None and self.parents[node.a] == 1:
            return self.change(
                f"vmla.s32 {{0}}, {{1}}, {self.scalar(factor[1].number)}", a, factor[0]
            )
        b = self.emit(node.b, row)
        if node.op in ("<<", ">>") and isinstance(node.b, IntImm):
            name = "vshl.i32" if node.op == "<<" else "vshr.s32"
            return self.make(f"{name} {{}}, {{}}, #{node.b.value}", self.vector(a))
        if node.op not in BINARY:
            raise Unsupported
        if node.op in ("+", "*") and a.number:
            a, b = b, a
        return self.apply(BINARY[node.op], a, b, scalar=node.op in TAKE_SCALAR)

    def _shifted(self, value: Value, shift: Expr) -> Value:
        if not isinstance(shift, IntImm):
            raise Unsupported
        return self.make(f"vshr.s32 {{}}, {{}}, #{shift.value}", value) if shift.value else value

    def _factor(self, node: Expr, row: int) -> tuple[Value, Value] | None:
        """The vector and the number of a product that only its reader needs; None for others."""
        if not isinstance(node, BinOp) or node.op != "*" or self.parents[node] != 1:
            return None
        for number, other in ((node.a, node.b), (node.b, node.a)):
            if isinstance(number, IntImm) or number in self.parameters:
                return self.vector(self.emit(other, row)), self.emit(number, row)
        return None

    # ---- instructions ----

    def make(self, text: str, *used: Value) -> Value:
        """An instruction that makes a new vector."""
        made = Value()
        self._loop.append(Step(text, made, used))
        return made

    def change(self, text: str, value: Value, *used: Value) -> Value:
        """An instruction that overwrites a vector, which nobody else may need."""
        made = Value()
        self._loop.append(Step(text, made, (value, *used), changes=True))
        return made

    def apply(self, name: str, a: Value, b: Value, *, scalar: bool = True) -> Value:
        """An instruction of two operands; the second may be a core register if `scalar`."""
        if scalar and b.number:
            return self.make(f"{name} {{}}, {{}}, {self.scalar(b.number)}", self.vector(a))
        return self.make(f"{name} {{}}, {{}}, {{}}", self.vector(a), self.vector(b))

    def shift(self, name: str, value: Value, by: Value) -> Value:
        """A shift of a vector that nobody else needs, by a vector or by a number."""
        if by.number:
            return self.change(f"{name} {{}}, {self.scalar(by.number)}", value)
        return self.change(f"{name} {{0}}, {{0}}, {{1}}", value, by)

    def scalar(self, text: str) -> str:
        """The operand of a core register that holds a number."""
        return f"%[{self.scalars.setdefault(text, f's{len(self.scalars)}')}]"

    def vector(self, value: Value) -> Value:
        """The value as a vector: a number in all lanes of a register that keeps it."""
        if not value.number:
            return value
        if value.number not in self._spread:
            made = self._spread[value.number] = Value()
            text = _immediate(value.number) or f"vdup.32 {{}}, {self.scalar(value.number)}"
            self._before.append(Step(text, made, ()))
        return self._spread[value.number]

    def complement(self, value: Value) -> Value:
        """~value: a shift to the left by it is one to the right by value + 1."""
        if value.number:
            return Value(f"~{value.number}")
        key = (value, 0)
        if key not in self._made:
            self._made[key] = self.make("vmvn {}, {}", value)
        return self._made[key]


def _immediate(number: str) -> str:
    """The instruction that spreads a small number; '' where there is none."""
    value = int(number) if number.lstrip("-").isdigit() else None
    if value is None or not -256 <= value < 256:
        return ""
    return f"vmov.i32 {{}}, #{value}" if value >= 0 else f"vmvn.i32 {{}}, #{~value}"


def _step(index: Expr, axis: IterVar) -> int:
    """What one step along the axis adds to an index; Unsupported where that is not constant."""
    linear = Linear.of(index)
    step = linear.terms.pop(axis.var, 0)
    if any(node is axis.var for atom in linear.terms for node in post_order(atom)):
        raise Unsupported
    return step


def _narrow(v: Vectors, value: Value, mult: Value, shift: Value, zero: Value) -> Value:
    high = v.apply("vqrdmulh.s32", value, mult)
    # high + (high >> 31): halves below zero are rounded down, away from zero.
    high = v.change(f"vqdmlah.s32 {{0}}, {{0}}, {v.scalar('1')}", high)
    return _plus(v, v.shift("vrshl.s32", high, v.complement(shift)), zero)


def _up(v: Vectors, value: Value, mult: Value, shift: Value, zero: Value) -> Value:
    high = v.apply("vqrdmulh.s32", value, mult)
    return _plus(v, v.shift("vrshl.s32", high, v.complement(shift)), zero)


def _floor(v: Vectors, value: Value, mult: Value, shift: Value, zero: Value) -> Value:
    high = v.apply("vqdmulh.s32", value, mult)
    return _plus(v, v.shift("vrshl.s32", high, v.complement(shift)), zero)


def _right(v: Vectors, value: Value, mult: Value, exponent: Value) -> Value:
    high = v.apply("vqrdmulh.s32", value, mult)
    # One less where it is below zero and the shift is not 0: halves away from zero.
    below = v.apply("vand", high, exponent, scalar=False)
    high = v.apply("vqadd.s32", high, v.change("vshr.s32 {0}, {0}, #31", below))
    return v.shift("vrshl.s32", high, exponent)


def _any(v: Vectors, value: Value, mult: Value, exponent: Value) -> Value:
    zero = v.vector(Value("0"))
    left = v.apply("vmax.s32", exponent, zero, scalar=False)
    scaled = v.make("vshl.s32 {}, {}, {}", v.vector(value), left)
    return _right(v, scaled, mult, v.apply("vmin.s32", exponent, zero, scalar=False))


def _saturate8(v: Vectors, value: Value) -> Value:
    high = v.apply("vmax.s32", value, Value("-128"), scalar=False)
    return v.apply("vmin.s32", high, Value("127"), scalar=False)


def _plus(v: Vectors, value: Value, offset: Value) -> Value:
    return value if offset.number == "0" else v.apply("vadd.i32", value, offset)


CALLS: dict[str, Callable[..., Value]] = {
    "requantize": _any,
    "requantize_right": _right,
    "requantize_narrow": _narrow,
    "requantize_up": _up,
    "requantize_floor": _floor,
    "saturate8": _saturate8,
}
"""How the functions of exact meaning (tir/intrinsic.py) are computed."""


def allocate(before: list[Step], loop: list[Step]) -> tuple[list[str], list[str]]:
    """The instructions with registers: what is made before the loop keeps its own.

    Raises Unsupported where eight do not suffice.
    """
    free = [f"q{k}" for k in range(REGISTERS)]
    place: dict[Value, str] = {}

    def take(value: Value) -> str:
        if not free:
            raise Unsupported
        place[value] = free.pop(0)
        return place[value]

    head = []
    kept = set()
    for step in before:
        assert step.made is not None
        head += step.text.format(take(step.made)).splitlines()
        kept.add(step.made)
    last = {v: k for k, step in enumerate(loop) for v in step.used}
    body = []
    for k, step in enumerate(loop):
        registers = [place[v] for v in step.used]
        ending = dict.fromkeys(v for v in step.used if last[v] == k and v not in kept)
        if step.changes:
            if step.used[0] not in ending:
                raise Unsupported
            assert step.made is not None
            del ending[step.used[0]]
            place[step.made] = place[step.used[0]]
        free[:0] = [place[v] for v in ending]
        if step.made is not None and not step.changes:
            registers.insert(0, take(step.made))
        body.append(step.text.format(*registers))
    return head, body
