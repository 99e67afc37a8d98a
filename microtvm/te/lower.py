"""From a schedule to a loop program: the nests of all stages, each at its place."""

from __future__ import annotations

from collections.abc import Sequence

from microtvm.errors import ScheduleError
from microtvm.te.evaluate import evaluate_bodies
from microtvm.te.intrin import Matcher, TensorIntrin, view_of
from microtvm.te.region import BoundInference, Domain
from microtvm.te.register import check_registers
from microtvm.te.rewrite import replace_reads
from microtvm.te.schedule import Schedule
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Reduce, Tensor, reads_of
from microtvm.te.tensor import all as every
from microtvm.te.tile import chosen, everywhere, outer_part
from microtvm.tir.cleanup import clean_program
from microtvm.tir.expr import Expr, IntImm, Read, Select, Var
from microtvm.tir.simplify import Analyzer
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Program,
    Stmt,
    Store,
    sequence,
    substitute_stmt,
)
from microtvm.tir.traversal import substitute, transform, uses
from microtvm.tir.unroll import MOST_COPIES
from microtvm.util import Array


def lower(
    schedule: Schedule, args: Sequence[Tensor], name: str = "kernel", notes: Sequence[str] = ()
) -> Program:
    """The loop program of a schedule.

    `args` are its run-time inputs and its outputs, in the order of params. Constants become params
    after `args`, in the order of their first use. The schedule stays as it is.
    """
    stages = list(schedule.stages)
    bodies = [s.bodies for s in stages]
    try:
        return _Lowering(schedule, args, name, tuple(notes)).program()
    finally:
        schedule.stages = stages
        for stage, before in zip(stages, bodies, strict=True):
            stage.bodies = before


