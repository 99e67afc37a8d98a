"""The text form: what is printed, that it is parsed back equal, and what its errors say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microtvm.errors import IRError, UserError
from microtvm.frontend import load_model
from microtvm.graph.ir import DTYPES, Attr, Graph, Node, Quant, TensorType, same_graph
from microtvm.graph.text import (
    constant_key,
    constant_table,
    load_graph,
    parse_graph,
    print_graph,
    save_graph,
)
from tests.conftest import shared_models

WEIGHTS = np.array([[1, -2], [3, -4]], np.int8)


def small_graph() -> Graph:
    """x times constant weights, then a reshape."""
    types = {
        "x": TensorType((1, 2), "int8", Quant((0.5,), (3,))),
        "w": TensorType((2, 2), "int8", Quant((0.25, 0.125), (0, 0), 0)),
        "y": TensorType((1, 2), "int8", Quant((0.1,), (-128,))),
        "z": TensorType((2,), "int8", Quant((0.1,), (-128,))),
    }
    nodes = (
        Node("dense_0", "dense", ("x", "w"), ("y",), {"activation": "relu", "keep_dims": False}),
        Node("reshape_1", "reshape", ("y",), ("z",), {}, 'a "reshape"\n'),
    )
    return Graph(
        name="small",
        inputs=("x",),
        outputs=("z",),
        nodes=nodes,
        types=types,
        constants={"w": WEIGHTS},
        sources={"y": "a/Relu;b"},
        absorbed={"v": "y"},
        channels={"y": (0, 7)},
    )


def test_text_says_everything() -> None:
    assert print_graph(small_graph()) == (
        'graph "small" {\n'
        "  input %x: int8[1, 2] q(0.5, 3)\n"
        f"  const %w: int8[2, 2] q(axis=0, (0.25, 0.125), (0, 0)) = #{constant_key(WEIGHTS)}\n"
        '  %y: int8[1, 2] q(0.1, -128) = dense(%x, %w) {activation="relu", keep_dims=false}'
        " @dense_0\n"
        '  %z: int8[2] q(0.1, -128) = reshape(%y) @reshape_1 "a \\"reshape\\"\\n"\n'
        "  output %z\n"
        '  source %y = "a/Relu;b"\n'
        "  absorbed %v = %y\n"
        "  channels %y = (0, 7)\n"
        "}\n"
    )


def test_round_trip_of_models() -> None:
    for path in sorted(shared_models().glob("*.tflite")):
        graph = load_model(path)
        again = parse_graph(print_graph(graph), constant_table(graph))
        assert same_graph(again, graph), path.name
        assert print_graph(again) == print_graph(graph)


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True)
floats = st.floats(allow_nan=True, allow_infinity=True)
integers = st.integers(-(2**70), 2**70)
attr_values: st.SearchStrategy[Attr] = st.one_of(
    floats,
    integers,
    st.booleans(),
    st.text(),
    st.lists(integers, max_size=3).map(tuple),
    st.lists(floats, min_size=1, max_size=3).map(tuple),
)
types = st.builds(
    TensorType,
    st.lists(st.integers(1, 2**40), max_size=5).map(tuple),
    st.sampled_from(sorted(DTYPES)),
    st.one_of(
        st.none(),
        st.builds(
            lambda s, z: Quant((s,), (z,)),
            st.floats(2.0**-126, 2.0**100),
            st.integers(-128, 127),
        ),
        st.lists(
            st.tuples(st.floats(2.0**-126, 1.0), st.integers(-3, 3)), min_size=2, max_size=4
        ).map(lambda p: Quant(tuple(s for s, _ in p), tuple(z for _, z in p), 1)),
    ),
)


@given(
    st.text(),
    st.lists(types, min_size=3, max_size=3),
    st.lists(names, min_size=4, max_size=4, unique=True),
    st.dictionaries(names, attr_values),
    st.text(),
)
@settings(max_examples=300, deadline=None)
def test_round_trip_of_anything(
    title: str,
    value_types: list[TensorType],
    words: list[str],
    attrs: dict[str, Attr],
    source: str,
) -> None:
    a, b, c, op = words
    node = Node(op, op, (a, b), (c,), attrs, source)
    graph = Graph(
        title,
        (a,),
        (c,),
        (node,),
        dict(zip((a, b, c), value_types, strict=True)),
        {b: np.array([np.nan, -0.0, np.inf], np.float32)},
        {c: source},
    )
    again = parse_graph(print_graph(graph), constant_table(graph))
    assert same_graph(again, graph)


def test_same_graph_tells_apart() -> None:
    graph = small_graph()
    assert same_graph(graph, small_graph())
    reshape = graph.nodes[1]
    changed = [
        replace(graph, name="other"),
        replace(graph, nodes=graph.nodes[:1]),
        replace(graph, nodes=(graph.nodes[0], replace(reshape, attrs={"a": 1}))),
        replace(graph, constants={"w": WEIGHTS + 1}),
        replace(graph, sources={}),
        replace(graph, absorbed={}),
        replace(graph, channels={"y": (0, 6)}),
        replace(graph, types={**graph.types, "z": TensorType((2,), "int8")}),
    ]
    assert not any(same_graph(graph, other) for other in changed)
    one, true = ({"a": value} for value in (1, True))
    assert not same_graph(
        replace(graph, nodes=(replace(reshape, attrs=one),)),
        replace(graph, nodes=(replace(reshape, attrs=true),)),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("graph", "graphs", "line 1: expected 'graph', found 'graphs'"),
        ('"small"', "small", "line 1: expected a string, found 'small'"),
        ("int8[1, 2] q(0.5, 3)", "int9[1, 2]", "line 2: unknown dtype 'int9'"),
        ("int8[1, 2] q(0.5, 3)", "int8[1, 0]", r"line 2: shape \[1, 0\] has a dimension below 1"),
        ("int8[1, 2] q(0.5, 3)", "int8[1 2]", "line 2: expected ',', found '2'"),
        ("q(0.5, 3)", "q(0.5, 3.5)", "line 2: zero points are integers"),
        ("(0.25, 0.125), (0, 0)", "(0.25, 0.125), (0,)", "line 3: quantisation has 2 scales and 1"),
        ("q(axis=0", "q(axis=0.5", "line 3: expected an integer, found 0.5"),
        (" %y: int8", " %x: int8", "line 4: %x exists already"),
        ("dense(%x, %w)", "dense(x, %w)", "line 4: expected '%', found 'x'"),
        ("false}", "(1, 2.5)}", "line 4: a tuple is of integers or of floats"),
        ("false}", "no}", "line 4: expected a number, found 'no'"),
        ("@dense_0", "@", "line 5: expected a name, found '%'"),
        (r'\n"', r'\q"', "line 5: .* is not a JSON string"),
        ("output %z", "output ?z", "line 6: unexpected character '\\?'"),
        ("(0, 7)", "(0, 7.5)", r"line 9: expected integers, found \(0, 7.5\)"),
        ("  channels %y = (0, 7)\n}\n", "", "line 9: expected '%', found 'the end of the text'"),
        ("}\n", "}\n}\n", "line 11: expected the end of the text, found '}'"),
    ],
)
def test_errors_name_the_line(old: str, new: str, message: str) -> None:
    text = print_graph(small_graph())
    assert text.count(old) >= 1
    start, end = text.rsplit(old, 1) if old == "}\n" else text.split(old, 1)
    with pytest.raises(IRError, match=message):
        parse_graph(start + new + end, constant_table(small_graph()))


def test_contents_must_be_there_and_right() -> None:
    text = print_graph(small_graph())
    with pytest.raises(IRError, match=r"line 3: the contents #.* of %w are not beside the text"):
        parse_graph(text, {})
    with pytest.raises(IRError, match="line 3: the contents of %w are not those of digest"):
        parse_graph(text, {constant_key(WEIGHTS): WEIGHTS + 1})


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "model.graph"
    save_graph(small_graph(), path)
    assert same_graph(load_graph(path), small_graph())
    path.with_suffix(".npz").write_bytes(b"PK no archive")
    with pytest.raises(UserError, match=r"can't read graph .*model.graph with constants model.npz"):
        load_graph(path)
    with pytest.raises(UserError, match="can't read graph"):
        load_graph(tmp_path / "absent.graph")
