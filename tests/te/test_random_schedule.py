"""Random expressions under random legal schedules compute what they computed without one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from microtvm import te
from microtvm.tir.interpret import interpret
from tests.te.oracle import arrays_of, assert_same, check_compiled, reference
from tests.te.random_te import expression, random_program, random_schedule

SEEDS = range(100)
COMPILED = range(1000, 1060)


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
