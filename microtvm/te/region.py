"""Bound inference: which part of a stage its readers need at the place where it is computed."""

from __future__ import annotations

from dataclasses import dataclass

from microtvm.errors import ScheduleError
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Fuse, Split, Stage
from microtvm.te.tensor import IterVar, Reduce
from microtvm.tir.expr import BinOp, Cast, Expr, IntImm, Read, Select, Var, binary
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.traversal import post_order, substitute, uses


@dataclass(frozen=True)
class Range:
    """begin .. begin + extent - 1; `begin` is an expression of the loops around the stage."""

    begin: Expr
    extent: int


@dataclass(frozen=True, eq=False)
class Domain:
    """The loops of one stage: extents of its leaves, and its root axes as expressions of them.

    `values` are absolute indices (the region's begin included), `local` the same without the begin.
    `guards` are conditions under which an iteration computes an element that exists.
    """

    region: tuple[Range, ...]
    extents: dict[IterVar, int]
    local: dict[IterVar, Expr]
    values: dict[IterVar, Expr]
    guards: tuple[Expr, ...]
    reduce_guards: tuple[Expr, ...]
    path: tuple[IterVar, ...]
    """The loops around the stage's innermost body, outermost first."""


def relax(expr: Expr, variables: dict[Var, int], analyzer: Analyzer) -> tuple[Expr, Expr] | None:
    """Smallest and largest value while the variables run over 0 .. extent - 1.

    None where not expressible.
    """
    if not uses(expr, variables):
        return expr, expr
    linear = Linear.of(expr)
    low: Expr = IntImm(linear.constant)
    high: Expr = IntImm(linear.constant)
    for atom, c in linear.terms.items():
        span = _relax_atom(atom, variables, analyzer)
        if span is None:
            return None
        first, last = span if c > 0 else (span[1], span[0])
        low = binary("+", low, binary("*", first, IntImm(c)))
        high = binary("+", high, binary("*", last, IntImm(c)))
    return analyzer.simplify(low), analyzer.simplify(high)


def _relax_atom(
    atom: Expr, variables: dict[Var, int], analyzer: Analyzer
) -> tuple[Expr, Expr] | None:
    if not uses(atom, variables):
        return atom, atom
    if isinstance(atom, Var):
        return IntImm(0), IntImm(variables[atom] - 1)
    if isinstance(atom, BinOp) and isinstance(atom.b, IntImm):
        inner = relax(atom.a, variables, analyzer)
        if atom.op in ("//", "min", "max") and inner is not None:
            return binary(atom.op, inner[0], atom.b), binary(atom.op, inner[1], atom.b)
        if atom.op == "%":
            return IntImm(0), IntImm(atom.b.value - 1)
    known = analyzer.bounds(atom)
    if isinstance(atom, BinOp | Cast | Select | Read) and known is not None:
        if known[1] - known[0] >= 1 << 31:
            return None
        return IntImm(known[0]), IntImm(known[1])
    return None


