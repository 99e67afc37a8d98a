"""Models through the whole compiler to C, compiled and run on this machine under the sanitizers.

Many models are one program, which is built once: `check` is what tests call.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtvm.codegen.library import Library
from microtvm.graph.ir import Graph
from microtvm.pipeline import Compiled, compile_graph
from microtvm.target import load_board
from microtvm.target.data import data_folder
from microtvm.tir.interpret import Interpreter
from tests.codegen.c_library import WARNINGS
from tests.conftest import require_tool
from tests.ops.oracle import assert_equal, imported
from tests.reference import Array, run

SANITIZED = (
    "-O0",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
)
"""The sanitizers find what they look for before the optimiser removes it."""
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, eq=False)
class Case:
    """A model with one set of inputs, in the model's order; `label` is for messages."""

    label: str
    model: bytes
    inputs: tuple[Array, ...]

    def reference(self) -> list[Array]:
        """The outputs of the reference kernels."""
        return run(self.model, *self.inputs)


def compiled(graph: Graph, prefix: str = "m") -> Compiled:
    """A graph as a library for this machine."""
    return compile_graph(graph, load_board("host").cpu, prefix=prefix)


def check(
    cases: Sequence[Case], folder: Path, compiler: str = "gcc", flags: Sequence[str] = SANITIZED
) -> None:
    """What the C of every case gives is what the reference gives."""
    libraries = [compiled(imported(c.model), f"m{i}").library for i, c in enumerate(cases)]
    found = run_libraries(libraries, [c.inputs for c in cases], folder, compiler, flags)
    for case, outputs in zip(cases, found, strict=True):
        try:
            assert_equal(outputs, case.reference())
        except AssertionError as error:
            raise AssertionError(f"{case.label}\n{error}") from error


def run_libraries(
    libraries: Sequence[Library],
    inputs: Sequence[Sequence[Array]],
    folder: Path,
    compiler: str = "gcc",
    flags: Sequence[str] = SANITIZED,
) -> list[list[Array]]:
    """The outputs of each library for its inputs, all in one process."""
    program = _build(libraries, folder, require_tool(compiler), flags)
    asked, answered = folder / "asked", folder / "answered"
    with asked.open("wb") as file:
        for i, (library, arrays) in enumerate(zip(libraries, inputs, strict=True)):
            file.write(np.uint32(i).tobytes())
            for tensor, array in zip(_tensors(library, "inputs"), arrays, strict=True):
                assert (list(array.shape), array.dtype) == (tensor["shape"], tensor["dtype"])
                file.write(array.tobytes())
    done = subprocess.run(
        [program, asked, answered], capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        reached = [line for line in done.stderr.splitlines() if line.startswith("m")]
        raise AssertionError(f"stopped in {reached[-1:]}: {done.stderr[-4000:]}")
    return _answers(libraries, answered.read_bytes())


def _answers(libraries: Sequence[Library], content: bytes) -> list[list[Array]]:
    at = 0
    results = []
    for library in libraries:
        arrays = []
        for tensor in _tensors(library, "outputs"):
            raw = content[at : at + tensor["size"]]
            arrays.append(np.frombuffer(raw, tensor["dtype"]).reshape(tensor["shape"]))
            at += tensor["size"]
        results.append(arrays)
    assert at == len(content)
    return results


def _tensors(library: Library, kind: str) -> list[dict[str, object]]:
    return [library.metadata["tensors"][i] for i in library.metadata[kind]]


def _build(libraries: Sequence[Library], folder: Path, compiler: str, flags: Sequence[str]) -> Path:
    for library in libraries:
        library.write(folder)
    (folder / "table.c").write_text(_table(libraries))
    program = folder / "compiled"
    done = subprocess.run(
        [
            compiler,
            *WARNINGS,
            *flags,
            f"-I{data_folder('runtime_c') / 'include'}",
            f"-I{_HERE}",
            *(f"{library.prefix}.c" for library in libraries),
            "table.c",
            _HERE / "compiled.c",
            "-o",
            program,
            "-lm",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]
    return program


def _table(libraries: Sequence[Library]) -> str:
    lines = ['#include "compiled.h"']
    rows = []
    for library in libraries:
        p, buffers = library.prefix, library.metadata["buffers"]
        plan = ", ".join("{{{offset}u, {size}u, {first}u, {last}u}}".format(**b) for b in buffers)
        lines.append(f"extern const struct mtvm_model {p}_model;")
        lines.append(f"static const struct buffer {p}_buffers[] = {{{plan}}};")
        rows.append(f"    {{&{p}_model, {p}_buffers, {len(buffers)}u}},")
    return "\n".join([*lines, "const struct compiled compiled_models[] = {", *rows, "};", ""])


def interpreted(made: Compiled, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of a compiled graph's loop programs, by the interpreter."""
    graph, fused = made.graph, made.fused
    values = dict(zip(graph.inputs, inputs, strict=True))

    def value(name: str) -> Array:
        return values[fused.root(name)].reshape(graph.types[name].shape)

    for kernel in made.kernels:
        program, group = kernel.program, kernel.group
        params = dict(zip((*group.inputs, *group.outputs), program.params, strict=False))
        given = {params[v]: value(v).reshape(params[v].shape) for v in group.inputs}
        results = Interpreter(program).run(given)
        values.update((v, results[params[v]]) for v in group.outputs)
    return [value(v) for v in graph.outputs]


def cost(made: Compiled) -> int:
    """About how many steps the interpreter takes."""
    return sum(
        kernel.macs + made.graph.types[v].elements
        for kernel in made.kernels
        for v in (*kernel.group.inputs, *kernel.group.outputs)
    )
