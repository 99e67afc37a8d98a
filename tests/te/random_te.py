"""Random tensor expressions with exact integer values, and random legal schedules for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from microtvm import te
from microtvm.errors import ScheduleError
from microtvm.te import Schedule, Stage, Tensor
from microtvm.te.tensor import IterVar
from microtvm.tir.expr import Expr
from microtvm.tir.stmt import Program
from microtvm.util import Array

LARGEST = 100
"""Values are limited to this before they enter a stage, so that no sum of products leaves int32."""


@dataclass
class Expression:
    """Placeholders with an array each, and the tensors to compute."""

    inputs: dict[Tensor, Array]
    outputs: list[Tensor]


@dataclass
class _Pool:
    rng: random.Random
    tensors: list[Tensor] = field(default_factory=list)
    inputs: dict[Tensor, Array] = field(default_factory=dict)
    count: int = 0

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def data(self, shape: tuple[int, ...], dtype: str = "int8") -> Array:
        generator = np.random.default_rng(self.rng.randrange(1 << 30))
        return generator.integers(-LARGEST, LARGEST + 1, shape).astype(dtype)

    def placeholder(self) -> None:
        shape = tuple(self.rng.randint(1, 7) for _ in range(self.rng.randint(1, 3)))
        dtype = self.rng.choice(["int8", "int32"])
        made = te.placeholder(shape, dtype, self.name("x"))
        self.inputs[made] = self.data(shape, dtype)
        self.tensors.append(made)

    def any(self) -> Tensor:
        # The newest more often than not, so that chains become long.
        return self.tensors[-1] if self.rng.random() < 0.6 else self.rng.choice(self.tensors)


def value(tensor: Tensor, *index: Expr) -> Expr:
    """An element as int32, limited."""
    wide: Expr = tensor[index].astype("int32")
    return te.clip(wide, -LARGEST, LARGEST)


def _scalar(rng: random.Random, x: Expr, y: Expr) -> Expr:
    """A function of two small numbers."""
    makers: list[Callable[[], Expr]] = [
        lambda: x + y,
        lambda: x * 3 - y,
        lambda: te.select(x > y, x - y, y * 2),
        lambda: te.max(x, y) + te.min(x, 5),
        lambda: te.truncdiv(x, 3) + y,
        lambda: te.floordiv(x, 5) - y % 7,
        lambda: (x >> 1) ^ y,
        lambda: te.select(te.any(x < -20, te.not_(y < 30)), x & y, x | 1),
        lambda: te.select(te.all(x >= 0, te.equal(y % 2, 0)), x, -y),
    ]
    return rng.choice(makers)()


def _map(p: _Pool) -> list[Tensor]:
    a = p.any()
    others = [t for t in p.tensors if t.shape == a.shape]
    b = p.rng.choice(others)
    return [
        te.compute(a.shape, lambda *i: _scalar(p.rng, value(a, *i), value(b, *i)), p.name("map"))
    ]


def _broadcast(p: _Pool) -> list[Tensor]:
    a = p.any()
    row = te.constant(p.data(a.shape[-1:]), p.name("row"))
    return [
        te.compute(
            a.shape, lambda *i: value(a, *i) * 2 + row[i[-1]].astype("int32"), p.name("bias")
        )
    ]


def _two_outputs(p: _Pool) -> list[Tensor]:
    a = p.any()
    found: list[Tensor] = te.compute(
        a.shape,
        lambda *i: [value(a, *i) + 1, te.select(i[0] < 2, value(a, *i), 7)],
        p.name("two"),
    )
    return found


def _pad(p: _Pool) -> list[Tensor]:
    a = p.any()
    before = [p.rng.randint(0, 2) for _ in a.shape]
    after = [p.rng.randint(0, 2) for _ in a.shape]
    shape = [n + b + e for n, b, e in zip(a.shape, before, after, strict=True)]

    def element(*i: Expr) -> Expr:
        inside = te.all(
            *(te.all(v >= b, v < b + n) for v, b, n in zip(i, before, a.shape, strict=True))
        )
        return te.select(inside, value(a, *(v - b for v, b in zip(i, before, strict=True))), 9)

    return [te.compute(shape, element, p.name("pad"))]


def _stencil(p: _Pool) -> list[Tensor]:
    a = p.any()
    axis = p.rng.randrange(len(a.shape))
    taps = p.rng.randint(1, min(3, a.shape[axis]))
    step = p.rng.randint(1, 2)
    shape = list(a.shape)
    shape[axis] = (a.shape[axis] - taps) // step + 1

    def element(*i: Expr) -> Expr:
        total: Expr = value(a, *i[:axis], i[axis] * step, *i[axis + 1 :])
        for k in range(1, taps):
            total = total - value(a, *i[:axis], i[axis] * step + k, *i[axis + 1 :]) * k
        return total

    return [te.compute(shape, element, p.name("stencil"))]


def _reduce(p: _Pool) -> list[Tensor]:
    a = p.any()
    axis = p.rng.randrange(len(a.shape))
    k = te.reduce_axis(a.shape[axis], "k")
    shape = (*a.shape[:axis], *a.shape[axis + 1 :]) or (1,)
    reducer = p.rng.choice([te.sum, te.max, te.min])

    def element(*i: Expr) -> Expr:
        kept = i if len(a.shape) > 1 else ()
        return reducer(value(a, *kept[:axis], k.var, *kept[axis:]), axis=k)

    return [te.compute(shape, element, p.name("reduce"))]


def _window(p: _Pool) -> list[Tensor]:
    """A sliding window over one axis, with its own padding by a select inside the reduction."""
    a = p.any()
    axis = p.rng.randrange(len(a.shape))
    taps, pad = p.rng.randint(1, 4), p.rng.randint(0, 2)
    step, hole = p.rng.randint(1, 2), p.rng.randint(1, 2)
    n = a.shape[axis]
    extent = (n + 2 * pad - hole * (taps - 1) - 1) // step + 1
    if extent < 1:
        return []
    k = te.reduce_axis(taps, "t")
    weight = te.constant(p.data((taps,)), p.name("w"))
    shape = (*a.shape[:axis], extent, *a.shape[axis + 1 :])

    def element(*i: Expr) -> Expr:
        at = i[axis] * step + k.var * hole - pad
        inside = te.all(at >= 0, at < n)
        x = te.select(inside, value(a, *i[:axis], at, *i[axis + 1 :]), 3)
        return te.sum(x * weight[k.var].astype("int32"), axis=k)

    return [te.compute(shape, element, p.name("window"))]


def _product(p: _Pool) -> list[Tensor]:
    a = p.any()
    columns = p.rng.randint(1, 6)
    weight = te.constant(p.data((a.shape[-1], columns)), p.name("w"))
    k = te.reduce_axis(a.shape[-1], "k")

    def element(*i: Expr) -> Expr:
        return te.sum(value(a, *i[:-1], k.var) * weight[k.var, i[-1]].astype("int32"), axis=[k])

    return [te.compute((*a.shape[:-1], columns), element, p.name("product"))]


def _reshape(p: _Pool) -> list[Tensor]:
    a = p.any()
    total = int(np.prod(a.shape))
    divisors = [d for d in range(1, total + 1) if total % d == 0]
    first = p.rng.choice(divisors)
    shape = (first, total // first)

    def element(i: Expr, j: Expr) -> Expr:
        flat = i * shape[1] + j
        parts = []
        for n in reversed(a.shape):
            parts.append(flat % n)
            flat = flat // n
        return value(a, *reversed(parts))

    return [te.compute(shape, element, p.name("view"))]


def _transpose(p: _Pool) -> list[Tensor]:
    a = p.any()
    order = list(range(len(a.shape)))
    p.rng.shuffle(order)
    place = {axis: k for k, axis in enumerate(order)}
    return [
        te.compute(
            [a.shape[axis] for axis in order],
            lambda *i: value(a, *(i[place[d]] for d in range(len(order)))),
            p.name("transpose"),
        )
    ]


KINDS = [
    _map, _map, _broadcast, _two_outputs, _pad, _pad, _stencil, _stencil, _reduce, _window, _window,
    _product, _reshape, _transpose,
]  # fmt: skip


def expression(rng: random.Random, stages: int) -> Expression:
    """`stages` random stages over one or two placeholders; outputs: what nobody reads, or more."""
    pool = _Pool(rng)
    for _ in range(rng.randint(1, 2)):
        pool.placeholder()
    made: list[Tensor] = []
    while len(made) < stages:
        new = rng.choice(KINDS)(pool)
        if new and np.prod(new[0].shape) <= 400:
            made += new
            pool.tensors += new
    read = {t for m in made for t in m.op.inputs()} if made else set()
    outputs = [t for t in made if t not in read]
    if rng.random() < 0.2:
        outputs += [t for t in made if t not in outputs][:1]
    return Expression(pool.inputs, outputs)


# ---- schedules ----


def _loops(rng: random.Random, stage: Stage) -> None:
    """Random splits, fusions, orders and kinds of one stage's loops."""
    for _ in range(rng.randint(0, 3)):
        choice = rng.randrange(4)
        axis = rng.choice(stage.leaf) if stage.leaf else None
        if axis is None:
            return
        if choice == 0:
            stage.split(axis, factor=rng.randint(1, 5))
        elif choice == 1:
            stage.split(axis, nparts=rng.randint(1, 4))
        elif choice == 2:
            _fuse(rng, stage)
        else:
            some = rng.sample(stage.leaf, rng.randint(1, len(stage.leaf)))
            stage.reorder(*some)
    data = [a for a in stage.leaf if a not in stage.reduce_leaves()]
    if len(data) >= 2 and rng.random() < 0.3:
        y, x = rng.sample(data, 2)
        stage.tile(y, x, rng.randint(1, 4), rng.randint(1, 4))


