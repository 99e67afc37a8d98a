"""From .tflite files to graphs: what is understood, what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

from microtvm.errors import ModelError
from microtvm.frontend import load_model
from microtvm.frontend.tflite import import_tflite
from microtvm.graph.ir import Graph
from microtvm.ops.evaluate import evaluate_graph
from tests.frontend.models import many_operators
from tests.ops.oracle import agree, imported, values_of
from tests.reference import Operator, Tensor, build, constant, run_all_tensors, schema

ADD = schema.AddOptionsT


def problems(model: bytes) -> list[str]:
    """What is wrong with a model, a line each."""
    return [str(p) for p in import_tflite(model, "m").problems]


def adder(
    tensors: Sequence[Tensor] = (),
    operators: Sequence[Operator] = (),
    outputs: Sequence[str] = ("y",),
    inputs: Sequence[str] = ("a", "b"),
) -> bytes:
    """y = a + b in float32, with more tensors and operators."""
    mine = [Tensor(name, (1, 4), "float32") for name in ("a", "b", "y")]
    given = {t.name for t in tensors}
    return build(
        [t for t in mine if t.name not in given] + list(tensors),
        [Operator("ADD", ("a", "b"), ("y",), ADD()), *operators],
        inputs,
        outputs,
    )


def test_many_operators_agree_in_every_tensor() -> None:
    model = many_operators()
    graph = imported(model)
    rng = np.random.default_rng(5)
    for _ in range(10):
        x = rng.normal(scale=6, size=(1, 6, 5, 3)).astype(np.float32)
        found = evaluate_graph(graph, {"x": x})
        expected = run_all_tensors(model, [x])
        assert set(graph.sources.values()) <= set(expected)
        for value, source in graph.sources.items():
            if found[value].dtype == np.float32:
                np.testing.assert_allclose(found[value], expected[source], rtol=0, atol=1e-5)
            else:
                np.testing.assert_array_equal(found[value], expected[source], value)


def test_names_and_sources() -> None:
    long = "a/b/" + "c" * 80 + ";rest"
    model = adder(
        [Tensor(name, (1, 4), "float32") for name in ("in:0", long, "1/+")],
        [
            Operator("ADD", ("y", "in:0"), (long,), ADD()),
            Operator("ADD", (long, long), ("1/+",), ADD()),
        ],
        outputs=["1/+"],
        inputs=["a", "b", "in:0"],
    )
    graph = imported(model)
    assert graph.inputs == ("a", "b", "in_0")
    assert graph.outputs == ("t_1",)
    middle = graph.nodes[1].outputs[0]
    assert middle == "b_" + "c" * 61
    assert graph.sources[middle] == long
    assert [n.source for n in graph.nodes] == ["y", long, "1/+"]


def test_tensors_of_one_name_are_told_apart() -> None:
    model = adder().replace(b"\x01\x00\x00\x00a\x00", b"\x01\x00\x00\x00b\x00")
    assert imported(model).inputs == ("b", "b_2")


def test_an_output_that_is_an_input() -> None:
    model = adder(outputs=["a", "y"])
    graph = imported(model)
    assert (graph.inputs, graph.outputs) == (("a", "b"), ("a_2", "y"))
    rng = np.random.default_rng(1)
    agree(model, *(values_of(rng, "float32", (1, 4)) for _ in range(2)))


def test_an_output_that_is_a_constant() -> None:
    data = np.array([[1, 2, 3, 4]], np.float32)
    graph = imported(adder([constant("c", data)], outputs=["y", "c"]))
    assert graph.outputs == ("y", "c")
    zeros = np.zeros((1, 4), np.float32)
    np.testing.assert_array_equal(evaluate_graph(graph, {"a": zeros, "b": zeros})["c"], data)


def test_an_output_that_is_named_twice() -> None:
    graph = imported(adder(outputs=["y", "y"]))
    assert graph.outputs == ("y", "y_2")
    ones = np.ones((1, 4), np.float32)
    values = evaluate_graph(graph, {"a": ones, "b": ones})
    np.testing.assert_array_equal(values["y"], values["y_2"])


def test_constants_that_are_converted_are_folded() -> None:
    """Weights stored as int8 and dequantised by an operator are float weights."""
    rng = np.random.default_rng(2)
    model = build(
        [
            Tensor("x", (1, 4), "float32"),
            constant("q", rng.integers(-127, 128, (3, 4)).astype(np.int8), 0.1),
            Tensor("w", (3, 4), "float32"),
            Tensor("y", (1, 3), "float32"),
        ],
        [
            Operator("DEQUANTIZE", ("q",), ("w",), schema.DequantizeOptionsT(), 2),
            Operator("FULLY_CONNECTED", ("x", "w"), ("y",), schema.FullyConnectedOptionsT()),
        ],
        ["x"],
        ["y"],
    )
    assert [n.op for n in imported(model).nodes] == ["dense"]
    agree(model, values_of(rng, "float32", (1, 4)))


def test_unknown_dimensions() -> None:
    def with_input(shape: tuple[int, ...], signature: tuple[int, ...]) -> bytes:
        return build(
            [
                Tensor("x", shape, "float32", shape_signature=signature),
                Tensor("y", (), "float32"),
            ],
            [Operator("RELU", ("x",), ("y",))],
            ["x"],
            ["y"],
        )

    graph = imported(with_input((1, 3), (-1, 3)))
    assert graph.types["y"].shape == (1, 3)
    assert imported(with_input((-1, 3), (-1, 3))).types["x"].shape == (1, 3)
    assert imported(with_input((1,), (-1,))).types["x"].shape == (1,)
    message = "tensor 'x': dimension 1 of input [-1, -1] is unknown"
    assert problems(with_input((1, 1), (-1, -1))) == [message]
    assert problems(with_input((1, 0), ())) == [message.replace("[-1, -1]", "[1, 0]")]


def test_versions_matter_only_by_what_they_use() -> None:
    a, b, y = (Tensor(n, (1, 4), "float32") for n in "aby")
    new = build([a, b, y], [Operator("ADD", ("a", "b"), ("y",), ADD(), 99)], ["a", "b"], ["y"])
    assert problems(new) == []


def test_everything_is_reported_at_once(tmp_path: Path) -> None:
    wide = [Tensor(n, (1, 4), "int16", 0.5) for n in ("i", "j")]
    tanh = ADD(fusedActivationFunction=4)
    model = build(
        [
            *(Tensor(n, (1, 4), "float32") for n in ("a", "k", "l", "m", "n", "o")),
            *wide,
            constant("w", np.ones((4, 4), np.int8), 0.5),
            constant("h", np.ones((1, 4), np.int32), 0.5, zero=1 << 40),
        ],
        [
            Operator("FULLY_CONNECTED", ("i", "w"), ("j",), schema.FullyConnectedOptionsT()),
            Operator("FULLY_CONNECTED", ("a", "w"), ("k",), schema.FullyConnectedOptionsT()),
            Operator("FLOOR", ("k",), ("l",)),
            Operator("CUSTOM", ("l",), ("m",), custom="Mine"),
            Operator("ADD", ("a", "m"), ("n",), tanh),
            Operator("ADD", ("h", "m"), ("o",), ADD()),
        ],
        ["a", "i"],
        ["n", "j", "o"],
    )
    assert problems(model) == [
        "tensor 'h': a zero point is outside int32",
        "operator 0 FULLY_CONNECTED 'j': int16x8 quantisation: 16-bit activations with "
        "8-bit weights",
        "operator 1 FULLY_CONNECTED 'k': hybrid (dynamic range) quantisation: float activations "
        "with integer weights",
        "operator 2 FLOOR 'l': operator is not supported",
        "operator 3 CUSTOM 'm': custom operator 'Mine' is not supported",
        "operator 4 ADD 'n': fused activation tanh is not supported",
    ]
    path = tmp_path / "bad.tflite"
    path.write_bytes(model)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.message.startswith(f"{path} can't be compiled:\n  - tensor 'h'")
    assert caught.value.message.count("\n  - ") == 6
    assert "representative data set" in caught.value.hint


def tensor_problem(tensor: Tensor) -> list[str]:
    """What is said of a model whose input is `tensor`."""
    y = Tensor("y", (1, 4), "float32")
    return problems(
        build([tensor, y], [Operator("RELU", (tensor.name,), ("y",))], [tensor.name], ["y"])
    )


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("x", (1, 4), "int8", 0.0), "a scale is not positive and finite"),
        (Tensor("x", (1, 4), "int8", -1.0), "a scale is not positive and finite"),
        (Tensor("x", (1, 4), "int8", float("nan")), "a scale is not positive and finite"),
        (Tensor("x", (1, 4), "int8", float("inf")), "a scale is not positive and finite"),
        (Tensor("x", (1, 4), "int8", 0.5, 128), "a zero point is outside int8"),
        (Tensor("x", (1, 4), "uint8", 0.5, -1), "a zero point is outside uint8"),
        (Tensor("x", (1, 4), "int8", [0.5] * 3, axis=1), "3 scales for axis 1 of shape [1, 4]"),
        (Tensor("x", (1, 4), "int8", [0.5] * 4, axis=2), "4 scales for axis 2 of shape [1, 4]"),
        (Tensor("x", (1,) * 6, "float32"), "6 dimensions, supported: 5"),
        (Tensor("x", (1, 65536), "float32"), "a dimension of 65536, supported: 65535"),
        (
            Tensor("x", (1 << 15, 1 << 15), "float32"),
            "4294967296 bytes, supported: 67108864",
        ),
    ],
)
def test_tensors_that_are_refused(tensor: Tensor, message: str) -> None:
    assert tensor_problem(tensor)[0] == f"tensor 'x': {message}"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (65535, "makes int8[65536, 65536]: a dimension of 65536, supported: 65535"),
        (9999, "makes int8[10000, 10000]: 100000000 bytes, supported: 67108864"),
    ],
)
def test_shapes_that_are_computed_have_limits_too(before: int, message: str) -> None:
    """The file says nothing of what a damaged or strange operand leads to; it is told once."""
    model = build(
        [
            Tensor("x", (1, 1), "int8", 0.5),
            constant("pads", np.array([[before, 0]] * 2, np.int32)),
            Tensor("p", (1, 1), "int8", 0.5),
            Tensor("y", (1, 1), "int8", 0.5),
        ],
        [
            Operator("PAD", ("x", "pads"), ("p",), schema.PadOptionsT()),
            Operator("ADD", ("p", "p"), ("y",), ADD()),
        ],
        ["x"],
        ["y"],
    )
    assert problems(model) == [f"operator 0 PAD 'p': {message}"]


def edited(change: Any) -> bytes:
    """The adder after a change to its unpacked schema object."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(adder(), 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def set_tensor(**fields: Any) -> Any:
    """A change that sets fields of tensor a."""

    def change(model: Any) -> None:
        for name, value in fields.items():
            setattr(model.subgraphs[0].tensors[0], name, value)

    return change


