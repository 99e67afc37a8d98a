"""Schedules: in which order and where a tensor expression is computed, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microtvm.errors import ScheduleError
from microtvm.te.evaluate import evaluate_bodies
from microtvm.te.layout import IndexMap
from microtvm.te.rewrite import join_constants, read_copy, replace_reads
from microtvm.te.stage import Stage
from microtvm.te.tensor import ComputeOp, IterVar, Reduce, Tensor, compute, constant, reads_of
from microtvm.tir.dtype import dtype_range, is_int
from microtvm.tir.expr import Expr, Read
from microtvm.tir.traversal import post_order, substitute, uses


class ConstantStage:
    """A tensor known at compile time: its layout can be transformed, and nothing else."""

    def __init__(self, schedule: Schedule, tensor: Tensor) -> None:
        self._schedule = schedule
        self.tensor = tensor

    def transform_layout(self, index_map: Callable[..., Sequence[Expr]]) -> None:
        """Store the constant at other indices: rearrange it now, redirect its readers."""
        assert self.tensor.data is not None
        mapping = IndexMap.of(index_map, self.tensor.shape, self.tensor.name)
        packed = mapping.apply(self.tensor.data)
        new = Tensor(mapping.physical_shape, self.tensor.dtype, self.tensor.name, data=packed)
        self._schedule._redirect(self.tensor, new, mapping.forward, None)
        self.tensor = new


class Schedule:
    """The stages of a tensor expression, producers first. `s[T]` is the stage that makes T."""

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        self.outputs: tuple[Tensor, ...] = tuple(outputs)
        self.stages: list[Stage] = []
        self._of: dict[Tensor, Stage] = {}
        self._constants: dict[Tensor, ConstantStage] = {}
        self._successors: dict[Tensor, Tensor] = {}
        """What a primitive replaced to what stands for it, so that old names stay good."""
        for out in self.outputs:
            if out.op is None:
                raise ScheduleError(f"{out.name} is not computed: there is nothing to schedule")
            self._add(out.op)

    def _add(self, op: ComputeOp) -> None:
        pending: list[tuple[ComputeOp, bool]] = [(op, False)]
        while pending:
            current, ready = pending.pop()
            if current.outputs[0] in self._of:
                continue
            if not ready:
                pending.append((current, True))
                pending.extend((t.op, False) for t in current.inputs() if t.op is not None)
                continue
            stage = Stage(self, current)
            self.stages.append(stage)
            for t in current.outputs:
                self._of[t] = stage

    def __getitem__(self, tensor: Tensor) -> Stage:
        stage = self._of.get(tensor)
        if stage is None:
            raise ScheduleError(
                f"{tensor.name} is not computed in this schedule",
                hint="for a constant use schedule.constant(tensor)",
            )
        return stage

    def constant(self, tensor: Tensor) -> ConstantStage:
        """The handle of a constant tensor; ScheduleError where its value is not known."""
        found = self._constants.get(tensor)
        if found is None:
            if tensor.data is None:
                raise ScheduleError(
                    f"{tensor.name} is not a constant: its layout is its producer's"
                )
            found = self._constants[tensor] = ConstantStage(self, tensor)
        return found

    def producer(self, tensor: Tensor) -> Stage | None:
        """The stage that makes the tensor; None for placeholders and constants."""
        return self._of.get(tensor)

    def readers(self, tensor: Tensor) -> list[Stage]:
        """The stages that read the tensor."""
        return [s for s in self.stages if tensor in reads_of(s.bodies)]

    def _redirect(
        self,
        old: Tensor,
        new: Tensor,
        forward: Callable[[Sequence[Expr]], list[Expr]],
        producer: Stage | None,
    ) -> None:
        for stage in self.readers(old):
            stage.bodies = tuple(
                replace_reads(b, old, lambda idx: Read(new, tuple(forward(idx))))
                for b in stage.bodies
            )
        self._successors[old] = new
        if producer is not None:
            self._of[new] = producer

    def current(self, tensor: Tensor) -> Tensor:
        """What readers read now: what stands for the tensor after changes of layout or padding."""
        while tensor in self._successors:
            tensor = self._successors[tensor]
        return tensor

    def replace(self, tensor: Tensor, value: Callable[..., Expr]) -> None:
        """Let readers of `tensor` read `value(*indices)` instead; adds the stages that it needs.

        It is how a template computes a sum in another way; that both are equal is its caller's to
        know. The tensor's own stage goes.
        """
        stage = self[tensor]
        if stage.is_output:
            raise ScheduleError(f"{stage.name} is an output; it can't be replaced")
        axes = tuple(a.var for a in stage.axis)
        instead = value(*axes)
        readers = self.readers(tensor)
        place, count = self.stages.index(stage), len(self.stages)
        for read in reads_of((instead,)):
            if read.op is not None:
                self._add(read.op)
        added = self.stages[count:]
        self.stages[count:] = []
        self.stages[place : place + 1] = added

        def at(indices: tuple[Expr, ...]) -> Expr:
            return substitute(instead, dict(zip(axes, indices, strict=True)))

        for reader in readers:
            reader.bodies = tuple(
                join_constants(replace_reads(b, tensor, at)) for b in reader.bodies
            )

    def cache_write(self, tensor: Tensor, scope: str) -> Tensor:
        """Compute `tensor` into a new tensor of `scope` first.

        What stays of its stage copies from there.
        """
        stage = self[tensor]
        if len(stage.outputs) != 1:
            raise ScheduleError(f"{stage.name} has several outputs; cache_write takes one with one")
        stage._untouched("cache_write")
        fresh = {a: IterVar(a.extent, a.name, "data") for a in stage.axis}
        values: dict[Expr, Expr] = {a.var: n.var for a, n in fresh.items()}
        body = stage.bodies[0]
        if isinstance(body, Reduce):
            moved: Expr = body.map(lambda e: substitute(e, values))
        else:
            moved = substitute(body, values)
        op = ComputeOp(f"{stage.name}_{scope}", tuple(fresh.values()), (moved,))
        cache = Stage(self, op)
        cache.set_scope(scope)
        self.stages.insert(self.stages.index(stage), cache)
        result = op.outputs[0]
        self._of[result] = cache
        stage.bodies = (result[tuple(a.var for a in stage.axis)],)
        stage.reduce_axis = ()
        stage.leaf = list(stage.axis)
        return result

    def cache_read(
        self, tensor: Tensor, scope: str, readers: Sequence[Tensor], dtype: str = ""
    ) -> Tensor:
        """Copy `tensor` to a new tensor of `scope` that `readers` read instead.

        With `dtype` the copy is of that type, which must hold every value of the tensor's.
        """
        tensor = self.current(tensor)
        dtype = dtype or tensor.dtype
        if not _holds(dtype, tensor.dtype):
            raise ScheduleError(f"{dtype} does not hold every {tensor.dtype} of {tensor.name}")
        stages = [self[r] for r in readers]
        for s in stages:
            if tensor not in reads_of(s.bodies):
                raise ScheduleError(f"{s.name} does not read {tensor.name}")
        if not stages:
            raise ScheduleError(f"cache_read of {tensor.name} names no reader")
        copy: Tensor = compute(
            tensor.shape, lambda *i: tensor[i].astype(dtype), name=f"{tensor.name}_{scope}"
        )
        assert copy.op is not None
        cache = Stage(self, copy.op)
        cache.set_scope(scope)
        self.stages.insert(min(self.stages.index(s) for s in stages), cache)
        self._of[copy] = cache
        for s in stages:
            s.bodies = tuple(read_copy(b, tensor, copy) for b in s.bodies)
        return copy

    def evaluate(self, tensor: Tensor) -> Tensor:
        """The value of a stage that reads only constants, now: a constant with a layout to choose.

        Readers read the constant; the stage goes. ScheduleError where it is not known.
        """
        tensor, stage = self.current(tensor), self[tensor]
        data = {t: t.data for t in reads_of(stage.bodies) if t.data is not None}
        if stage.is_output or stage.reduce_axis or len(data) < len(reads_of(stage.bodies)):
            raise ScheduleError(f"{stage.name}: its value is not known at compile time")
        arrays = evaluate_bodies(
            [a.var for a in stage.axis],
            [a.extent for a in stage.axis],
            stage.bodies,
            lambda t: data[t],
        )
        made = constant(arrays[0], tensor.name)
        self._redirect(tensor, made, list, None)
        self.stages.remove(stage)
        return made

    def reindex(self, tensor: Tensor, reader: Tensor) -> Tensor:
        """What the sum `reader` reads of `tensor`, by the sum's own axes: a new stage, returned.

        Its indices are the data axes that the read depends on and one for all reduction axes, which
        become a single one: (rows.., k). It is how a convolution becomes a matrix product.
        """
        tensor, stage = self.current(tensor), self[reader]
        stage._untouched("reindex")
        body = stage.bodies[0]
        reads = (
            [n for n in post_order(body.value) if isinstance(n, Read)]
            if isinstance(body, Reduce)
            else []
        )
        found = [r for r in reads if r.source is tensor]
        if len(found) != 1:
            raise ScheduleError(f"{stage.name} is not a sum with one read of {tensor.name}")
        if len(stage.reduce_axis) > 1:
            stage.fuse_reduction(*stage.reduce_axis)
            return self.reindex(tensor, reader)
        (read,), (k,) = found, stage.reduce_axis
        used = [a for a in stage.axis if any(uses(i, (a.var,)) for i in read.indices)]
        copy: Tensor = compute(
            [*(a.extent for a in used), k.extent],
            lambda *i: substitute(read, dict(zip([*(a.var for a in used), k.var], i, strict=True))),
            name=f"{tensor.name}_rows",
        )
        assert copy.op is not None
        cache = Stage(self, copy.op)
        self.stages.insert(self.stages.index(stage), cache)
        self._of[copy] = cache
        place = Read(copy, (*(a.var for a in used), k.var))
        stage.bodies = (replace_reads(body, tensor, lambda _: place),)
        return copy


def _holds(wide: str, narrow: str) -> bool:
    if wide == narrow:
        return True
    if not (is_int(wide) and is_int(narrow)):
        return False
    (low, high), (first, last) = dtype_range(wide), dtype_range(narrow)
    return low <= first and last <= high


def create_schedule(
    outputs: Tensor | ComputeOp | Sequence[Tensor | ComputeOp],
) -> Schedule:
    """The default schedule: every stage whole, in order, its axes as loops.

    An op stands for its outputs.
    """
    listed = [outputs] if isinstance(outputs, Tensor | ComputeOp) else outputs
    tensors: list[Tensor] = []
    for given in listed:
        tensors += given.outputs if isinstance(given, ComputeOp) else [given]
    return Schedule(tensors)