class BoundInference:
    """Domains of all stages, readers before producers."""

    def __init__(self, schedule: Schedule, analyzer: Analyzer) -> None:
        self.schedule = schedule
        self.analyzer = analyzer
        self.domains: dict[Stage, Domain] = {}
        for stage in reversed([s for s in schedule.stages if not s.inlined]):
            self._infer(stage)

    def _infer(self, stage: Stage) -> None:
        if stage.attach is None:
            region = tuple(Range(IntImm(0), a.extent) for a in stage.axis)
            around: tuple[IterVar, ...] = ()
        else:
            parent = self.domains.get(stage.attach.stage)
            if parent is None or stage.attach.axis not in stage.attach.stage.leaf:
                raise ScheduleError(
                    f"{stage.name} is computed in loop {stage.attach.axis!r} of "
                    f"{stage.attach.stage.name}, which does not read it or no longer has that loop"
                )
            cut = parent.path.index(stage.attach.axis) + 1
            around = parent.path[:cut]
            region = self._needed(stage, around)
        for axis in stage.leaf:
            if axis in around:
                raise ScheduleError(
                    f"{stage.name} is computed inside the loop {axis!r}, which is its own too",
                    hint="make a reduce_axis for each compute",
                )
        self.domains[stage] = self._domain(stage, region, around)

    def _needed(self, stage: Stage, around: tuple[IterVar, ...]) -> tuple[Range, ...]:
        spans: list[list[tuple[Expr, Expr] | None]] = [[] for _ in stage.axis]
        for reader in self.schedule.stages:
            if reader.inlined or not any(t in _reads(reader) for t in stage.outputs):
                continue
            domain = self.domains[reader]
            if domain.path[: len(around)] != around:
                raise ScheduleError(
                    f"{stage.name} is computed inside {around[-1]!r}, but {reader.name} reads it "
                    "outside that loop"
                )
            inner = {axis.var: self._extent(axis) for axis in domain.path[len(around) :]}
            values: dict[Expr, Expr] = {a.var: v for a, v in domain.values.items()}
            for body in reader.bodies:
                parts = body.parts if isinstance(body, Reduce) else (body,)
                for node in [n for part in parts for n in post_order(part)]:
                    if isinstance(node, Read) and node.source in stage.outputs:
                        for d, index in enumerate(node.indices):
                            absolute = self.analyzer.simplify(substitute(index, values))
                            spans[d].append(relax(absolute, inner, self.analyzer))
        return tuple(
            Range(IntImm(0), axis.extent)
            if axis in stage.whole
            else self._rounded(self._union(found, axis.extent), stage.multiples.get(d, 1))
            for d, (found, axis) in enumerate(zip(spans, stage.axis, strict=True))
        )

    def _rounded(self, needed: Range, multiple: int) -> Range:
        """A part of an axis of a multiple length, made as long as one if it begins at one."""
        begin = self.analyzer.simplify(binary("%", needed.begin, IntImm(multiple)))
        if not isinstance(begin, IntImm) or begin.value:
            return needed
        return Range(needed.begin, -(-needed.extent // multiple) * multiple)

    def _extent(self, axis: IterVar) -> int:
        known = self.analyzer.ranges[axis.var]
        return known[1] + 1

    def _union(self, spans: list[tuple[Expr, Expr] | None], full: int) -> Range:
        whole = Range(IntImm(0), full)
        low: Expr | None = None
        high: Expr | None = None
        for span in spans:
            if span is None:
                return whole
            low = span[0] if low is None else binary("min", low, span[0])
            high = span[1] if high is None else binary("max", high, span[1])
        if low is None or high is None:
            return whole
        low, high = self.analyzer.simplify(low), self.analyzer.simplify(high)
        length = self.analyzer.bounds(
            self.analyzer.simplify(binary("+", binary("-", high, low), IntImm(1)))
        )
        if length is None or length[1] >= full:
            return whole
        return Range(low, max(1, length[1]))

    def _domain(
        self, stage: Stage, region: tuple[Range, ...], around: tuple[IterVar, ...]
    ) -> Domain:
        extents: dict[IterVar, int] = {a: r.extent for a, r in zip(stage.axis, region, strict=True)}
        extents.update({a: a.extent for a in stage.reduce_axis})
        for relation in stage.relations:
            if isinstance(relation, Split):
                whole = extents[relation.parent]
                extents[relation.inner] = min(relation.factor, whole)
                extents[relation.outer] = -(-whole // relation.factor)
            else:
                extents[relation.fused] = extents[relation.outer] * extents[relation.inner]
        for leaf in stage.leaf:
            self.analyzer.ranges[leaf.var] = (0, extents[leaf] - 1)
        local: dict[IterVar, Expr] = {leaf: leaf.var for leaf in stage.leaf}
        guards: list[Expr] = []
        reduce_guards: list[Expr] = []
        reducing = stage.reduce_leaves()
        for relation in reversed(stage.relations):
            if isinstance(relation, Split):
                whole = extents[relation.parent]
                begin = local[relation.outer] * relation.factor
                shift = relation.shift and whole >= relation.factor
                if shift:
                    begin = binary("min", begin, IntImm(whole - relation.factor))
                value = begin + local[relation.inner]
                local[relation.parent] = value
                if whole % relation.factor and not shift:
                    target = reduce_guards if relation.parent in reducing else guards
                    target.append(binary("<", value, IntImm(whole)))
            elif isinstance(relation, Fuse):
                size = extents[relation.inner]
                local[relation.outer] = local[relation.fused] // size
                local[relation.inner] = local[relation.fused] % size
        values: dict[IterVar, Expr] = {}
        for axis, r in zip(stage.axis, region, strict=True):
            absolute = self.analyzer.simplify(binary("+", r.begin, local[axis]))
            values[axis] = absolute
            guards.append(binary("<", absolute, IntImm(axis.extent)))
            guards.append(binary(">=", absolute, IntImm(0)))
        for axis in stage.reduce_axis:
            values[axis] = self.analyzer.simplify(local[axis])
        return Domain(
            region=region,
            extents=extents,
            local={a: self.analyzer.simplify(local[a]) for a in stage.axis},
            values=values,
            guards=tuple(g for g in map(self.analyzer.simplify, guards) if not _true(g)),
            reduce_guards=tuple(
                g for g in map(self.analyzer.simplify, reduce_guards) if not _true(g)
            ),
            path=(*around, *stage.leaf),
        )


def _true(cond: Expr) -> bool:
    return isinstance(cond, IntImm) and cond.value == 1


def _reads(stage: Stage) -> set[object]:
    return {
        node.source
        for body in stage.bodies
        for part in (body.parts if isinstance(body, Reduce) else (body,))
        for node in post_order(part)
        if isinstance(node, Read)
    }
