"""The flash budget: how it is written, and which layers get larger weights for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from microtvm.errors import UserError
from microtvm.isa.schedule import Choice, alternatives
from microtvm.isa.template import Cost
from microtvm.lower.budget import DEFAULT_BUDGET, FlashBudget, best, choose
from microtvm.lower.kernel import small_groups
from microtvm.passes.fuse import fuse
from microtvm.pipeline import CompileOptions, compile_model
from microtvm.target import load_cpu
from tests.golden.mlperf import model_file
from tests.isa.test_winograd import NAME, convolution, random_convolutions

M4 = load_cpu("cortex-m4")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (1.5, 1500),
        ("1", 1000),
        (2, 2000),
        ("1.", 1000),
        (" 16 ", 16000),
        ("1000B", 1000),
        ("3k", 3072),
        ("1.5K", 1536),
        ("0.5M", 1 << 19),
        (".5M", 1 << 19),
    ],
)
def test_a_budget_as_it_is_written(text: str | float, limit: int) -> None:
    assert FlashBudget.of(text).extra(1000) == limit - 1000


@pytest.mark.parametrize(
    "text", ["", "much", "-1", "nan", "inf", "1.5x", "1e9", "1,5", "K", ".", float("nan"), -2.0]
)
def test_no_budget(text: str | float) -> None:
    with pytest.raises(UserError, match="is no flash budget") as e:
        FlashBudget.of(text)
    assert "200K" in e.value.hint


@pytest.mark.parametrize("text", ["0", "0.99", "17", "200000"])
def test_a_factor_out_of_bounds(text: str) -> None:
    with pytest.raises(UserError, match=f"a flash budget of {text} times the weights") as e:
        FlashBudget.of(text)
    assert "from 1 to 16" in e.value.hint


def test_a_budget_below_the_weights() -> None:
    with pytest.raises(UserError, match="weights of 2,000 bytes do not fit into a flash budget of"):
        FlashBudget.of("1K").extra(2000)


def _by_hand(offers: list[list[Cost]], extra: int) -> float:
    """The most that can be saved, all combinations tried."""
    found = 0.0
    for picks in itertools.product(*(range(len(o)) for o in offers)):
        if _grown(offers, picks) <= extra:
            found = max(found, _saved(offers, picks))
    return found


def _grown(offers: list[list[Cost]], picks: tuple[int, ...]) -> int:
    pairs = zip(offers, picks, strict=True)
    return sum(max(0, o[k].weight_bytes - o[0].weight_bytes) for o, k in pairs)


def _saved(offers: list[list[Cost]], picks: tuple[int, ...]) -> float:
    return sum(o[0].instructions - o[k].instructions for o, k in zip(offers, picks, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_the_best_choice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    offers = [
        [
            Cost(int(rng.integers(0, 100)), float(rng.integers(0, 1000)))
            for _ in range(rng.integers(1, 4))
        ]
        for _ in range(5)
    ]
    for extra in (1, 40, 150, 1000):
        picks = tuple(best(offers, extra))
        assert _grown(offers, picks) <= extra
        assert _saved(offers, picks) == _by_hand(offers, extra)


def test_large_budgets_are_kept() -> None:
    """Bytes are rounded up to parts of the budget."""
    offers = [[Cost(0, 10), Cost(100_001, 0)] for _ in range(10)]
    assert sum(best(offers, 1_000_000)) == 9
    assert sum(best(offers, 1_000_010)) <= 10


def test_layers_without_alternatives() -> None:
    assert best([[], [Cost(1, 1)], []], 100) == [0, 0, 0]
    assert best([], 100) == []


def test_alternatives_of_a_convolution() -> None:
    values = np.full((2, 3, 3, 16), 127, np.int8)
    found = alternatives(lambda: convolution(values, (4, 8))[0], M4)
    names = [choice.template for choice, _ in found]
    assert names[0] == "dsp.window_product"
    assert set(names) == {"dsp.window_product", NAME}
    sizes = {next(iter(c.knobs.values())): cost.weight_bytes for c, cost in found}
    assert sizes == {"pairs": 288, "narrow": 288, "wide": 576, False: 288, True: 1024}
    # Neither another core nor an expression whose default's cost is not known has any.
    assert alternatives(lambda: convolution(values, (4, 8))[0], load_cpu("cortex-m3")) == []


def test_choices_for_a_graph() -> None:
    graph = random_convolutions(5, 6)
    groups = fuse(graph).groups
    small = [Choice(small=group.name in small_groups(graph, groups)) for group in groups]
    none, some, most = (choose(graph, groups, M4, FlashBudget(factor)) for factor in (1, 2, 8))
    assert 0 == none.enlarged < some.enlarged < most.enlarged <= none.offered == most.offered
    for found in (none, some, most):
        stored = sum(c.knobs.get("stored", False) for c in found.choices)
        assert stored == found.enlarged
    chosen = choose(graph, groups, M4, FlashBudget(16)).choices
    assert any(c.small for c in small)
    assert all(c == s for c, s in zip(chosen, small, strict=True) if s.small)


def test_a_model_within_its_budget() -> None:
    """Filters of three of resnet8's convolutions of 3x3 fit as they are met, all of them do not."""
    weights = {}
    for budget in (1, DEFAULT_BUDGET, "250K"):
        library = compile_model(
            model_file("resnet8_int8"), M4, options=CompileOptions(flash_budget=budget)
        ).library
        taken = sum(o["knobs"].get("stored", False) for o in library.metadata["operators"])
        weights[taken] = library.metadata["weights_bytes"]
    assert list(weights) == [0, 3, 4]
    assert weights[0] < weights[3] < weights[0] + 77_360 // 2 < weights[4] < 250 << 10


@pytest.mark.parametrize("cpu", ["cortex-m55", "cortex-m3", "cortex-m0", "rv32imc", "host"])
def test_other_cores_have_one_form_of_weights(cpu: str) -> None:
    """They load and extend a byte in one instruction, or multiply bytes: larger ones gain nothing.

    So no template there has a cost, and the budget has nothing to choose.
    """
    graph = random_convolutions(5, 6)
    groups = fuse(graph).groups
    found = choose(graph, groups, load_cpu(cpu), FlashBudget(8))
    assert (found.offered, found.enlarged) == (0, 0)
    small = small_groups(graph, groups)
    assert found.choices == tuple(Choice(small=group.name in small) for group in groups)