def test_other_tensors_that_are_refused() -> None:
    half = edited(set_tensor(type=schema.TensorType.FLOAT16))
    assert problems(half)[0].startswith("tensor 'a': type float16 is not supported; known: ")
    sparse = edited(set_tensor(sparsity=schema.SparsityParametersT()))
    assert problems(sparse) == ["tensor 'a': sparse tensors are not supported"]
    quantization = schema.QuantizationParametersT(scale=[0.5], zeroPoint=[1, 2])
    uneven = edited(set_tensor(type=schema.TensorType.INT8, quantization=quantization))
    assert problems(uneven)[0] == "tensor 'a': 1 scales and 2 zero points"
    custom = schema.QuantizationParametersT(
        detailsType=schema.QuantizationDetails.CustomQuantization,
        details=schema.CustomQuantizationT(custom=[1]),
    )
    strange = edited(set_tensor(type=schema.TensorType.INT8, quantization=custom))
    assert problems(strange)[0] == "tensor 'a': custom quantisation is not supported"

    def variable(model: Any) -> None:
        model.subgraphs[0].tensors[1].isVariable = True
        model.subgraphs[0].inputs = [0]

    assert problems(edited(variable))[0].startswith("tensor 'b': variables, which live from one")


def set_graph(**fields: Any) -> Any:
    """A change that sets fields of the subgraph."""

    def change(model: Any) -> None:
        for name, value in fields.items():
            setattr(model.subgraphs[0], name, value)

    return change


