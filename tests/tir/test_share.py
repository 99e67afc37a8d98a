"""Which sub-expressions become locals."""

from __future__ import annotations

from microtvm.tir.expr import Expr, IntImm, Select, Var, binary
from microtvm.tir.share import Branch, Local, Sharing

A, B, C = Var("a"), Var("b"), Var("c")


def plan(*roots: Expr, deepest: int = 48) -> tuple[Local | Branch, ...]:
    sharing = Sharing(
        lambda node: node.children(), lambda node: isinstance(node, Var | IntImm), deepest
    )
    return sharing.plan(roots)


def test_what_is_used_once_or_is_simple_stays() -> None:
    assert plan(A * B + C, A + A) == ()


def test_what_is_used_twice_becomes_a_local_once() -> None:
    shared = A * B
    twice = shared + C
    assert plan(twice * twice, shared - 1) == (Local(shared), Local(twice))


def test_a_root_that_is_also_an_operand_is_shared() -> None:
    assert plan(A * B, (A * B) + 1) == (Local(A * B),)


def test_nothing_leaves_the_branch_of_a_select() -> None:
    shared = binary("//", A, B)
    chosen = Select(binary("!=", B, 0), shared * shared, IntImm(0))
    (step,) = plan(chosen)
    assert isinstance(step, Branch)
    assert step.node is chosen
    assert step.then.steps == (Local(shared),)
    assert step.otherwise.steps == ()


def test_the_right_side_of_and_is_conditional() -> None:
    shared = binary("//", A, B)
    both = binary("and", binary("!=", B, 0), (shared * shared) > 4)
    (step,) = plan(both)
    assert isinstance(step, Branch)
    assert step.then.steps == (Local(shared),)
    assert step.otherwise.value is IntImm(0, "bool")
    either = binary("or", binary("==", B, 0), (shared * shared) > 4)
    (step,) = plan(either)
    assert isinstance(step, Branch)
    assert step.then.value is IntImm(1, "bool")


def test_what_both_branches_or_the_condition_need_is_evaluated_before() -> None:
    shared = A * B
    assert plan(Select(C < 0, shared + 1, shared - 1)) == (Local(shared),)
    assert plan(Select(shared < 0, shared, C)) == (Local(shared),)


def test_what_one_branch_shares_with_the_outside_is_evaluated_before() -> None:
    shared = A * B
    assert plan(Select(C < 0, shared, C) + shared) == (Local(shared),)


def test_selects_in_chains_stay_linear() -> None:
    value: Expr = A
    for n in range(60):
        value = Select(n > A, value * 3 + B, value * 5 + C)
    steps = plan(value)
    assert len(steps) < 200


def test_deep_expressions_are_cut() -> None:
    total: Expr = A
    for n in range(1, 100):
        total = (B + n) - total
    steps = plan(total, deepest=30)
    assert 3 <= len(steps) <= 6
    assert all(isinstance(step, Local) for step in steps)
