"""Tensor intrinsics: a register tile that a core computes faster than the compiler would.

An intrinsic is declared by what it means (a compute over placeholders) and how it is written in C.
Matching proves that a part of a stage means the same; nothing else decides where an intrinsic is
used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.te.layout import strides_of
from microtvm.te.tensor import ComputeOp, IterVar, Reduce, Tensor
from microtvm.tir.expr import (
    BinOp,
    Call,
    Cast,
    Expr,
    FloatImm,
    IntImm,
    Param,
    Read,
    Select,
    Var,
    binary,
)
from microtvm.tir.simplify import Linear
from microtvm.tir.stmt import Buffer, For, IntrinsicCall, Operand, Stmt, Store, sequence
from microtvm.tir.traversal import substitute, transform, uses

COMMUTATIVE = ("+", "*", "min", "max", "&", "|", "^", "and", "or")


@dataclass(frozen=True, eq=False)
class TensorIntrin:
    """`op` is the meaning; a reduction accumulates onto what its output already holds.

    `call` writes the C statement: it gets, for the output first and then each input in `inputs`
    order, the operand's C text (a pointer expression; for register operands the list of lvalues,
    row-major) and strides in elements. `source` is C that must stand once before the first use.
    """

    name: str
    op: ComputeOp
    inputs: tuple[Tensor, ...]
    call: Callable[[list[COperand]], str]
    source: str = ""
    scalars: tuple[int, ...] = ()
    """Further operands of the C text: numbers, so that calls which differ in them share it."""
    fresh: bool = False
    """Whether a reduction overwrites its output, not adds to it: it must be the whole reduction."""
    told: bool = False
    """Whether `scalars` tell the operands' strides, so that calls which differ in them share it."""
    lengths: tuple[IterVar, ...] = ()
    """Axes of the meaning whose extents the C text is told, after `scalars`."""
    numbers: tuple[Var, ...] = ()
    """Numbers of the meaning that the C text is told, after `lengths`."""
    guard: str = ""
    """The C macro that is defined where the text compiles; elsewhere its meaning is printed."""
    in_step: bool = False
    """Whether each element is stored once, after those of its inputs at the same index are read."""

    def operand_shapes(self, call: IntrinsicCall) -> tuple[tuple[int, ...], ...]:
        """The declared shapes: the output's, then the inputs'."""
        return (tuple(a.extent for a in self.op.axis), *(t.shape for t in self.inputs))

    def c_source(self, call: IntrinsicCall) -> str:
        """C that must stand once before the call."""
        return self.source

    def c_call(self, call: IntrinsicCall, operands: list[COperand]) -> str:
        """The C statement of one call."""
        return self.call(operands)

    def reference(self, call: IntrinsicCall) -> Stmt:
        """The call's meaning as loops over the same buffers."""
        told = iter(call.scalars[len(self.scalars) :])
        lengths = {a: next(told) for a in self.lengths}
        fresh: dict[Expr, Expr] = dict(zip(self.numbers, told, strict=True))
        loops: list[tuple[Var, Expr]] = []
        for axis in (*self.op.axis, *self.op.reduce_axis):
            var = Var(axis.name)
            fresh[axis.var] = var
            loops.append((var, lengths.get(axis, IntImm(axis.extent))))
        body = self.op.bodies[0]
        views = dict(zip(self.inputs, call.operands[1:], strict=True))

        def read(node: Expr) -> Expr | None:
            if isinstance(node, Read) and node.source in views:
                view = views[node.source]
                return Read(view.buffer, _element(view, node.indices))
            return None

        out = call.operands[0]
        place = _element(out, tuple(fresh[a.var] for a in self.op.axis))
        inner = body.value if isinstance(body, Reduce) else body
        value = transform(substitute(inner, fresh), read, {})
        if isinstance(body, Reduce):
            value = body.combine(Read(out.buffer, place), value)
        stmt: Stmt = Store(out.buffer, place, value)
        for var, extent in reversed(loops):
            stmt = For(var, IntImm(0), extent, stmt)
        if not self.fresh or not isinstance(body, Reduce):
            return stmt
        start: Stmt = Store(out.buffer, place, body.start())
        for var, extent in reversed(loops[: len(self.op.axis)]):
            start = For(var, IntImm(0), extent, start)
        return sequence(start, stmt)


@dataclass(frozen=True)
class COperand:
    """An operand as the C printer hands it to an intrinsic."""

    text: str
    """Pointer to the first element; for a register operand ''."""
    registers: tuple[str, ...]
    """Lvalues of a register operand, row-major over the declared dimensions; else ()."""
    strides: tuple[int, ...]