def set_operator(**fields: Any) -> Any:
    """A change that sets fields of the operator."""

    def change(model: Any) -> None:
        for name, value in fields.items():
            setattr(model.subgraphs[0].operators[0], name, value)

    return change


def set_model(**fields: Any) -> Any:
    """A change that sets fields of the model."""

    def change(model: Any) -> None:
        for name, value in fields.items():
            setattr(model, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_model(version=2), "schema version 2, supported: 3"),
        (set_model(subgraphs=[]), "the file has no graph"),
        (set_model(buffers=[]), "tensor 'a' has buffer 0"),
        (set_graph(outputs=[]), "the model has no outputs"),
        (set_graph(outputs=[7]), "the graph's outputs name tensor 7 of 3"),
        (set_graph(inputs=[-1, 0, 1]), "the graph's inputs name tensor -1 of 3"),
        (set_graph(inputs=[0, 1, 1]), "input 'b' is given twice"),
        (set_graph(inputs=[0]), r"operator 0 \(ADD\) reads 'b' before it is made"),
        (set_graph(operators=[]), "nothing makes output 'y'"),
        (set_operator(opcodeIndex=9), "operator 0 has code 9"),
        (set_operator(inputs=[0, 3]), "operator 0's inputs name tensor 3 of 3"),
        (set_operator(outputs=[-1]), "operator 0's outputs name tensor -1 of 3"),
        (set_operator(outputs=[1]), r"operator 0 \(ADD\) makes 'b' a second time"),
    ],
)
def test_damaged(change: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        import_tflite(edited(change), "m")


def test_an_operator_without_outputs() -> None:
    def change(model: Any) -> None:
        set_operator(outputs=[])(model)
        set_graph(outputs=[0])(model)

    assert problems(edited(change)) == ["operator 0 ADD '': has no outputs"]


def test_contents_of_the_wrong_size() -> None:
    def change(model: Any) -> None:
        model.buffers.append(schema.BufferT(data=np.zeros(15, np.uint8)))
        set_tensor(buffer=1)(model)

    with pytest.raises(ModelError, match=r"constant 'a' is float32\[1, 4\], but has 15 bytes"):
        import_tflite(edited(change), "m")


def test_contents_behind_the_flatbuffer() -> None:
    """Files over 2 GB keep their buffers behind the tables."""
    data = np.array([1, 2, 3, 4], np.float32)

    def at(offset: int) -> bytes:
        def change(model: Any) -> None:
            model.buffers.append(schema.BufferT(offset=offset, size=16))
            set_tensor(buffer=1)(model)
            set_graph(inputs=[1])(model)

        return edited(change)

    size = len(at(1 << 20))
    graph = imported(at(size) + data.tobytes())
    (name,) = graph.constants
    np.testing.assert_array_equal(graph.constants[name], data[None])
    with pytest.raises(ModelError, match="the contents of 'a' are outside the file"):
        import_tflite(at(size + 1) + data.tobytes(), "m")


def test_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"can't read the model .*absent.tflite: No such file"):
        load_model(tmp_path / "absent.tflite")
    path = tmp_path / "text.tflite"
    path.write_text("hello, this is not a model")
    with pytest.raises(ModelError, match=r"text\.tflite: not a TensorFlow Lite model") as caught:
        load_model(path)
    assert "TFLiteConverter" in caught.value.hint
    path.write_bytes(adder())
    graph = load_model(path)
    assert isinstance(graph, Graph)
    assert graph.name == "text"
