"""Random expressions under random legal schedules compute what they computed without one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from microtvm import te
from microtvm.te import Schedule, Stage
from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Program
from tests.te.oracle import arrays_of, assert_same, check, check_compiled, reference
from tests.te.random_te import Expression, expression, random_program, random_schedule
from tests.te.test_tensorize import calls, product, tile

SEEDS = range(100)
COMPILED = range(1000, 1060)
TENSORIZED = range(40)

STAGE_PRIMITIVES = (
    *("split", "tile", "fuse", "reorder", "unroll", "vectorize"),
    *("compute_at", "compute_inline", "set_scope", "transform_layout"),
)
SCHEDULE_PRIMITIVES = ("cache_read", "cache_write")


@pytest.mark.parametrize("block", range(10))
def test_interpreted(block: int) -> None:
    checked = 0
    for seed in SEEDS[block::10]:
        found = random_program(seed)
        if found is not None:
            e, program = found
            result = interpret(program, arrays_of(program, e.inputs))
            assert_same(result, program, reference(e.outputs, e.inputs))
            checked += 1
    assert checked >= 8


def test_compiled(tmp_path: Path) -> None:
    cases = []
    for seed in COMPILED:
        found = random_program(seed)
        if found is not None:
            e, program = found
            cases.append((program, e.inputs, reference(e.outputs, e.inputs)))
    assert len(cases) >= len(COMPILED) * 9 // 10
    check_compiled(cases, tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_without_a_schedule(seed: int) -> None:
    """The default schedule by the interpreter is what NumPy says."""
    rng = random.Random(seed)
    e = expression(rng, rng.randint(1, 5))
    program = te.lower(te.create_schedule(e.outputs), [*e.inputs, *e.outputs])
    result = interpret(program, arrays_of(program, e.inputs))
    assert_same(result, program, reference(e.outputs, e.inputs))


def test_lowering_leaves_the_schedule_as_it_was() -> None:
    rng = random.Random(5)
    e = expression(rng, 5)
    s = random_schedule(rng, e)
    for _ in range(2):
        program = te.lower(s, [*e.inputs, *e.outputs])
        result = interpret(program, arrays_of(program, e.inputs))
        assert_same(result, program, reference(e.outputs, e.inputs))


def test_no_primitive_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a part of many of the schedules above, but for `tensorize`, which comes below."""
    used: set[str] = set()
    for owner, names in ((Stage, STAGE_PRIMITIVES), (Schedule, SCHEDULE_PRIMITIVES)):
        for name in names:
            _watch(monkeypatch, owner, name, used)
    counts = dict.fromkeys((*STAGE_PRIMITIVES, *SCHEDULE_PRIMITIVES), 0)
    for seed in COMPILED:
        used.clear()
        rng = random.Random(seed)
        random_schedule(rng, expression(rng, rng.randint(1, 5)))
        for name in used:
            counts[name] += 1
    assert min(counts.values()) >= 10, counts


def _watch(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, used: set[str]) -> None:
    """Each call of a method adds its name to `used`."""
    method = getattr(owner, name)

    def watched(*args: Any, **words: Any) -> Any:
        used.add(name)
        return method(*args, **words)

    monkeypatch.setattr(owner, name, watched)


def _tensorized(seed: int) -> tuple[Program, Expression]:
    """A product of random sizes in random tiles of an intrinsic, under random outer loops."""
    rng = random.Random(seed)
    rows, columns, depth = (rng.randint(1, 4) for _ in range(3))
    sizes = [n * rng.randint(1, 4) for n in (rows, columns, depth)]
    inputs, y = product(*sizes, transposed=rng.random() < 0.5)
    s = te.create_schedule(y)
    stage = s[y]
    if rng.random() < 0.4:
        stage = s[s.cache_write(y, "arena")]
    for tensor in inputs:
        if rng.random() < 0.3:
            s.cache_read(tensor, "arena", [stage.outputs[0]])
    i, j = stage.axis
    (r,) = stage.reduce_axis
    io, jo, ii, ji = stage.tile(i, j, rows, columns)
    ro, ri = stage.split(r, factor=depth)
    outer = [io, jo, ro]
    rng.shuffle(outer)
    stage.reorder(*outer, ii, ji, ri)
    for axis in outer:
        if rng.random() < 0.3:
            # What does not divide leaves a condition, under which no tile is whole.
            divisors = [d for d in range(1, axis.extent + 1) if axis.extent % d == 0]
            stage.split(axis, factor=rng.choice(divisors))
        elif rng.random() < 0.3:
            stage.unroll(axis)
    stage.tensorize(ii, tile(rows, columns, depth))
    program = check(s, inputs, f"tensorized{seed}")
    assert calls(program)
    return program, Expression(inputs, [y])


def test_tensorized(tmp_path: Path) -> None:
    cases = []
    for seed in TENSORIZED:
        program, e = _tensorized(seed)
        cases.append((program, e.inputs, reference(e.outputs, e.inputs)))
    check_compiled(cases, tmp_path)
