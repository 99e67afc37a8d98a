"""Index maps: logical indices to physical ones, for `transform_layout`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from microtvm.errors import ScheduleError
from microtvm.te.evaluate import evaluate_indices
from microtvm.tir.expr import BinOp, Expr, IntImm, Read, Var, as_expr, binary
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.traversal import post_order, substitute
from microtvm.util import Array


@dataclass(frozen=True, eq=False)
class IndexMap:
    """`physical[k]` is an expression of `variables`, which range over `logical_shape`."""

    variables: tuple[Var, ...]
    physical: tuple[Expr, ...]
    logical_shape: tuple[int, ...]
    physical_shape: tuple[int, ...]
    name: str

    @classmethod
    def of(
        cls, function: Callable[..., Sequence[Expr]], logical_shape: tuple[int, ...], name: str
    ) -> IndexMap:
        """The map of a Python function of one index per dimension.

        Raises ScheduleError if two elements collide, and for indices that are not made of the given
        ones.
        """
        variables = tuple(Var(f"l{k}") for k in range(len(logical_shape)))
        analyzer = Analyzer({v: (0, e - 1) for v, e in zip(variables, logical_shape, strict=True)})
        physical = tuple(analyzer.simplify(as_expr(e)) for e in function(*variables))
        if not physical:
            raise ScheduleError(f"{name}: the layout has no index")
        shape = []
        for expr in physical:
            for node in post_order(expr):
                if isinstance(node, Read) or (isinstance(node, Var) and node not in variables):
                    raise ScheduleError(f"{name}: the layout uses {node!r}, which is not its index")
            known = analyzer.bounds(expr)
            if known is None or known[0] < 0:
                raise ScheduleError(f"{name}: a physical index of the layout may be negative")
            shape.append(known[1] + 1)
        self = cls(variables, physical, logical_shape, tuple(shape), name)
        taken = np.zeros(self.physical_shape, np.bool_)
        taken[self._grid()] = True
        if np.count_nonzero(taken) != math.prod(logical_shape):
            raise ScheduleError(f"{name}: the layout maps two elements to one place")
        return self

    def _grid(self) -> tuple[Array, ...]:
        return evaluate_indices(self.physical, self.variables, self.logical_shape)

    def forward(self, indices: Sequence[Expr]) -> list[Expr]:
        """Physical indices of an element given by logical ones."""
        values: dict[Expr, Expr] = dict(zip(self.variables, indices, strict=True))
        return [substitute(e, values) for e in self.physical]

    def apply(self, data: Array) -> Array:
        """The array in the physical layout; places that no element maps to are zero."""
        packed = np.zeros(self.physical_shape, data.dtype)
        packed[tuple(np.broadcast_arrays(*self._grid(), data)[:-1])] = data
        return packed

    def inverse(self, physical: Sequence[Expr]) -> list[Expr]:
        """Logical indices from an element's physical ones; ScheduleError if the map isn't onto."""
        if np.prod(self.physical_shape) != np.prod(self.logical_shape):
            raise ScheduleError(
                f"{self.name}: the layout leaves gaps; only a constant's layout may have them"
            )
        parts: dict[Var, list[Expr]] = {v: [] for v in self.variables}
        for expr, index, extent in zip(self.physical, physical, self.physical_shape, strict=True):
            self._solve(expr, index, extent, parts)
        result = []
        for v in self.variables:
            total: Expr = IntImm(0)
            for part in parts[v]:
                total = binary("+", total, part)
            result.append(total)
        self._check_inverse(result, physical)
        return result

    def _solve(self, expr: Expr, index: Expr, extent: int, parts: dict[Var, list[Expr]]) -> None:
        """Collect what `expr == index` says of each variable.

        `expr` is a sum of stride * (digit of a variable).
        """
        terms = sorted(Linear.of(expr).terms.items(), key=lambda item: -item[1])
        above = extent
        for atom, stride in terms:
            digit = binary("//", binary("%", index, IntImm(above)), IntImm(stride))
            var, scale = self._digit(atom)
            parts[var].append(binary("*", digit, IntImm(scale)))
            above = stride

    def _digit(self, atom: Expr) -> tuple[Var, int]:
        """The variable and the weight of a digit: v, v // s, v % m or (v // s) % m."""
        scale = 1
        while isinstance(atom, BinOp) and atom.op in ("//", "%") and isinstance(atom.b, IntImm):
            if atom.op == "//":
                scale *= atom.b.value
            atom = atom.a
        if not isinstance(atom, Var):
            raise ScheduleError(f"{self.name}: the layout uses more than +, *, // and %")
        return atom, scale

    def _check_inverse(self, logical: Sequence[Expr], physical: Sequence[Expr]) -> None:
        shape, grid = self.logical_shape, self._grid()
        for expr, wanted in zip(logical, np.indices(shape, sparse=True), strict=True):
            (found,) = evaluate_indices((expr,), physical, shape, grid)
            if not np.all(found == wanted):
                raise ScheduleError(f"{self.name}: the layout can't be inverted")


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    steps = itertools.accumulate(reversed([*shape[1:], 1]), lambda a, b: a * b)
    return tuple(steps)[::-1] if shape else ()
