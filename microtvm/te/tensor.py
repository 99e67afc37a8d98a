"""Tensor expressions: what is computed, never in which order.

Names and behaviour are those of TVM's `te` where the two overlap. Differences: `==` compares
identities, so equality of values is `te.equal`; shapes are integers; a constant tensor carries its
data.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from microtvm.errors import ScheduleError
from microtvm.tir.dtype import dtype_range, is_float
from microtvm.tir.expr import Expr, IntImm, Not, Operand, Read, Select, Var, as_expr, binary, const
from microtvm.tir.traversal import post_order
from microtvm.util import Array


class IterVar:
    """An axis: a variable with its extent.

    `kind` is data, reduce, or loop (made by split or fuse).
    """

    __slots__ = ("extent", "kind", "var")

    def __init__(self, extent: int, name: str, kind: str) -> None:
        if extent < 1:
            raise ScheduleError(f"axis {name} has extent {extent}; it must be at least 1")
        self.var = Var(name)
        self.extent = extent
        self.kind = kind

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.var.name

    def __repr__(self) -> str:
        return f"{self.name}[{self.extent}]"

    def _arith(self, op: str, other: Operand | IterVar, swap: bool = False) -> Expr:
        a, b = (other, self.var) if swap else (self.var, other)
        return binary(op, as_expr(a), as_expr(b))  # type: ignore[arg-type]

    def __add__(self, other: Operand | IterVar) -> Expr:
        return self._arith("+", other)

    def __radd__(self, other: Operand) -> Expr:
        return self._arith("+", other, swap=True)

    def __sub__(self, other: Operand | IterVar) -> Expr:
        return self._arith("-", other)

    def __rsub__(self, other: Operand) -> Expr:
        return self._arith("-", other, swap=True)

    def __mul__(self, other: Operand | IterVar) -> Expr:
        return self._arith("*", other)

    def __rmul__(self, other: Operand) -> Expr:
        return self._arith("*", other, swap=True)

    def __floordiv__(self, other: Operand) -> Expr:
        return self._arith("//", other)

    def __mod__(self, other: Operand) -> Expr:
        return self._arith("%", other)

    def __lt__(self, other: Operand | IterVar) -> Expr:
        return self._arith("<", other)

    def __le__(self, other: Operand | IterVar) -> Expr:
        return self._arith("<=", other)

    def __gt__(self, other: Operand | IterVar) -> Expr:
        return self._arith(">", other)

    def __ge__(self, other: Operand | IterVar) -> Expr:
        return self._arith(">=", other)


class Reduce(Expr):
    """A reduction over `axes`; `kind` is sum, max or min.

    It stands only at the root of a compute's body. `init` is what the accumulator starts from, an
    expression of the data axes; by default what changes nothing.
    """

    __slots__ = ("axes", "init", "kind", "value")
    kind: str
    value: Expr
    axes: tuple[IterVar, ...]
    init: Expr | None

    def __init__(
        self, kind: str, value: Expr, axes: tuple[IterVar, ...], init: Expr | None = None
    ) -> None:
        self.kind, self.value, self.axes, self.init = kind, value, axes, init
        self.dtype = value.dtype

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The expressions in it."""
        return (self.value,) if self.init is None else (self.value, self.init)

    def map(self, change: Callable[[Expr], Expr]) -> Reduce:
        """The same reduction of changed expressions."""
        init = None if self.init is None else change(self.init)
        return Reduce(self.kind, change(self.value), self.axes, init)

    def start(self) -> Expr:
        """What the accumulator starts from."""
        if self.init is not None:
            return self.init
        if self.kind == "sum":
            return const(0, self.dtype)
        if is_float(self.dtype):
            return const(float("-inf") if self.kind == "max" else float("inf"), self.dtype)
        low, high = dtype_range(self.dtype)
        return IntImm(low if self.kind == "max" else high, self.dtype)

    def combine(self, accumulator: Expr, value: Expr) -> Expr:
        """One step of the reduction."""
        return binary({"sum": "+", "max": "max", "min": "min"}[self.kind], accumulator, value)


