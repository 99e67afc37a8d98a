"""Stages of a schedule: one compute with its loops, and the primitives that change them.

A stage's loops are its leaf axes; primitives transform them and record how (`Split`, `Fuse`), so
that lowering can express the root axes by the loops. Primitives check what they can at once and
raise ScheduleError; what depends on other stages is checked when the schedule is lowered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microtvm.errors import ScheduleError
from microtvm.te.intrin import TensorIntrin
from microtvm.te.layout import IndexMap
from microtvm.te.rewrite import padded
from microtvm.te.tensor import ComputeOp, IterVar, Reduce, Tensor
from microtvm.tir.dtype import is_int
from microtvm.tir.expr import BinOp, Cast, Expr, Read
from microtvm.tir.simplify import Analyzer
from microtvm.tir.traversal import substitute

if TYPE_CHECKING:
    from microtvm.te.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Split:
    """parent = outer * factor + inner; with `shift` min(outer * factor, extent - factor) + inner"""

    parent: IterVar
    outer: IterVar
    inner: IterVar
    factor: int
    shift: bool = False


@dataclass(frozen=True, eq=False)
class Fuse:
    """outer = fused // inner.extent, inner = fused % inner.extent"""

    outer: IterVar
    inner: IterVar
    fused: IterVar


@dataclass(frozen=True, eq=False)
class Attach:
    """Where a stage is computed: inside `axis` of `stage`."""

    stage: Stage
    axis: IterVar