def _element(view: Operand, index: Sequence[Expr]) -> tuple[Expr, ...]:
    """Buffer indices of a view's element: strides are decomposed over the buffer's dimensions."""
    steps = strides_of(view.buffer.shape)
    result = list(view.indices)
    for i, stride in zip(index, view.strides, strict=True):
        left, sign = abs(stride), 1 if stride > 0 else -1
        for d, step in enumerate(steps):
            count, left = divmod(left, step) if view.buffer.shape[d] > 1 else (0, left)
            count *= sign
            if count:
                result[d] = binary("+", result[d], binary("*", i, IntImm(count)))
    return tuple(result)


def declare(
    name: str,
    out: Tensor,
    inputs: Sequence[Tensor],
    call: Callable[[list[COperand]], str],
    source: str = "",
    scalars: Sequence[int] = (),
    *,
    fresh: bool = False,
    told: bool = False,
    lengths: Sequence[IterVar] = (),
    numbers: Sequence[Var] = (),
    guard: str = "",
    in_step: bool = False,
) -> TensorIntrin:
    """An intrinsic that means `out`, a compute over the placeholders `inputs`."""
    if out.op is None or len(out.op.bodies) != 1:
        raise ScheduleError(f"intrinsic {name}: its meaning must be one compute with one output")
    return TensorIntrin(
        name, out.op, tuple(inputs), call, source, tuple(scalars), fresh, told,
        tuple(lengths), tuple(numbers), guard, in_step,
    )  # fmt: skip


class Matcher:
    """Unifies an intrinsic's body with a stage's, its inner axes renamed to the intrinsic's."""

    def __init__(
        self,
        intrin: TensorIntrin,
        axes: Sequence[IterVar],
        stage_name: str,
        simplify: Callable[[Expr], Expr],
    ) -> None:
        self.simplify = simplify
        self.intrin = intrin
        self.axes = tuple(axes)
        self.stage_name = stage_name
        self.views: dict[Tensor, Operand] = {}
        self.found: dict[Var, Expr] = {}

    def fail(self, why: str) -> ScheduleError:
        """The error for a mismatch."""
        return ScheduleError(f"{self.stage_name} can't be tensorized by {self.intrin.name}: {why}")

    def match(self, pattern: Expr, actual: Expr) -> None:
        """Raise ScheduleError unless `actual` is `pattern` with buffers for the placeholders."""
        if not self._unify(pattern, actual):
            raise self.fail("the expressions differ")

    def operands(self) -> tuple[Operand, ...]:
        """The views found, in the intrinsic's order."""
        missing = [t.name for t in self.intrin.inputs if t not in self.views]
        if missing:
            raise self.fail(f"its input {missing[0]} is not used")
        return tuple(self.views[t] for t in self.intrin.inputs)

    def scalars(self) -> tuple[Expr, ...]:
        """The call's scalars: what the intrinsic says itself, its lengths, the numbers found."""
        missing = [v.name for v in self.intrin.numbers if v not in self.found]
        if missing:
            raise self.fail(f"its number {missing[0]} is not used")
        lengths = (a.extent for a in self.intrin.lengths)
        told = (IntImm(v) for v in (*self.intrin.scalars, *lengths))
        return (*told, *(self.found[v] for v in self.intrin.numbers))

    def _unify(self, pattern: Expr, actual: Expr) -> bool:
        if isinstance(pattern, Read) and pattern.source in self.intrin.inputs:
            return isinstance(actual, Read) and self._bind(pattern, actual)
        if isinstance(pattern, Var) and pattern in self.intrin.numbers:
            if not isinstance(actual, IntImm | Param) or actual.dtype != pattern.dtype:
                return False
            return self.found.setdefault(pattern, actual) is actual
        if isinstance(pattern, IntImm | FloatImm | Var):
            return pattern is actual
        if type(pattern) is not type(actual) or pattern.dtype != actual.dtype:
            return False
        if isinstance(pattern, BinOp) and isinstance(actual, BinOp):
            if pattern.op != actual.op:
                return False
            saved, found = dict(self.views), dict(self.found)
            if self._unify(pattern.a, actual.a) and self._unify(pattern.b, actual.b):
                return True
            self.views, self.found = saved, found
            return (
                pattern.op in COMMUTATIVE
                and self._unify(pattern.a, actual.b)
                and self._unify(pattern.b, actual.a)
            )
        if isinstance(pattern, Call) and isinstance(actual, Call) and pattern.name != actual.name:
            return False
        if not isinstance(pattern, Cast | Select | Call):
            return False
        return all(
            self._unify(p, a) for p, a in zip(pattern.children(), actual.children(), strict=True)
        )

    def _bind(self, pattern: Read, actual: Read) -> bool:
        if pattern.dtype != actual.dtype:
            return False
        numbers = {
            d: i.value for d, i in enumerate(pattern.indices) if isinstance(i, IntImm) and i.value
        }
        first = tuple(IntImm(0) if d in numbers else i for d, i in enumerate(pattern.indices))
        view = view_of(actual.source, actual.indices, first, self.axes, self.simplify)
        if view is None:
            return False
        before = self.views.get(pattern.source)
        if before is None:
            self.views[pattern.source] = view
            return not numbers
        if before.buffer is not view.buffer:
            return False
        strides = list(before.strides)
        distance = self._distance(before, view)
        if distance is None:
            return False
        # Elements 0 and `number` of a dimension that no axis runs along tell its stride, where
        # those of the others are known.
        unknown = [d for d in numbers if not strides[d]]
        left = distance - sum(strides[d] * number for d, number in numbers.items())
        if len(unknown) == 1:
            strides[unknown[0]], left = divmod(left, numbers[unknown[0]])
        if left:
            return False
        self.views[pattern.source] = Operand(before.buffer, before.indices, tuple(strides))
        return all(
            a == b or d in numbers or (isinstance(p, IntImm) and b == 0)
            for d, (a, b, p) in enumerate(zip(strides, view.strides, pattern.indices, strict=True))
        )

    def _distance(self, a: Operand, b: Operand) -> int | None:
        """Elements from the first of `a` to the first of `b`; None where that is no number."""
        places = (_place(b.buffer, b.indices), _place(a.buffer, a.indices))
        apart = self.simplify(binary("-", *places))
        return apart.value if isinstance(apart, IntImm) else None