def _fuse(rng: random.Random, stage: Stage) -> None:
    reducing = stage.reduce_leaves()
    pairs = [
        (a, b)
        for a, b in zip(stage.leaf, stage.leaf[1:], strict=False)
        if (a in reducing) == (b in reducing)
    ]
    if pairs:
        stage.fuse(*rng.choice(pairs))


def _kinds(rng: random.Random, stage: Stage) -> None:
    if not stage.leaf:
        return
    last = stage.leaf[-1]
    if rng.random() < 0.4 and last not in stage.reduce_leaves():
        stage.vectorize(last)
    written = 1
    for axis in rng.sample(stage.leaf, len(stage.leaf)):
        if axis not in stage.kinds and rng.random() < 0.3 and written * axis.extent <= 16:
            stage.unroll(axis)
            written *= axis.extent


def _caches(rng: random.Random, s: Schedule, e: Expression) -> None:
    """Copies of tensors and other layouts, before loops are changed."""
    for stage in list(s.stages):
        tensor = stage.outputs[0]
        if len(stage.outputs) == 1 and rng.random() < 0.25:
            s.cache_write(tensor, "arena")
        if rng.random() < 0.2 and not stage.is_output and s.readers(tensor):
            readers = [r.outputs[0] for r in s.readers(tensor)]
            s.cache_read(tensor, "arena", rng.sample(readers, rng.randint(1, len(readers))))
    for tensor in e.inputs:
        readers = [r.outputs[0] for r in s.readers(tensor)]
        if readers and rng.random() < 0.3:
            s.cache_read(tensor, "arena", readers)


