"""Libraries from tensor expressions: what they hold, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtvm import te
from microtvm.codegen.expression import TensorKernel, build_expressions
from microtvm.errors import UserError
from microtvm.inference import run_project
from microtvm.npz import Inputs
from microtvm.project import build_project, create_project
from microtvm.target import load_board
from microtvm.te import Tensor
from tests.conftest import require_tool


def sums(rows: int, depth: int, name: str, source: str, result: str) -> TensorKernel:
    """result[i] = sum over k of source[i, k]"""
    x = te.placeholder((rows, depth), "int8", source)
    k = te.reduce_axis(depth, "k")
    y = te.compute((rows,), lambda i: te.sum(x[i, k].astype("int32"), axis=k), result)
    return TensorKernel(name, te.create_schedule(y), [x])


def element_wise(
    name: str, source: str, result: str, *, n: int = 4, dtype: str = "int32", to: str = "int32"
) -> TensorKernel:
    """result = source + 1"""
    x = te.placeholder((n,), dtype, source)
    y: Tensor = te.compute((n,), lambda i: (x[i] + 1).astype(to), result)
    return TensorKernel(name, te.create_schedule(y), [x])


def test_kernels_of_several_shapes_share_a_function(tmp_path: Path) -> None:
    """Three reductions of other extents: one C function, run on the host."""
    require_tool("cc")
    shapes = [(3, 5), (4, 7), (6, 11)]
    kernels = [sums(m, n, "rows", f"x{i}", f"y{i}") for i, (m, n) in enumerate(shapes)]
    library = build_expressions(kernels, "sums")
    source = library.files["sums.c"]
    assert len(re.findall(r"\bvoid sums_\w+_kernel\(", source)) == 1
    library.write(tmp_path / "library")
    board = load_board("host")
    project = create_project(tmp_path / "library", board, tmp_path / "project")
    build_project(project)
    rng = np.random.default_rng(5)
    inputs = {
        f"x{i}": rng.integers(-128, 128, shape).astype(np.int8) for i, shape in enumerate(shapes)
    }
    outputs = run_project(project, Inputs((inputs,), stacked=False)).outputs
    assert list(outputs) == ["y0", "y1", "y2"]
    for i in range(3):
        np.testing.assert_array_equal(outputs[f"y{i}"], inputs[f"x{i}"].sum(1, dtype=np.int32))


def test_metadata() -> None:
    kernels = [sums(3, 5, "first", "x", "mid"), element_wise("second", "mid", "out", n=3)]
    metadata = build_expressions(kernels, "chain").metadata
    roles = {t["name"]: t["role"] for t in metadata["tensors"]}
    assert roles == {"x": "input", "mid": "intermediate", "out": "output"}
    assert [(o["name"], o["ops"], o["macs"]) for o in metadata["operators"]] == [
        ("n0_first", ["first"], 15),
        ("n1_second", ["second"], 0),
    ]
    assert (metadata["name"], metadata["prefix"]) == ("chain", "chain")


def test_a_tensor_that_is_read_can_be_an_output_too() -> None:
    kernels = [sums(3, 5, "first", "x", "mid"), element_wise("second", "mid", "out", n=3)]
    metadata = build_expressions(kernels, "chain", outputs=["out", "mid"]).metadata
    names = [metadata["tensors"][i]["name"] for i in metadata["outputs"]]
    assert names == ["out", "mid"]


def unnamed_constant() -> TensorKernel:
    x = te.constant(np.ones(4, np.int32), "x")
    y: Tensor = te.compute((4,), lambda i: x[i] + 1, "y")
    return TensorKernel("k", te.create_schedule(y), [x])


REFUSED: list[tuple[str, Callable[[], list[TensorKernel]], list[str]]] = [
    ("lib: there are no kernels to build", lambda: [], []),
    (
        "the kernel 'two words' does not have the name of a C identifier",
        lambda: [element_wise("two words", "x", "y")],
        [],
    ),
    (
        "the tensor 'x.1' does not have the name of a C identifier",
        lambda: [element_wise("k", "x.1", "y")],
        [],
    ),
    (
        "lib: kernel b computes y, a name that kernel a computes already",
        lambda: [element_wise("a", "x", "y"), element_wise("b", "z", "y")],
        [],
    ),
    (
        "lib: kernel b computes x, a name that an input has already",
        lambda: [element_wise("a", "x", "y"), element_wise("b", "y", "x")],
        [],
    ),
    (
        "lib: kernel b: y is int32.5., another kernel has it as int32.4.",
        lambda: [element_wise("a", "x", "y"), element_wise("b", "y", "z", n=5)],
        [],
    ),
    (
        "lib: kernel a: y is uint32, which no model's tensor can be",
        lambda: [element_wise("a", "x", "y", to="uint32")],
        [],
    ),
    ("lib: kernel k: its input x is not a placeholder", lambda: [unnamed_constant()], []),
    (
        "lib: no kernel computes the output z",
        lambda: [element_wise("a", "x", "y")],
        ["z"],
    ),
]


@pytest.mark.parametrize(("message", "make", "outputs"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(message: str, make: Callable[[], list[TensorKernel]], outputs: list[str]) -> None:
    with pytest.raises(UserError, match=message):
        build_expressions(make(), "lib", outputs=outputs)


def test_two_tensors_of_one_name() -> None:
    x, also = te.placeholder((4,), "int32", "x"), te.placeholder((4,), "int32", "x")
    y: Tensor = te.compute((4,), lambda i: x[i] + also[i], "y")
    kernel = TensorKernel("k", te.create_schedule(y), [x, also])
    with pytest.raises(UserError, match="kernel k: two of its tensors have one name: x, x, y"):
        build_expressions([kernel], "lib")


def test_prefix_is_an_identifier() -> None:
    with pytest.raises(UserError, match="the library 'my lib' does not have the name of a C"):
        build_expressions([element_wise("a", "x", "y")], "my lib")