class _Lowering:
    def __init__(
        self, schedule: Schedule, args: Sequence[Tensor], name: str, notes: tuple[str, ...]
    ) -> None:
        self.schedule = schedule
        self.args = tuple(args)
        self.name = name
        self.notes = notes
        for out in schedule.outputs:
            if out not in self.args:
                raise ScheduleError(f"{name}: the output {out.name} is not among the arguments")
        for k, arg in enumerate(self.args):
            if arg in self.args[:k]:
                raise ScheduleError(f"{name}: {arg.name} is given twice among the arguments")
            if arg.data is not None or (arg.op is not None and arg not in schedule.outputs):
                found = "a constant" if arg.data is not None else "computed, but not an output"
                raise ScheduleError(f"{name}: the argument {arg.name} is {found}")
        self.known: dict[Tensor, Array] = {}
        self._inline()
        self._drop_unread()
        self._evaluate_constants()
        self.analyzer = Analyzer()
        self.domains = BoundInference(schedule, self.analyzer).domains
        self.buffers: dict[Tensor, Buffer] = {}
        self.constants: list[Buffer] = []
        self.scratch: list[Buffer] = []
        self.names: dict[str, int] = {}
        for t in self.args:
            self.buffers[t] = Buffer(self._unique(t.name), t.shape, t.dtype)

    def _unique(self, name: str) -> str:
        count = self.names.get(name, 0)
        self.names[name] = count + 1
        return name if count == 0 else self._unique(f"{name}_{count}")

    # ---- the stages as they will be ----

    def _inline(self) -> None:
        for stage in self.schedule.stages:
            if not stage.inlined:
                continue
            for tensor, body in zip(stage.outputs, stage.bodies, strict=True):
                for reader in self.schedule.readers(tensor):

                    def at(
                        indices: tuple[Expr, ...], body: Expr = body, stage: Stage = stage
                    ) -> Expr:
                        values: dict[Expr, Expr] = {
                            a.var: i for a, i in zip(stage.axis, indices, strict=True)
                        }
                        return substitute(body, values)

                    reader.bodies = tuple(replace_reads(b, tensor, at) for b in reader.bodies)

    def _drop_unread(self) -> None:
        live = {s for s in self.schedule.stages if s.is_output}
        for stage in reversed(self.schedule.stages):
            if stage in live:
                for t in reads_of(stage.bodies):
                    producer = self.schedule.producer(t)
                    if producer is not None:
                        live.add(producer)
        self.schedule.stages = [s for s in self.schedule.stages if s in live and not s.inlined]

    def _evaluate_constants(self) -> None:
        remaining = []
        for stage in self.schedule.stages:
            inputs = reads_of(stage.bodies)
            constant = not stage.is_output and stage.attach is None and bool(inputs)
            if constant and not [t for t in inputs if t.data is None and t not in self.known]:
                arrays = evaluate_bodies(
                    [a.var for a in stage.axis],
                    [a.extent for a in stage.axis],
                    stage.bodies,
                    self._value,
                )
                self.known.update(zip(stage.outputs, arrays, strict=True))
            else:
                remaining.append(stage)
        self.schedule.stages = remaining

    def _value(self, tensor: Tensor) -> Array:
        data = tensor.data if tensor.data is not None else self.known.get(tensor)
        assert data is not None
        return data

    # ---- buffers ----

    def _buffer(self, tensor: Tensor) -> Buffer:
        found = self.buffers.get(tensor)
        if found is not None:
            return found
        data = tensor.data if tensor.data is not None else self.known.get(tensor)
        if data is not None:
            made = Buffer(self._unique(tensor.name), tensor.shape, tensor.dtype, "const", data)
            self.constants.append(made)
        else:
            stage = self.schedule.producer(tensor)
            if stage is None:
                raise ScheduleError(f"{self.name} reads {tensor.name}, which is not an argument")
            shape = tuple(r.extent for r in self.domains[stage].region)
            made = Buffer(self._unique(tensor.name), shape, tensor.dtype, stage.scope)
            if stage.scope == "arena":
                self.scratch.append(made)
        self.buffers[tensor] = made
        return made

    def _access(self, tensor: Tensor, indices: tuple[Expr, ...]) -> Expr:
        stage = self.schedule.producer(tensor)
        buffer = self._buffer(tensor)
        if stage is not None and stage in self.domains:
            region = self.domains[stage].region
            indices = tuple(i - r.begin for i, r in zip(indices, region, strict=True))
        return Read(buffer, tuple(self.analyzer.simplify(i) for i in indices))

    def _body(self, expr: Expr, values: dict[Expr, Expr]) -> Expr:
        moved = substitute(expr, values)

        def step(node: Expr) -> Expr | None:
            if isinstance(node, Read) and isinstance(node.source, Tensor):
                return self._access(node.source, node.indices)
            return None

        return self.analyzer.simplify(transform(moved, step, {}))

    # ---- nests ----

    def program(self) -> Program:
        nests = [self._nest(s) for s in self.schedule.stages if s.attach is None]
        body: Stmt = sequence(*nests)
        for stage in self.schedule.stages:
            if stage.attach is None and stage.scope == "register":
                for t in stage.outputs:
                    body = Alloc(self._buffer(t), body)
        outputs = tuple(self.buffers[t] for t in self.schedule.outputs)
        program = clean_program(
            Program(
                name=self.name,
                params=(*(self.buffers[t] for t in self.args), *self.constants),
                body=body,
                scratch=tuple(self.scratch),
                outputs=outputs,
                notes=self.notes,
            )
        )
        check_registers(program)
        return program

    def _nest(self, stage: Stage) -> Stmt:
        domain = self.domains[stage]
        reducing = stage.reduce_leaves()
        first = next((k for k, a in enumerate(stage.leaf) if a in reducing), len(stage.leaf))
        if stage.tensorized is not None:
            if stage.tensorized[0] not in stage.leaf:
                raise ScheduleError(
                    f"{stage.name}: {stage.tensorized[0]!r}, which was tensorized, "
                    "is no longer a loop"
                )
            first = min(first, stage.leaf.index(stage.tensorized[0]))
        return self._loops(stage, domain, 0, first)

    def _loops(self, stage: Stage, domain: Domain, position: int, first_reduce: int) -> Stmt:
        if position == first_reduce and stage.reduce_axis:
            update = self._update(stage, domain, position)
            if stage.tensorized is not None and stage.tensorized[1].fresh:
                axis, intrin = stage.tensorized
                if stage.reduce_leaves() & set(stage.leaf[: stage.leaf.index(axis)]):
                    raise ScheduleError(
                        f"{stage.name} can't be tensorized by {intrin.name}: "
                        "it overwrites its output, "
                        "and a loop around it reduces"
                    )
                return update
            return sequence(self._init(stage, domain, position), update)
        return self._update(stage, domain, position, first_reduce)

    def _update(self, stage: Stage, domain: Domain, position: int, first_reduce: int = -1) -> Stmt:
        if position == len(stage.leaf):
            return self._innermost(stage, domain)
        axis = stage.leaf[position]
        if stage.tensorized is not None and stage.tensorized[0] is axis:
            return self._tensorized(stage, domain, position)
        if first_reduce > position:
            inner = self._loops(stage, domain, position + 1, first_reduce)
        else:
            inner = self._update(stage, domain, position + 1)
        inner = self._with_attached(stage, axis, inner)
        extent = IntImm(domain.extents[axis])
        kind = stage.kinds.get(axis, "serial")
        if kind == "unrolled" and extent.value > MOST_COPIES:
            raise ScheduleError(
                f"{stage.name}: {axis.name} can't be unrolled {extent.value} times; "
                f"at most {MOST_COPIES} was expected"
            )
        return For(axis.var, IntImm(0), extent, inner, kind)

    def _with_attached(self, stage: Stage, axis: IterVar, inner: Stmt) -> Stmt:
        attached = [
            s
            for s in self.schedule.stages
            if s.attach is not None and s.attach.stage is stage and s.attach.axis is axis
        ]
        body = sequence(*[self._nest(s) for s in attached], inner)
        for s in attached:
            if s.scope == "register":
                for t in s.outputs:
                    body = Alloc(self._buffer(t), body)
        return body

    def _stores(self, stage: Stage, domain: Domain, init: bool) -> Stmt:
        values: dict[Expr, Expr] = {a.var: v for a, v in domain.values.items()}
        place = tuple(domain.local[a] for a in stage.axis)
        stores: list[Stmt] = []
        for tensor, body in zip(stage.outputs, stage.bodies, strict=True):
            buffer = self._buffer(tensor)
            if not isinstance(body, Reduce):
                value = self._body(body, values)
            elif init:
                value = self._body(body.start(), values)
            else:
                value = body.combine(Read(buffer, place), self._body(body.value, values))
            stores.append(Store(buffer, place, value))
        return sequence(*stores)

    def _innermost(self, stage: Stage, domain: Domain) -> Stmt:
        guards = (*domain.guards, *domain.reduce_guards)
        body = self._stores(stage, domain, init=False)
        return If(every(*guards), body) if guards else body

    def _init(self, stage: Stage, domain: Domain, position: int) -> Stmt:
        reducing = stage.reduce_leaves()
        body = self._stores(stage, domain, init=True)
        if domain.guards:
            body = If(every(*domain.guards), body)
        fresh: dict[Expr, Expr] = {}
        loops = []
        for axis in stage.leaf[position:]:
            if axis in reducing:
                continue
            var = Var(axis.name)
            extent = domain.extents[axis]
            fresh[axis.var] = var
            self.analyzer.ranges[var] = (0, extent - 1)
            # Registers have no addresses: what sets them up is written out.
            kind = "unrolled" if stage.scope == "register" else stage.kinds.get(axis, "serial")
            loops.append((var, extent, kind))
        body = substitute_stmt(body, fresh)
        for var, extent, kind in reversed(loops):
            body = For(var, IntImm(0), IntImm(extent), body, kind)
        return body

    # ---- tensorize ----

    def _tensorized(self, stage: Stage, domain: Domain, position: int) -> Stmt:
        assert stage.tensorized is not None
        intrin = stage.tensorized[1]
        if len(stage.outputs) != 1:
            raise ScheduleError(f"{stage.name} has several outputs; it can't be tensorized")
        chosen = self._chosen_outside(stage, domain, position)
        if chosen is not None:
            return chosen
        if any(
            s.attach is not None
            and s.attach.stage is stage
            and s.attach.axis in stage.leaf[position:]
            for s in self.schedule.stages
        ):
            raise ScheduleError(f"{stage.name}: a stage is computed inside its tensorized loops")
        for axis in (*intrin.op.axis, *intrin.op.reduce_axis):
            self.analyzer.ranges[axis.var] = (0, axis.extent - 1)
        inside = {a.var: domain.extents[a] for a in stage.leaf[position:]}
        guards = (*domain.guards, *domain.reduce_guards)
        matcher = Matcher(
            intrin, (*intrin.op.axis, *intrin.op.reduce_axis), stage.name, self.analyzer.simplify
        )
        for guard in guards:
            if uses(guard, inside):
                raise matcher.fail("the tile does not divide the loops; split by a divisor")
        try:
            call, where = self._match(
                stage, intrin, matcher, self._bind_roots(stage, domain, matcher, inside)
            )
        except ScheduleError:
            # The loops may be digits of an axis, in an order that a packed layout asks for.
            loops = self._bind_loops(stage, domain, intrin, position)
            if loops is None:
                raise
            matcher = Matcher(intrin, matcher.axes, stage.name, self.analyzer.simplify)
            call, where = self._match(stage, intrin, matcher, loops)
        if where:
            call = If(every(*where), call, self._elementwise(stage, domain, position))
        return If(every(*guards), call) if guards else call

    def _elementwise(self, stage: Stage, domain: Domain, position: int) -> Stmt:
        """What a tile covers, without the tile."""
        body = self._stores(stage, domain, init=False)
        for axis in reversed(stage.leaf[position:]):
            extent = IntImm(domain.extents[axis])
            body = For(axis.var, IntImm(0), extent, body, stage.kinds.get(axis, "serial"))
        return body

    def _chosen_outside(self, stage: Stage, domain: Domain, position: int) -> Stmt | None:
        """A body that the loops around a tile choose: it computes one side, loops the other.

        None where there is no such choice.
        """
        body = stage.bodies[0]
        if not isinstance(body, Select):
            return None
        cond = self._body(body.cond, {a.var: v for a, v in domain.values.items()})
        if uses(cond, {a.var: 0 for a in stage.leaf[position:]}):
            return None
        saved, tensorized = stage.bodies, stage.tensorized
        try:
            stage.bodies = (body.on_true,)
            then = self._tensorized(stage, domain, position)
            stage.bodies, stage.tensorized = (body.on_false,), None
            otherwise = self._update(stage, domain, position)
        finally:
            stage.bodies, stage.tensorized = saved, tensorized
        if isinstance(cond, IntImm):
            return then if cond.value else otherwise
        return If(cond, then, otherwise)

    def _bind_roots(
        self, stage: Stage, domain: Domain, matcher: Matcher, inside: dict[Var, int]
    ) -> _Binding:
        """Root axes of the stage to axes of the intrinsic, in order.

        Axes that cover one index are left out.
        """
        intrin = matcher.intrin
        values: dict[Expr, Expr] = {}
        local: dict[Expr, Expr] = {}
        covered = 1
        data = iter([a for a in intrin.op.axis if a.extent > 1])
        reduce = iter([a for a in intrin.op.reduce_axis if a.extent > 1])
        for axis in (*stage.axis, *stage.reduce_axis):
            absolute, size = outer_part(domain.values[axis], inside)
            relative = outer_part(domain.local.get(axis, domain.values[axis]), inside)[0]
            covered *= size
            if size > 1:
                target = next(data if axis in stage.axis else reduce, None)
                if target is None or target.extent != size:
                    wanted = "none" if target is None else f"extent {target.extent}"
                    raise matcher.fail(f"{axis.name} covers {size}, the intrinsic has {wanted}")
                absolute, relative = absolute + target.var, relative + target.var
            values[axis.var] = absolute
            local[axis.var] = relative
        left = next(data, None) or next(reduce, None)
        if left is not None:
            raise matcher.fail(f"nothing in the loops matches its axis {left!r}")
        loops = 1
        for extent in inside.values():
            loops *= extent
        if covered != loops:
            raise matcher.fail("the loops do not cover a whole box of the axes")
        return values, local

    def _bind_loops(
        self, stage: Stage, domain: Domain, intrin: TensorIntrin, position: int
    ) -> _Binding | None:
        """Loops of the stage to axes of the intrinsic, in order; None where their extents differ.

        Loops of one iteration are left out.
        """
        reducing = stage.reduce_leaves()
        renamed: dict[Expr, Expr] = {}
        targets = {
            False: [a for a in intrin.op.axis if a.extent > 1],
            True: [a for a in intrin.op.reduce_axis if a.extent > 1],
        }
        for leaf in stage.leaf[position:]:
            extent = domain.extents[leaf]
            if extent == 1:
                renamed[leaf.var] = IntImm(0)
                continue
            kind = targets[leaf in reducing]
            if not kind or kind[0].extent != extent:
                return None
            renamed[leaf.var] = kind.pop(0).var
        if targets[False] or targets[True]:
            return None

        def moved(e: Expr) -> Expr:
            return self.analyzer.simplify(substitute(e, renamed))

        values: dict[Expr, Expr] = {a.var: moved(v) for a, v in domain.values.items()}
        return values, {a.var: moved(domain.local[a]) for a in stage.axis}

    def _match(
        self, stage: Stage, intrin: TensorIntrin, matcher: Matcher, binding: _Binding
    ) -> tuple[Stmt, tuple[Expr, ...]]:
        """The call of the intrinsic, and the conditions under which it means what the stage does.

        ScheduleError where there are none.
        """
        values, local = binding
        body, pattern = stage.bodies[0], intrin.op.bodies[0]
        conditions: tuple[Expr, ...] = ()
        single: dict[Expr, Expr] = {a.var: IntImm(0) for a in matcher.axes if a.extent == 1}

        def meaning(e: Expr) -> Expr:
            return self.analyzer.simplify(substitute(e, single))

        if isinstance(body, Reduce) != isinstance(pattern, Reduce) or (
            isinstance(body, Reduce) and isinstance(pattern, Reduce) and body.kind != pattern.kind
        ):
            raise matcher.fail("one of them reduces in another way")
        if isinstance(body, Reduce) and isinstance(pattern, Reduce):
            if body.init is not None and intrin.fresh:
                raise matcher.fail("it overwrites its output, and the sum starts from a value")
            matcher.match(meaning(pattern.value), self._body(body.value, values))
        else:
            value = self._body(body, values)
            if not chosen(pattern)[0]:
                conditions, value = chosen(value)
            matcher.match(meaning(pattern), value)
        tile = {a.var: a.extent for a in intrin.op.axis}
        where = [everywhere(c, tile, self.analyzer) for c in conditions]
        known = tuple(c for c in where if c is not None)
        if len(known) < len(where):
            raise matcher.fail("its condition can't be decided for a tile")
        place = tuple(self.analyzer.simplify(local[a.var]) for a in stage.axis)
        out = view_of(
            self._buffer(stage.outputs[0]),
            place,
            [a.var if a.extent > 1 else IntImm(0) for a in intrin.op.axis],
            intrin.op.axis,
            self.analyzer.simplify,
        )
        if out is None:
            raise matcher.fail("its output is not a box of the stage's tensor")
        return IntrinsicCall(intrin, (out, *matcher.operands()), matcher.scalars()), known


_Binding = tuple[dict[Expr, Expr], dict[Expr, Expr]]
"""A stage's root variables as absolute indices, and its data axes within its buffer.

Both are expressions of the intrinsic's axes.
"""