def _permuted(rng: random.Random, rank: int) -> Callable[..., list[Expr]]:
    order = list(range(rank))
    rng.shuffle(order)
    return lambda *i: [i[k] for k in order]


def _blocked(axis: int, factor: int) -> Callable[..., list[Expr]]:
    def index(*i: Expr) -> list[Expr]:
        return [i[axis] // factor, *i[:axis], *i[axis + 1 :], i[axis] % factor]

    return index


def _layouts(rng: random.Random, s: Schedule) -> None:
    for stage in s.stages:
        if stage.is_output or rng.random() > 0.25:
            continue
        rank = len(stage.axis)
        axis = rng.randrange(rank)
        divisors = [
            d for d in range(1, stage.axis[axis].extent + 1) if not stage.axis[axis].extent % d
        ]
        chosen = (
            _permuted(rng, rank) if rng.random() < 0.5 else _blocked(axis, rng.choice(divisors))
        )
        stage.transform_layout(chosen)
    constants = {t for st in s.stages for t in _constants(st)}
    for tensor in sorted(constants, key=lambda t: t.name):
        if rng.random() < 0.5:
            axis = rng.randrange(len(tensor.shape))
            chosen = (
                _permuted(rng, len(tensor.shape))
                if rng.random() < 0.5
                else _blocked(axis, rng.randint(1, 4))
            )
            s.constant(tensor).transform_layout(chosen)


def _constants(stage: Stage) -> list[Tensor]:
    return [t for t in te.tensor.reads_of(stage.bodies) if t.data is not None]


def _place(rng: random.Random, s: Schedule) -> None:
    """Inline stages, or compute them in a loop that is around everything that reads them."""
    for stage in reversed(s.stages):
        if stage.is_output:
            continue
        if not stage.reduce_axis and rng.random() < 0.3:
            stage.compute_inline()
            continue
        readers = {r for t in stage.outputs for r in _real_readers(s, t)}
        if len(readers) != 1 or rng.random() < 0.3:
            continue
        (reader,) = readers
        if not reader.leaf:
            continue
        axis = rng.choice(reader.leaf)
        stage.compute_at(reader, axis)
        if rng.random() < 0.4 and _small(reader, axis, stage):
            _in_registers(reader, axis, stage)


def _real_readers(s: Schedule, tensor: Tensor) -> set[Stage]:
    found: set[Stage] = set()
    for reader in s.readers(tensor):
        if reader.inlined:
            for t in reader.outputs:
                found |= _real_readers(s, t)
        else:
            found.add(reader)
    return found


def _small(reader: Stage, axis: IterVar, stage: Stage) -> bool:
    inner = reader.leaf[reader.leaf.index(axis) + 1 :]
    return bool(
        np.prod([a.extent for a in inner]) <= 32
        and np.prod([a.extent for a in stage.leaf]) <= 32
        and not any(
            st.attach and st.attach.stage is reader
            for st in reader._schedule.stages
            if st is not stage
        )
    )


def _in_registers(reader: Stage, axis: IterVar, stage: Stage) -> None:
    stage.set_scope("register")
    for a in reader.leaf[reader.leaf.index(axis) + 1 :]:
        reader.unroll(a)
    for a in stage.leaf:
        stage.unroll(a)


def random_schedule(rng: random.Random, e: Expression) -> Schedule:
    """A schedule of random primitives, all of them legal."""
    s = te.create_schedule(e.outputs)
    if rng.random() < 0.6:
        _caches(rng, s, e)
    _layouts(rng, s)
    for stage in s.stages:
        _loops(rng, stage)
        _kinds(rng, stage)
    _place(rng, s)
    return s


def random_program(seed: int, most_stages: int = 5) -> tuple[Expression, Program] | None:
    """An expression lowered under a random schedule.

    None where registers were asked for whose indices turn out not to be constants.
    """
    rng = random.Random(seed)
    e = expression(rng, rng.randint(1, most_stages))
    s = random_schedule(rng, e)
    try:
        return e, te.lower(s, [*e.inputs, *e.outputs], f"seed{seed}")
    except ScheduleError as error:
        if "the register buffer" in error.message:
            return None
        raise
