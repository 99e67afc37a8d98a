"""Every operator from the model file to C: what its own tests ask of its numpy meaning, of the C.

A new operator is tested here as soon as it has a test of its own that ends in `agree`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm import te
from microtvm.errors import ModelError
from microtvm.graph.ir import Graph, Node, TensorType
from tests.ops.compiled import Case, check, compiled, cost, interpreted, run_libraries
from tests.ops.oracle import assert_equal, imported, ours, values_of
from tests.ops.record import MODULES, recorded_cases
from tests.ops.test_softmax import model as softmax
from tests.reference import Tensor, schema, single

EACH = 3
"""Cases of every test and every set of its parameters."""
MOST_STEPS = 3000


def cases_of(name: str, patch: pytest.MonkeyPatch, each: int) -> list[Case]:
    return recorded_cases(importlib.import_module(f"tests.ops.{name}"), each, patch)


@pytest.mark.parametrize("name", MODULES)
def test_the_cases_of(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(cases_of(name, monkeypatch, EACH), tmp_path)


@pytest.mark.parametrize(("compiler", "first"), [("gcc", 0), ("clang", 1)])
def test_optimised(
    compiler: str, first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without sanitizers: the optimiser's mistakes, and ours that it makes visible."""
    cases = [case for name in MODULES for case in cases_of(name, monkeypatch, 1)]
    check(cases[first::3], tmp_path, compiler, ["-O2"])


@pytest.mark.parametrize("name", MODULES)
def test_loop_programs_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted, on what is small: where only C differs, the printer is wrong."""
    tried = 0
    for case in cases_of(name, monkeypatch, 2):
        made = compiled(imported(case.model))
        if cost(made) < MOST_STEPS:
            assert_equal(interpreted(made, case.inputs), case.reference())
            tried += 1
    assert tried > 0


class NoExpressions(Exception):
    pass


def test_no_model_compiles_without_tensor_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel comes from `te.compute`: none is written by hand."""
    models = [imported(c.model) for n in MODULES for c in cases_of(n, monkeypatch, 1)[::5]]

    def refuse(*arguments: Any) -> Any:
        raise NoExpressions

    monkeypatch.setattr(te, "compute", refuse)
    for graph in models:
        with pytest.raises(NoExpressions):
            compiled(graph)


@pytest.mark.parametrize("columns", [511, 512, 1000, 4095])
def test_softmax_of_many_columns(columns: int, tmp_path: Path) -> None:
    """From 512 equal scores on the reference aborts: the sum's shift is beyond its integers."""
    rng = np.random.default_rng(columns)
    x = values_of(rng, "int8", (6, columns))
    x[0] = 3
    x[1, :-1] = -128
    x[2, ::2] = 9
    model = softmax(x.shape, "int8", 0.002)
    (found,) = run_libraries([compiled(imported(model)).library], [[x]], tmp_path)
    assert_equal(found, ours(model, x))


def test_quantize_what_no_integer_can_hold(tmp_path: Path) -> None:
    """The reference's conversion is undefined; here NaN is the lowest, and all else saturates."""
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 2.0**31, -(2.0**31), 1e-45], np.float32)
    for dtype in ("int8", "uint8", "int16"):
        tensors = Tensor("x", x.shape, "float32"), Tensor("y", x.shape, dtype, 0.5, 0)
        model = single("QUANTIZE", tensors[:1], tensors[1], schema.QuantizeOptionsT())
        (found,) = run_libraries([compiled(imported(model)).library], [[x]], tmp_path)
        assert_equal(found, ours(model, x))
        info = np.iinfo(dtype)
        low, high = info.min, info.max
        assert found[0].tolist() == [low, high, low, high, low, high, low, 0]


@pytest.mark.parametrize("shape", [(65536,), (1, 1, 1, 1, 1, 2)])
def test_shapes_without_room_in_the_table_are_refused(shape: tuple[int, ...]) -> None:
    t = TensorType(shape, "float32")
    graph = Graph("g", ("x",), ("y",), (Node("n", "relu", ("x",), ("y",)),), {"x": t, "y": t})
    with pytest.raises(ModelError, match=r"is float32.*supported: 5 dimensions of 65535"):
        compiled(graph)