def _place(buffer: Buffer, indices: Sequence[Expr]) -> Expr:
    """The number of an element in its buffer, row-major."""
    place: Expr = IntImm(0)
    for index, step in zip(indices, strides_of(buffer.shape), strict=True):
        place = binary("+", place, binary("*", index, IntImm(step)))
    return place


def view_of(
    buffer: Buffer,
    indices: Sequence[Expr],
    pattern: Sequence[Expr],
    axes: Sequence[IterVar],
    simplify: Callable[[Expr], Expr],
) -> Operand | None:
    """The view in which element `pattern` is buffer[indices]; None if there is none.

    An index of the pattern is 0, or an expression of the intrinsic's variables, one part of which
    (a variable, a quotient, a remainder) no other index has. Where an index of the buffer is not
    made of such parts, the element's place in the whole buffer may be.
    """
    extents = {a.var: a.extent for a in axes}
    steps = strides_of(buffer.shape)
    strides = _strides(list(zip(indices, steps, strict=True)), pattern, extents)
    if strides is None:
        strides = _strides([(simplify(_place(buffer, indices)), 1)], pattern, extents)
    if strides is None:
        return None
    zero: dict[Expr, Expr] = {v: IntImm(0) for v in extents}
    return Operand(buffer, tuple(simplify(substitute(i, zero)) for i in indices), strides)


def _strides(
    places: Sequence[tuple[Expr, int]], pattern: Sequence[Expr], extents: dict[Var, int]
) -> tuple[int, ...] | None:
    """Strides of the pattern's indices that make up the sum of index * step; None if none do."""
    left: dict[Expr, int] = {}
    for index, step in places:
        for atom, c in Linear.of(index).terms.items():
            if uses(atom, extents):
                left[atom] = left.get(atom, 0) + c * step
    parts = [Linear.of(p) for p in pattern]
    if any(p.constant for p in parts):
        return None
    strides = []
    for k, part in enumerate(parts):
        others = {atom for other in (*parts[:k], *parts[k + 1 :]) for atom in other.terms}
        own = next((atom for atom in part.terms if atom not in others), None)
        if part.terms and own is None:
            return None
        stride, rest = (0, 0) if own is None else divmod(left.get(own, 0), part.terms[own])
        if rest:
            return None
        strides.append(stride)
        for atom, c in part.terms.items():
            left[atom] = left.get(atom, 0) - c * stride
    if any(c and not (isinstance(v, Var) and extents[v] == 1) for v, c in left.items()):
        return None
    return tuple(strides)
