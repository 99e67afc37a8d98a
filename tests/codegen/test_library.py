"""What the generated library has to stand: odd names, odd compilers, C++."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from microtvm.errors import ModelError
from microtvm.graph.ir import Graph, Node, Quant, TensorType
from microtvm.ops.base import attributes
from microtvm.ops.verify import verify
from microtvm.pipeline import compile_graph
from microtvm.target import load_cpu
from tests.conftest import ROOT, require_tool
from tests.isa.helium_layers import Layers

STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror"]
INCLUDE = ["-I", str(ROOT / "runtime_c" / "include")]


def relu(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
    """A relu from each input to the output beside it."""
    t = TensorType((4,), "float32")
    nodes = tuple(
        Node(f"node{k}", "relu", (x,), (y,), attributes())
        for k, (x, y) in enumerate(zip(inputs, outputs, strict=True))
    )
    return verify(Graph("odd", inputs, outputs, nodes, dict.fromkeys((*inputs, *outputs), t)))


def product() -> Graph:
    """A dense layer that cores with the DSP extension have a tile for."""
    rng = np.random.default_rng(0)
    quant = Quant((0.1,), (3,))
    types = {
        "x": TensorType((5, 8), "int8", quant),
        "w": TensorType((6, 8), "int8", Quant((0.1,), (0,))),
        "y": TensorType((5, 6), "int8", quant),
    }
    weights = rng.integers(-127, 128, (6, 8)).astype(np.int8)
    node = Node(
        "dense", "dense", ("x", "w"), ("y",), attributes(activation="none", keep_dims=False)
    )
    return verify(Graph("tile", ("x",), ("y",), (node,), types, {"w": weights}))


def compiles(folder: Path, prefix: str, argv: list[str]) -> None:
    """The library's C file on its own, every warning an error."""
    source = str(folder / f"{prefix}.c")
    argv = [*argv, *STRICT, *INCLUDE, "-c", source, "-o", str(folder / "x.o")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_that_c_has_taken(tmp_path: Path) -> None:
    """Keywords, macros and the library's own words as names of inputs and outputs."""
    names = ("while", "int", "NULL", "arena", "io", "INT8_MAX")
    graph = relu(names, tuple(f"{n}_" for n in names))
    compile_graph(graph, load_cpu("host"), prefix="odd").library.write(tmp_path)
    compiles(tmp_path, "odd", [require_tool("cc")])


def test_a_model_without_inputs(tmp_path: Path) -> None:
    """An output that is a constant: nothing goes in."""
    t = TensorType((4,), "float32")
    node = Node("node", "copy", ("c",), ("y",), attributes())
    constant = np.arange(4, dtype=np.float32)
    graph = verify(Graph("none", (), ("y",), (node,), {"c": t, "y": t}, {"c": constant}))
    compile_graph(graph, load_cpu("host"), prefix="none").library.write(tmp_path)
    compiles(tmp_path, "none", [require_tool("cc")])


def test_header_is_for_cpp_too(tmp_path: Path) -> None:
    """A C++ file can call the model."""
    compiler = require_tool("c++")
    compile_graph(relu(("a",), ("b",)), load_cpu("host"), prefix="odd").library.write(tmp_path)
    main = '#include "odd.h"\nint main() { uint8_t *a = nullptr; odd_run(a); return 0; }\n'
    (tmp_path / "main.cpp").write_text(main)
    subprocess.run([require_tool("cc"), "-c", "odd.c"], cwd=tmp_path, check=True)
    subprocess.run([compiler, "main.cpp", "odd.o", "-lm"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("cpu", "instruction"),
    [
        ("cortex-m4", "smlad"),
        ("cortex-m33", "smlad"),
        ("cortex-m3", "mla "),
        ("cortex-m0", "muls "),
        ("rv32imc", "mul "),
    ],
)
@pytest.mark.parametrize("level", ["-O0", "-Og", "-O1", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize("pointer", ["-fomit-frame-pointer", "-fno-omit-frame-pointer"])
def test_tiles_compile_at_every_level(
    cpu: str, instruction: str, level: str, pointer: str, tmp_path: Path
) -> None:
    """A tile takes every register; debug builds must not take one away from it."""
    core = load_cpu(cpu)
    compiler = require_tool(core.cc)
    compile_graph(product(), core, prefix="tile").library.write(tmp_path)
    assert instruction in (tmp_path / "tile.c").read_text()
    compiles(tmp_path, "tile", [compiler, *core.flags, level, pointer])


@pytest.mark.parametrize("level", ["-O0", "-Og", "-O1", "-Os", "-O2", "-O3"])
@pytest.mark.parametrize("pointer", ["-fomit-frame-pointer", "-fno-omit-frame-pointer"])
def test_vectors_compile_at_every_level(level: str, pointer: str, tmp_path: Path) -> None:
    """So do the intrinsics of Helium, on layers of every kind that they have tiles for."""
    core = load_cpu("cortex-m55")
    compiler = require_tool(core.cc)
    compile_graph(Layers(3).graph(), core, prefix="vectors").library.write(tmp_path)
    text = (tmp_path / "vectors.c").read_text()
    assert all(name in text for name in ("mtvm_vmladava_", "mtvm_vmladav_", "mtvm_map_"))
    compiles(tmp_path, "vectors", [compiler, *core.flags, level, pointer])


def test_tiles_in_c_are_right_elsewhere(tmp_path: Path) -> None:
    """Where the assembly can't be had, the tile's C gives what the layer means."""
    from microtvm.ops.evaluate import evaluate_graph

    graph = product()
    compile_graph(graph, load_cpu("cortex-m4"), prefix="tile").library.write(tmp_path)
    x = np.random.default_rng(1).integers(-128, 128, (5, 8)).astype(np.int8)
    wanted = evaluate_graph(graph, {"x": x})["y"]
    main = """
#include <stdio.h>
#include "tile.h"
static MTVM_ALIGN(TILE_ARENA_ALIGN) uint8_t arena[TILE_ARENA_BYTES];
int main(void)
{
    const struct tile_io io = tile_bind(arena);
    if (fread(io.x, 1, 40, stdin) != 40) {
        return 1;
    }
    tile_run(arena);
    return fwrite(io.y, 1, 30, stdout) == 30 ? 0 : 1;
}
"""
    (tmp_path / "main.c").write_text(main)
    argv = [require_tool("cc"), *STRICT, "main.c", "tile.c", "-o", "main"]
    subprocess.run(argv, cwd=tmp_path, check=True)
    out = subprocess.run(
        ["./main"], cwd=tmp_path, input=x.tobytes(), capture_output=True, check=True
    )
    np.testing.assert_array_equal(np.frombuffer(out.stdout, np.int8).reshape(5, 6), wanted)


def test_shapes_that_a_device_can_not_describe() -> None:
    """Too many dimensions."""
    t = TensorType((1,) * 6, "float32")
    node = Node("node", "relu", ("x",), ("y",), attributes())
    graph = Graph("deep", ("x",), ("y",), (node,), {"x": t, "y": t})
    with pytest.raises(ModelError, match="supported: 5 dimensions of 65535"):
        compile_graph(graph, load_cpu("host"), prefix="deep")


def test_library_of_another_core(tmp_path: Path) -> None:
    """What a core's own instructions are in is not taken to another."""
    from microtvm.errors import UserError
    from microtvm.project import create_project
    from microtvm.target import load_board

    compile_graph(product(), load_cpu("cortex-m4"), prefix="tile").library.write(tmp_path / "l")
    with pytest.raises(UserError, match="was compiled for cortex-m4, board qemu-riscv32 has a"):
        create_project(tmp_path / "l", load_board("qemu-riscv32"), tmp_path / "p")


def test_a_project_emulates_itself(tmp_path: Path) -> None:
    """`make -n emulate` prints the emulator's command."""
    from microtvm.project import create_project
    from microtvm.target import load_board

    board = load_board("qemu-riscv32")
    compile_graph(product(), board.cpu, prefix="tile").library.write(tmp_path / "l")
    create_project(tmp_path / "l", board, tmp_path / "p")
    argv = [require_tool("make"), "-n", "emulate", "-C", str(tmp_path / "p")]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "qemu-system-riscv32 " in printed