class Stage:
    """One compute with its loops. Primitives return axes or None, as TVM's do."""

    def __init__(self, schedule: Schedule, op: ComputeOp) -> None:
        self._schedule = schedule
        self.name = op.name
        self.outputs: tuple[Tensor, ...] = op.outputs
        self.axis: tuple[IterVar, ...] = op.axis
        self.reduce_axis: tuple[IterVar, ...] = op.reduce_axis
        self.bodies: tuple[Expr, ...] = op.bodies
        self.leaf: list[IterVar] = [*op.axis, *op.reduce_axis]
        self.relations: list[Split | Fuse] = []
        self.kinds: dict[IterVar, str] = {}
        self.attach: Attach | None = None
        self.inlined = False
        self.scope = "arena"
        self.tensorized: tuple[IterVar, TensorIntrin] | None = None
        self.zero_beyond: dict[int, int] = {}
        """Dimension to the index from which on the stage is zero; see `pad`."""
        self.multiples: dict[int, int] = {}
        """Dimension to what the computed part of it is a multiple of; see `pad`."""
        self.whole: set[IterVar] = set()
        """Data axes that are computed from end to end; see `compute_whole`."""

    def __repr__(self) -> str:
        return f"stage {self.name}({', '.join(map(repr, self.leaf))})"

    @property
    def op(self) -> Stage:
        """The stage itself: TVM's spelling `s[C].op.axis` has the axes of what is computed now."""
        return self

    @property
    def is_output(self) -> bool:
        """Whether the schedule gives one of the stage's tensors to its caller."""
        return any(t in self._schedule.outputs for t in self.outputs)

    def _position(self, axis: IterVar) -> int:
        if axis not in self.leaf:
            raise ScheduleError(
                f"{self.name}: {axis!r} is not one of its loops",
                hint=f"the loops are now {', '.join(map(repr, self.leaf))}",
            )
        return self.leaf.index(axis)

    def _untouched(self, primitive: str) -> None:
        if self.relations or self.kinds or self.tensorized is not None:
            raise ScheduleError(f"{self.name}: {primitive} comes before its loops are changed")

    def _is_reduction(self, axis: IterVar) -> bool:
        return axis in self.reduce_leaves()

    def reduce_leaves(self) -> set[IterVar]:
        """The axes, roots and derived, that carry a reduction."""
        found = set(self.reduce_axis)
        for relation in self.relations:
            if isinstance(relation, Split) and relation.parent in found:
                found |= {relation.outer, relation.inner}
            if isinstance(relation, Fuse) and relation.outer in found:
                found.add(relation.fused)
        return found

    # ---- loops ----

    def split(
        self,
        axis: IterVar,
        factor: int | None = None,
        nparts: int | None = None,
        *,
        shift: bool = False,
    ) -> tuple[IterVar, IterVar]:
        """Two loops for one: `inner` of extent `factor`, or `outer` of extent `nparts`.

        With `shift` the last part begins early enough to be whole: what lies in two parts is
        computed twice, and no tail is left over (Halide's ShiftInwards).
        """
        if shift and (self._is_reduction(axis) or not 0 < (factor or 0) <= axis.extent):
            raise ScheduleError(
                f"{self.name}: split of {axis!r} by {factor} can't be shifted",
                hint="it takes a data axis that is at least as long as the factor",
            )
        if (factor is None) == (nparts is None):
            raise ScheduleError(f"{self.name}: split of {axis!r} takes either factor or nparts")
        if factor is None:
            assert nparts is not None
            if nparts < 1:
                raise ScheduleError(f"{self.name}: split of {axis!r} into {nparts} parts")
            factor = -(-axis.extent // nparts)
        if factor < 1:
            raise ScheduleError(f"{self.name}: split of {axis!r} by {factor}")
        at = self._position(axis)
        outer_extent = -(-axis.extent // factor) if nparts is None else nparts
        outer = IterVar(outer_extent, f"{axis.name}_o", "loop")
        inner = IterVar(factor, f"{axis.name}_i", "loop")
        self.leaf[at : at + 1] = [outer, inner]
        self.relations.append(Split(axis, outer, inner, factor, shift))
        return outer, inner

    def tile(
        self, y: IterVar, x: IterVar, y_factor: int, x_factor: int
    ) -> tuple[IterVar, IterVar, IterVar, IterVar]:
        """split both and order the loops y outer, x outer, y inner, x inner."""
        yo, yi = self.split(y, y_factor)
        xo, xi = self.split(x, x_factor)
        self.reorder(yo, xo, yi, xi)
        return yo, xo, yi, xi

    def fuse(self, *axes: IterVar) -> IterVar:
        """One loop for several that are directly nested, outermost first."""
        if not axes:
            raise ScheduleError(f"{self.name}: fuse needs an axis")
        fused = axes[0]
        for inner in axes[1:]:
            at = self._position(fused)
            if at + 1 >= len(self.leaf) or self.leaf[at + 1] is not inner:
                raise ScheduleError(f"{self.name}: {inner!r} is not the loop directly in {fused!r}")
            if self._is_reduction(fused) != self._is_reduction(inner):
                raise ScheduleError(
                    f"{self.name}: {fused!r} and {inner!r} can't be fused: one of them reduces"
                )
            merged = IterVar(fused.extent * inner.extent, f"{fused.name}_{inner.name}", "loop")
            self.leaf[at : at + 2] = [merged]
            self.relations.append(Fuse(fused, inner, merged))
            fused = merged
        self._position(fused)
        return fused

    def reorder(self, *axes: IterVar) -> None:
        """The given loops in the given order, in the places that they have together."""
        if len(set(axes)) != len(axes):
            raise ScheduleError(f"{self.name}: reorder names a loop twice")
        places = sorted(self._position(a) for a in axes)
        for place, axis in zip(places, axes, strict=True):
            self.leaf[place] = axis

    def _mark(self, axis: IterVar, kind: str) -> None:
        self._position(axis)
        self.kinds[axis] = kind

    def unroll(self, axis: IterVar) -> None:
        """Write the loop's body out `extent` times."""
        self._mark(axis, "unrolled")

    def vectorize(self, axis: IterVar) -> None:
        """Compute the iterations of the innermost loop, which must not reduce, side by side."""
        if self._is_reduction(axis):
            raise ScheduleError(f"{self.name}: {axis!r} reduces; a reduction can't be vectorized")
        if self._position(axis) != len(self.leaf) - 1:
            raise ScheduleError(f"{self.name}: {axis!r} is not the innermost loop")
        self._mark(axis, "vectorized")

    def tensorize(self, axis: IterVar, intrin: TensorIntrin) -> None:
        """Compute everything from this loop inwards by `intrin`.

        Lowering proves that it means the same.
        """
        self._position(axis)
        if not isinstance(intrin, TensorIntrin):
            raise ScheduleError(f"{self.name}: tensorize takes a TensorIntrin, not {intrin!r}")
        self.tensorized = (axis, intrin)

    # ---- placement ----

    def compute_at(self, parent: Stage, axis: IterVar) -> None:
        """Compute what `parent` needs of this stage inside parent's loop `axis`."""
        if self.is_output:
            raise ScheduleError(
                f"{self.name} is an output; it can't be computed inside another stage"
            )
        if parent is self:
            raise ScheduleError(f"{self.name} can't be computed inside itself")
        parent._position(axis)
        self.attach = Attach(parent, axis)
        self.inlined = False

    def compute_whole(self, axis: IterVar) -> None:
        """Compute a data axis from end to end, even where its readers need a part of it.

        Then tiles that divide the axis divide what is computed.
        """
        if axis not in self.axis:
            raise ScheduleError(f"{self.name}: {axis!r} is not one of its data axes")
        self.whole.add(axis)

    def compute_root(self) -> None:
        """Compute the whole stage before its readers (the default)."""
        self.attach = None
        self.inlined = False

    def compute_inline(self) -> None:
        """Compute each element where it is read."""
        if self.is_output:
            raise ScheduleError(f"{self.name} is an output; it can't be inlined")
        if self.reduce_axis:
            raise ScheduleError(f"{self.name} is a reduction; it can't be inlined")
        self.inlined = True
        self.attach = None

    def set_scope(self, scope: str) -> None:
        """Where the stage's values live: arena, or register."""
        if scope not in ("arena", "register"):
            raise ScheduleError(
                f"{self.name}: no scope {scope!r}; there are arena and register",
                hint="TVM's global is arena, its local is register",
            )
        if self.is_output and scope != "arena":
            raise ScheduleError(f"{self.name} is an output; it lives in the arena")
        self.scope = scope

    def pad(self, axis: IterVar, multiple: int, *, zero: bool = False) -> IterVar:
        """Make a data axis a multiple long, so that tiles divide it; returns the new axis.

        Where only a part of the axis is computed at a time, that part is a multiple long too if it
        begins at one. What is added is zero, or continues what a select chooses at the end, or, as
        nobody reads it, is computed from the last index, except where what the stage reads is long
        enough itself.
        """
        if self.is_output:
            raise ScheduleError(f"{self.name} is an output; its shape is its caller's")
        if axis not in self.axis:
            raise ScheduleError(f"{self.name}: {axis!r} is not one of its data axes")
        self._untouched("pad")
        if zero and self.reduce_axis:
            raise ScheduleError(f"{self.name} is a reduction; it can't be padded with zeros")
        if multiple < 1:
            raise ScheduleError(f"{self.name}: pad of {axis!r} to a multiple of {multiple}")
        extent = -(-axis.extent // multiple) * multiple
        longer = IterVar(extent, axis.name, "data")
        self.bodies = tuple(
            padded(b, axis, longer, (*self.axis, *self.reduce_axis), zero=zero) for b in self.bodies
        )
        olds = self.outputs
        self.axis = tuple(longer if a is axis else a for a in self.axis)
        self.leaf = [longer if a is axis else a for a in self.leaf]
        shape = tuple(a.extent for a in self.axis)
        self.outputs = tuple(Tensor(shape, t.dtype, t.name) for t in olds)
        for old, new in zip(olds, self.outputs, strict=True):
            self._schedule._redirect(old, new, list, self)
        dimension = self.axis.index(longer)
        self.multiples[dimension] = multiple
        if zero:
            self.zero_beyond.setdefault(dimension, axis.extent)
        else:
            self.zero_beyond.pop(dimension, None)
        return longer

    def pad_reduction(self, axis: IterVar, multiple: int) -> IterVar:
        """Make a reduction axis a multiple long, so that tiles divide it; returns the new axis.

        The sum stays what it is: it must be of products, one factor of which is a stage that was
        padded with zeros along this axis.
        """
        if axis not in self.reduce_axis:
            raise ScheduleError(f"{self.name}: {axis!r} is not one of its reduction axes")
        self._untouched("pad_reduction")
        extent = -(-axis.extent // multiple) * multiple
        body = self.bodies[0]
        if not isinstance(body, Reduce) or len(self.bodies) != 1 or body.kind != "sum":
            raise ScheduleError(f"{self.name} is not a single sum")
        if not is_int(body.dtype):
            # Zero times infinity is not zero.
            raise ScheduleError(
                f"{self.name} is a sum of {body.dtype}; only integer sums can be padded"
            )
        if not (
            isinstance(body.value, BinOp)
            and body.value.op == "*"
            and any(self._vanishes(f, axis, extent) for f in (body.value.a, body.value.b))
        ):
            raise ScheduleError(f"{self.name}: no factor of its sum is zero beyond {axis!r}")
        longer = IterVar(extent, axis.name, "reduce")
        axes = tuple(longer if a is axis else a for a in body.axes)
        moved = padded(body.value, axis, longer, (*self.axis, *self.reduce_axis), zero=False)
        self.bodies = (Reduce(body.kind, moved, axes, body.init),)
        self.reduce_axis = tuple(longer if a is axis else a for a in self.reduce_axis)
        self.leaf = [longer if a is axis else a for a in self.leaf]
        return longer

    def fuse_reduction(self, *axes: IterVar) -> IterVar:
        """One reduction axis for several neighbours, outermost first; returns it.

        Unlike `fuse` it changes what is computed, not the loops: it can be padded afterwards.
        """
        self._untouched("fuse_reduction")
        at = self.reduce_axis.index(axes[0]) if axes and axes[0] in self.reduce_axis else -1
        if at < 0 or self.reduce_axis[at : at + len(axes)] != axes:
            raise ScheduleError(f"{self.name}: {list(axes)} are not neighbours of its reduction")
        extent = 1
        for axis in axes:
            extent *= axis.extent
        fused = IterVar(extent, "_".join(a.name for a in axes), "reduce")
        values: dict[Expr, Expr] = {}
        left: Expr = fused.var
        for axis in reversed(axes):
            values[axis.var] = left % axis.extent
            left = left // axis.extent
        others = [a for a in (*self.axis, *self.reduce_axis) if a not in axes]
        analyzer = Analyzer({a.var: (0, a.extent - 1) for a in (*others, fused)})
        reduce_axis = (*self.reduce_axis[:at], fused, *self.reduce_axis[at + len(axes) :])
        bodies = []
        for body in self.bodies:
            assert isinstance(body, Reduce)
            value = analyzer.simplify(substitute(body.value, values))
            bodies.append(Reduce(body.kind, value, reduce_axis))
        self.bodies = tuple(bodies)
        self.reduce_axis = reduce_axis
        self.leaf = [*self.axis, *reduce_axis]
        return fused

    def _vanishes(self, factor: Expr, axis: IterVar, extent: int) -> bool:
        """Whether a factor is a read of a stage that is zero from the axis' end to `extent`."""
        while isinstance(factor, Cast):
            factor = factor.value
        if not isinstance(factor, Read):
            return False
        stage = self._schedule.producer(factor.source)
        return stage is not None and any(
            i is axis.var and stage.zero_beyond.get(d) == axis.extent and n >= extent
            for d, (i, n) in enumerate(zip(factor.indices, factor.source.shape, strict=True))
        )

    def transform_layout(self, index_map: Callable[..., Sequence[Expr]]) -> tuple[IterVar, ...]:
        """Store the stage's tensor at other indices, and loop in the order of the new layout.

        `index_map` takes the logical indices and returns the physical ones, built of +, *, // and %
        by constants. Returns the new axes.
        """
        if self.is_output:
            raise ScheduleError(f"{self.name} is an output; its layout is its caller's")
        self._untouched("transform_layout")
        mapping = IndexMap.of(index_map, tuple(a.extent for a in self.axis), self.name)
        new_axis = tuple(
            IterVar(e, f"{self.name}_p{k}", "data") for k, e in enumerate(mapping.physical_shape)
        )
        logical = mapping.inverse([a.var for a in new_axis])
        values: dict[Expr, Expr] = {a.var: e for a, e in zip(self.axis, logical, strict=True)}
        bodies = tuple(
            b.map(lambda e: substitute(e, values))
            if isinstance(b, Reduce)
            else substitute(b, values)
            for b in self.bodies
        )
        olds = self.outputs
        self.outputs = tuple(Tensor(mapping.physical_shape, t.dtype, t.name) for t in olds)
        for old, new in zip(olds, self.outputs, strict=True):
            self._schedule._redirect(old, new, mapping.forward, self)
        self.axis, self.bodies = new_axis, bodies
        self.leaf = [*new_axis, *self.reduce_axis]
        self.zero_beyond = {}
        self.multiples = {
            k: self.multiples[d]
            for k, e in enumerate(mapping.physical)
            for d, v in enumerate(mapping.variables)
            if e is v and d in self.multiples
        }
        self.whole = set()
        return new_axis