class Tensor:
    """The value of a placeholder or of one output of a compute. Equal only to itself."""

    __slots__ = ("data", "dtype", "name", "op", "output_index", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        name: str,
        op: ComputeOp | None = None,
        output_index: int = 0,
        data: Array | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.op = op
        self.output_index = output_index
        self.data = data

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"

    def __getitem__(self, indices: Any) -> Expr:
        listed = indices if isinstance(indices, tuple) else (indices,)
        return Read(self, tuple(as_expr(i) for i in listed))

    def __call__(self, *indices: Any) -> Expr:
        return self[indices]


class ComputeOp:
    """Axes and one body per output; all bodies are reductions over the same axes, or none is."""

    __slots__ = ("axis", "bodies", "name", "outputs", "reduce_axis")

    def __init__(self, name: str, axis: tuple[IterVar, ...], bodies: tuple[Expr, ...]) -> None:
        reductions = [b for b in bodies if isinstance(b, Reduce)]
        if reductions and len(reductions) != len(bodies):
            raise ScheduleError(f"{name}: either every output is a reduction, or none")
        if builtins.any(r.axes != reductions[0].axes for r in reductions):
            raise ScheduleError(f"{name}: its reductions run over different axes")
        for body in bodies:
            inner = body.value if isinstance(body, Reduce) else body
            if builtins.any(isinstance(node, Reduce) for node in post_order(inner)):
                raise ScheduleError(f"{name}: a reduction must be the root of its compute")
        self.name = name
        self.axis = axis
        self.reduce_axis: tuple[IterVar, ...] = reductions[0].axes if reductions else ()
        self.bodies = bodies
        shape = tuple(a.extent for a in axis)
        self.outputs = tuple(
            Tensor(shape, b.dtype, name if len(bodies) == 1 else f"{name}{i}", self, i)
            for i, b in enumerate(bodies)
        )

    def inputs(self) -> list[Tensor]:
        """The tensors that the bodies read, each once, in order of first use."""
        return reads_of(self.bodies)


def reads_of(bodies: Iterable[Expr]) -> list[Tensor]:
    """The tensors read in `bodies`, each once, in order of first use."""
    found: dict[Tensor, None] = {}
    for body in bodies:
        for part in body.parts if isinstance(body, Reduce) else (body,):
            for node in post_order(part):
                if isinstance(node, Read):
                    found.setdefault(node.source)
    return list(found)


def placeholder(shape: Sequence[int], dtype: str = "float32", name: str = "placeholder") -> Tensor:
    """A tensor that is given at run time."""
    if builtins.any(d < 1 for d in shape):
        raise ScheduleError(f"{name}: its shape {list(shape)} has a dimension below 1")
    return Tensor(tuple(shape), dtype, name)


def constant(data: Array, name: str = "constant") -> Tensor:
    """A tensor known now, whose layout may be transformed. The array is not copied."""
    return Tensor(tuple(data.shape), data.dtype.name, name, data=data)


def _axis_names(fcompute: Callable[..., Any], rank: int, name: str) -> list[str]:
    signature = inspect.signature(fcompute)
    try:
        signature.bind(*range(rank))
    except TypeError:
        raise ScheduleError(
            f"{name} has {rank} dimensions, its function does not take {rank} indices"
        ) from None
    names = [
        p.name
        for p in signature.parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty
    ]
    return names if len(names) == rank else [f"i{k}" for k in range(rank)]


def _number(value: Operand) -> Expr:
    """An Expr; a Python number becomes int32 or float32, as it is written."""
    return as_expr(value, "float32" if isinstance(value, float) else "int32")


def compute(
    shape: Sequence[int], fcompute: Callable[..., Expr | Sequence[Expr]], name: str = "compute"
) -> Any:
    """The tensor whose element at (i, j, ...) is `fcompute(i, j, ...)`.

    Returns one Tensor, or a list of Tensors where fcompute returns several expressions. Axes take
    the names of fcompute's parameters.
    """
    names = _axis_names(fcompute, len(shape), name)
    axis = tuple(IterVar(e, n, "data") for e, n in zip(shape, names, strict=True))
    result = fcompute(*(a.var for a in axis))
    listed = result if isinstance(result, Sequence) else (result,)
    bodies = tuple(_number(b) for b in listed)
    op = ComputeOp(name, axis, bodies)
    return list(op.outputs) if isinstance(result, Sequence) else op.outputs[0]


def reduce_axis(dom: int | tuple[int, int], name: str = "k") -> IterVar:
    """An axis to reduce over; `dom` is the extent, or (0, extent) as TVM writes it."""
    if isinstance(dom, tuple):
        if dom[0] != 0:
            raise ScheduleError(f"reduce axis {name} begins at {dom[0]}; it must begin at 0")
        dom = dom[1]
    return IterVar(dom, name, "reduce")


def _reduction(
    kind: str,
    value: Operand,
    axis: IterVar | Sequence[IterVar],
    init: Operand | None = None,
) -> Expr:
    axes = (axis,) if isinstance(axis, IterVar) else tuple(axis)
    if not axes or builtins.any(a.kind != "reduce" for a in axes):
        raise ScheduleError(f"te.{kind} needs axes made by te.reduce_axis")
    return Reduce(kind, _number(value), axes, None if init is None else _number(init))


def sum(  # noqa: A001 - TVM's name
    value: Operand, axis: IterVar | Sequence[IterVar], init: Operand | None = None
) -> Expr:
    """The sum of `value` over the axes, onto `init`, which is 0 unless it is given."""
    return _reduction("sum", value, axis, init)


def max(  # noqa: A001 - TVM's name
    a: Operand, b: Operand | None = None, *, axis: IterVar | Sequence[IterVar] | None = None
) -> Expr:
    """The larger of two values, or the largest over `axis`."""
    return _extreme("max", a, b, axis)


def min(  # noqa: A001 - TVM's name
    a: Operand, b: Operand | None = None, *, axis: IterVar | Sequence[IterVar] | None = None
) -> Expr:
    """The smaller of two values, or the smallest over `axis`."""
    return _extreme("min", a, b, axis)


def _extreme(
    kind: str, a: Operand, b: Operand | None, axis: IterVar | Sequence[IterVar] | None
) -> Expr:
    if (b is None) == (axis is None):
        raise ScheduleError(f"te.{kind} takes two values, or one and an axis")
    if b is None:
        assert axis is not None
        return _reduction(kind, a, axis)
    return binary(kind, a, b)


def select(cond: Expr, on_true: Operand, on_false: Operand) -> Expr:
    """`on_true` where `cond` holds, else `on_false`; only the chosen one is evaluated."""
    known = [x for x in (on_true, on_false) if isinstance(x, Expr)]
    numbers = [x for x in (on_true, on_false) if isinstance(x, float)]
    typed: list[Operand] = [*known, *numbers, 0]
    dtype = _number(typed[0]).dtype
    a, b = as_expr(on_true, dtype), as_expr(on_false, dtype)
    if isinstance(cond, IntImm):
        return a if cond.value else b
    return Select(cond, a, b)


def clip(value: Expr, low: Operand, high: Operand) -> Expr:
    """`value` limited to low..high."""
    return binary("min", binary("max", value, low), high)


def all(*conds: Expr) -> Expr:  # noqa: A001 - TVM's name
    """Whether all conditions hold."""
    result: Expr = IntImm(1, "bool")
    for c in conds:
        result = binary("and", result, c)
    return result


def any(*conds: Expr) -> Expr:  # noqa: A001 - TVM's name
    """Whether some condition holds."""
    result: Expr = IntImm(0, "bool")
    for c in conds:
        result = binary("or", result, c)
    return result


def not_(cond: Expr) -> Expr:
    """Whether the condition does not hold."""
    return Not(cond)


def equal(a: Operand, b: Operand) -> Expr:
    """Whether two values are equal."""
    return binary("==", a, b)


def truncdiv(a: Operand, b: Operand) -> Expr:
    """The quotient rounded towards zero."""
    return binary("tdiv", a, b)


def floordiv(a: Operand, b: Operand) -> Expr:
    """The quotient rounded towards minus infinity."""
    return binary("//", a, b)
