"""Properties of every planner, and optima."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtvm.errors import IRError, ToolError, UserError
from microtvm.memory import PLANNERS, Ahead, Plan, Request, check_plan, lower_bound_bytes, plan
from tests.conftest import require_module
from tests.memory.strategy import overlaps, requests, smallest_total

FAST = [name for name in PLANNERS if name != "exact"]


@pytest.mark.parametrize("planner", [name for name in FAST if name != "auto"])
@settings(max_examples=60, deadline=None)
@given(wanted=requests())
def test_plans_hold(planner: str, wanted: list[Request]) -> None:
    _hold(planner, wanted)


@settings(max_examples=25, deadline=None)
@given(wanted=requests(max_count=14))
def test_climbed_plans_hold(wanted: list[Request]) -> None:
    _hold("auto", wanted)


@settings(max_examples=25, deadline=None)
@given(wanted=requests(max_count=10))
def test_exact_plans_hold(wanted: list[Request]) -> None:
    require_module("ortools")
    _hold("exact", wanted)


def _hold(planner: str, wanted: list[Request]) -> None:
    found = plan(wanted, planner)
    assert list(found.offsets) == [request.name for request in wanted]
    for a, b in itertools.combinations(wanted, 2):
        assert not overlaps(a, found.offsets[a.name], b, found.offsets[b.name])
    for request in wanted:
        assert found.offsets[request.name] % request.align == 0
        assert found.offsets[request.name] >= 0
        assert request.offset in (None, found.offsets[request.name])
    ends = [found.offsets[request.name] + request.size_bytes for request in wanted]
    assert found.total_bytes == max(ends, default=0)
    assert found.total_bytes >= found.lower_bound_bytes >= _most_alive(wanted)
    aligned = sum(-(-request.size_bytes // 16) * 16 for request in wanted)
    assert found.total_bytes <= aligned
    assert plan(wanted, planner) == found


def _most_alive(wanted: list[Request]) -> int:
    """In one step, where all that may share memory does."""
    by_name = {r.name: r for r in wanted}

    def alive(step: int) -> int:
        now = [r for r in wanted if r.first <= step <= r.last]
        total = sum(r.size_bytes for r in now)
        for r in now:
            if r.ahead is not None and by_name[r.ahead.name] in now:
                other = by_name[r.ahead.name].size_bytes
                total -= max(0, min(other, r.size_bytes - r.ahead.distance))
        return total

    return max(alive(step) for step in range(20))


@settings(max_examples=40, deadline=None)
@given(wanted=requests(max_count=5, max_size_bytes=12))
def test_exact_is_the_smallest(wanted: list[Request]) -> None:
    require_module("ortools")
    optimum = smallest_total(wanted)
    exact = plan(wanted, "exact")
    assert exact.total_bytes == exact.lower_bound_bytes == optimum
    assert lower_bound_bytes(wanted) <= optimum
    assert plan(wanted).total_bytes >= optimum


@settings(max_examples=20, deadline=None)
@given(wanted=requests(max_count=14))
def test_auto_is_the_best_of_the_others(wanted: list[Request]) -> None:
    totals = {name: plan(wanted, name).total_bytes for name in FAST}
    assert totals["auto"] == min(totals.values())


@settings(max_examples=30, deadline=None)
@given(wanted=requests(), shift=st.integers(1, 1000))
def test_only_the_order_of_steps_counts(wanted: list[Request], shift: int) -> None:
    moved = [replace(r, first=3 * r.first + shift, last=3 * r.last + shift) for r in wanted]
    assert plan(moved, "greedy_size") == plan(wanted, "greedy_size")


# The example of the README of MiniMalloc (Moffitt, ASPLOS 2023), whose optimum it gives as 12.
MINIMALLOC = [
    Request("b1", 4, 0, 2),
    Request("b2", 4, 3, 8),
    Request("b3", 4, 0, 8),
    Request("b4", 4, 9, 20),
    Request("b5", 4, 0, 20),
]


@pytest.mark.parametrize("planner", FAST)
def test_a_published_example(planner: str) -> None:
    assert plan(MINIMALLOC, planner).total_bytes == 12


# Found by random search: size, first and last step of twelve buffers that fit into 32 bytes.
HARD = [
    Request(f"b{index}", size, first, last)
    for index, (size, first, last) in enumerate(
        [
            (7, 3, 5),
            (5, 7, 9),
            (8, 1, 2),
            (6, 4, 6),
            (9, 9, 11),
            (5, 0, 1),
            (8, 4, 5),
            (6, 0, 3),
            (2, 1, 4),
            (5, 5, 5),
            (9, 2, 4),
            (6, 5, 8),
        ]
    )
]

# Two of them begin at a multiple of 4, and only one byte can be between them.
ABOVE_BOUND = [Request("a", 2, 0, 0, 4), Request("b", 2, 0, 0, 4), Request("c", 1, 0, 0, 1)]


def chain(*sizes: int) -> list[Request]:
    """A model without branches: each tensor lives from the step that writes it to the next."""
    return [Request(f"t{i}", size, i, i + 1, 16) for i, size in enumerate(sizes)]


def test_a_chain_needs_its_largest_pair() -> None:
    # The tensors of the keyword spotting model of MLPerf Tiny: input, five pairs of convolutions.
    found = plan(chain(490, *[8000] * 9, 64, 12, 12))
    assert found.total_bytes == found.lower_bound_bytes == 16000


def overlapping(*sizes: int, distance: int) -> list[Request]:
    """A chain, each tensor of which may begin before the one that it is made of."""
    tensors = chain(*sizes)
    return [
        tensors[0],
        *(
            replace(after, ahead=Ahead(before.name, distance))
            for before, after in itertools.pairwise(tensors)
        ),
    ]


@pytest.mark.parametrize("planner", ["auto", "greedy_end"])
def test_a_chain_that_overlaps_needs_little_more_than_its_largest(planner: str) -> None:
    found = plan(overlapping(*[8000] * 5, distance=192), planner)
    assert found.total_bytes == 8000 + 4 * 192
    assert found.lower_bound_bytes == 8192
    assert [found.offsets[f"t{i}"] for i in range(5)] == [768, 576, 384, 192, 0]


def test_the_larger_one_of_two_that_overlap() -> None:
    wide = overlapping(18432, 36864, distance=18400)
    assert plan(wide).total_bytes == lower_bound_bytes(wide) == 36864
    narrow = overlapping(36864, 9216, distance=2288)
    assert plan(narrow).total_bytes == lower_bound_bytes(narrow) == 36864 + 2288


def test_the_exact_planner_overlaps() -> None:
    require_module("ortools")
    assert plan(overlapping(*[800] * 5, distance=16), "exact").total_bytes == 864
    apart = [Request("x", 8, 0, 1, 4), Request("y", 8, 1, 2, 4, ahead=Ahead("x", 9))]
    assert plan(apart, "exact").total_bytes == 16


def test_gaps_are_filled() -> None:
    # A residual connection holds the middle of the arena while the branch beside it is computed.
    wanted = [
        Request("input", 100, 0, 1),
        Request("skip", 50, 1, 4),
        Request("branch", 60, 2, 3),
        Request("next", 40, 3, 4),
    ]
    assert plan(wanted, "greedy_size").total_bytes == 150


def test_what_greedy_misses_is_found() -> None:
    greedy = min(plan(HARD, name).total_bytes for name in FAST if name.startswith("greedy"))
    climbed = plan(HARD)
    assert climbed.planner == "climb"
    assert climbed.total_bytes == climbed.lower_bound_bytes < greedy


def test_the_solver_raises_the_bound() -> None:
    require_module("ortools")
    live = lower_bound_bytes(ABOVE_BOUND)
    exact = plan(ABOVE_BOUND, "exact")
    assert exact.total_bytes == smallest_total(ABOVE_BOUND) == exact.lower_bound_bytes > live


def test_alignment_costs_what_it_must() -> None:
    # Of three bytes with 16 bytes of alignment, all but the last take 16.
    wanted = [Request(name, 1, 0, 0, 16) for name in "abc"]
    found = plan(wanted)
    assert found.total_bytes == found.lower_bound_bytes == 33


def test_fixed_buffers_stay() -> None:
    wanted = [Request("state", 32, 0, 9, 16, 64), Request("a", 64, 0, 3), Request("b", 8, 2, 5)]
    found = plan(wanted)
    assert found.offsets["state"] == 64
    assert found.offsets["a"] == 0
    assert found.total_bytes == 104
    low = [Request("state", 4, 0, 0, 4, 64), Request("a", 4, 0, 0)]
    assert lower_bound_bytes(low) == plan(low).total_bytes == 68


def test_nothing_needs_nothing() -> None:
    for planner in FAST:
        assert plan([], planner).total_bytes == 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([Request("a", 1, 0, 0), Request("a", 1, 1, 1)], "two buffers are named 'a'"),
        ([Request("a", -1, 0, 0)], "buffer 'a' has -1 bytes"),
        ([Request("a", 1, 2, 1)], "buffer 'a' lives from step 2 to 1"),
        ([Request("a", 1, 0, 0, 12)], "buffer 'a' has an alignment of 12"),
        ([Request("a", 1, 0, 0, 0)], "buffer 'a' has an alignment of 0"),
        ([Request("a", 1, 0, 0, 4, 2)], "buffer 'a' is fixed at 2, not aligned to 4"),
        ([Request("a", 1, 0, 0, 1, -1)], "buffer 'a' is fixed at -1, not aligned to 1"),
        (
            [Request("a", 8, 0, 3, 4, 0), Request("b", 8, 3, 5, 4, 4)],
            "buffers 'a' and 'b' are fixed in one place",
        ),
        *(
            (
                [Request("a", 8, 0, 3), Request("b", 8, first, 5, ahead=Ahead(name, distance))],
                "buffer 'b' can't begin before",
            )
            for name, first, distance in [("c", 3, 0), ("a", 2, 0), ("a", 4, 0), ("a", 3, -1)]
        ),
        (
            [
                Request("a", 8, 0, 3),
                *(Request(name, 8, 3, 4, ahead=Ahead("a", 0)) for name in "bc"),
            ],
            "two buffers begin before others in step 3",
        ),
    ],
)
def test_requests_that_make_no_sense(wanted: list[Request], message: str) -> None:
    with pytest.raises(IRError, match=message):
        plan(wanted)


@pytest.mark.parametrize(
    ("offsets", "total_bytes", "message"),
    [
        ({"a": 0, "b": 4}, 12, "planner p lets 'a' overlap 'b'"),
        ({"a": 0}, 8, "planner p has left out buffer 'b'"),
        ({"a": 2, "b": 12}, 20, "planner p has misplaced 'a' at 2"),
        ({"a": -8, "b": 0}, 8, "planner p has misplaced 'a' at -8"),
        ({"a": 0, "b": 8}, 15, "planner p says 15 bytes; it needs 16"),
    ],
)
def test_plans_that_do_not_hold(offsets: dict[str, int], total_bytes: int, message: str) -> None:
    wanted = [Request("a", 8, 0, 1, 4), Request("b", 8, 1, 2, 4)]
    with pytest.raises(IRError, match=message):
        check_plan(wanted, Plan(offsets, total_bytes, 8, "p"))


@pytest.mark.parametrize(("b", "holds"), [(0, True), (3, True), (4, False), (8, False), (15, True)])
def test_plans_that_overlap(b: int, holds: bool) -> None:
    """`b` may begin five bytes before `a`, or more, or behind it."""
    wanted = [Request("a", 7, 0, 1), Request("b", 20, 1, 2, ahead=Ahead("a", 5))]
    made = Plan({"a": 8, "b": b}, b + 20, 20, "p")
    if holds:
        check_plan(wanted, made)
    else:
        with pytest.raises(IRError, match="planner p lets 'a' overlap 'b'"):
            check_plan(wanted, made)


def test_unknown_planners() -> None:
    with pytest.raises(UserError, match="no memory planner 'best'") as caught:
        plan([], "best")
    assert "greedy_size" in caught.value.hint


def test_the_exact_planner_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.sat.python", None)
    with pytest.raises(ToolError, match="the exact memory planner needs ortools") as caught:
        plan(ABOVE_BOUND, "exact")
    assert "microtvm[exact]" in caught.value.hint
