"""Generated code on the cores that it is for: many models in one image, one model over the wire."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from microtvm.codegen.c_array import c_array
from microtvm.codegen.library import Library
from microtvm.device import open_emulator
from microtvm.pipeline import compile_graph
from microtvm.project import build_project, create_project
from microtvm.target import Board, load_board
from tests.ops.compiled import Case
from tests.ops.network import Network, random_layer, random_network
from tests.ops.oracle import FLOAT_TOLERANCE, assert_equal, imported
from tests.ops.record import MODULES, recorded_cases
from tests.ops.test_compiled_graph import cases as graph_cases
from tests.ops.test_compiled_graph import head_of_a_classifier
from tests.project.image import require_board_tools
from tests.project.machine import Machine
from tests.reference import Array

HERE = Path(__file__).resolve().parent
BOARDS = {"qemu-mps2-an386": 90, "qemu-mps3-an547": 50, "qemu-riscv32": 50, "qemu-microbit": 25}
"""Boards, and how many models their images have."""
LARGEST = {"qemu-microbit": 3000}
"""Bytes of a model's arena and results, where the board is small."""


def chosen(board: str, patch: pytest.MonkeyPatch) -> list[Case]:
    """Other cases on every board: of the operators' tests, networks and layers, a third of each."""
    rng = np.random.default_rng(list(BOARDS).index(board))
    operators = [
        case
        for name in MODULES
        for case in recorded_cases(importlib.import_module(f"tests.ops.{name}"), 2, patch)
    ]
    layers = [Case(f"layer {s}", *random_layer(np.random.default_rng([7, s]))) for s in range(120)]
    networks = [
        Case(f"network {s}", *random_network(np.random.default_rng([9, s]), 6)) for s in range(20)
    ]
    found = []
    most = BOARDS[board] // 3
    for kind in (operators, layers, [*graph_cases(range(1)), *networks]):
        small = [c for c in kind if _size(c) < LARGEST.get(board, 20000)]
        found += [small[i] for i in rng.permutation(len(small))[:most]]
    return found


def _size(case: Case) -> int:
    return len(case.model) + sum(x.nbytes for x in case.inputs)


@pytest.mark.qemu
@pytest.mark.parametrize("name", BOARDS)
def test_many_models_in_one_image(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = load_board(name)
    require_board_tools(board)
    cases = chosen(name, monkeypatch)
    libraries = [
        compile_graph(imported(case.model), board.cpu, prefix=f"m{i}").library
        for i, case in enumerate(cases)
    ]
    elf = _image(board, libraries, cases, tmp_path)
    with Machine(board, elf, tmp_path) as machine:
        said = machine.receive_until(b"end\n").decode().splitlines()
    expected = [library.prefix for library in libraries]
    wrong = [
        f"{line}: {case.label}"
        for line, right, case in zip(said, expected, cases, strict=False)
        if line != right
    ]
    assert wrong == []
    assert said == [*expected, "end"]


def _image(board: Board, libraries: Sequence[Library], cases: Sequence[Case], folder: Path) -> Path:
    """The board's image of all models, without the server."""
    libraries[0].write(folder / "first")
    project = create_project(folder / "first", board, folder / "project")
    for library in libraries[1:]:
        library.write(folder / "rest")
        for suffix in (".c", ".h"):
            name = f"{library.prefix}{suffix}"
            shutil.copyfile(folder / "rest" / name, project.folder / "model" / name)
    source = project.folder / "src"
    shutil.copyfile(HERE / "board.c", source / "main.c")
    shutil.copyfile(HERE / "board_cases.h", source / "board_cases.h")
    (source / "cases.c").write_text(_runs(libraries, cases))
    return build_project(project, strict=True).elf


def _runs(libraries: Sequence[Library], cases: Sequence[Case]) -> str:
    arena = max(library.metadata["arena_bytes"] for library in libraries)
    lines = [
        '#include "board_cases.h"',
        f'__attribute__((section(".mtvm_arena"), aligned(16))) uint8_t arena[{arena}];',
    ]
    rows = []
    for library, case in zip(libraries, cases, strict=True):
        p, expected = library.prefix, case.reference()
        largest = max(float(np.abs(y).max()) for y in expected)
        lines += [
            _bytes(f"{p}_inputs", case.inputs),
            _bytes(f"{p}_expected", expected),
            f"extern const struct mtvm_model {p}_model;",
        ]
        limit = float(np.float32(FLOAT_TOLERANCE * max(1.0, largest)))
        rows.append(f"    {{&{p}_model, {p}_inputs, {p}_expected, {limit!r}f}},")
    table = ["const struct run runs[] = {", *rows, "};"]
    return "\n".join([*lines, *table, f"const size_t n_runs = {len(rows)};", ""])


def _bytes(name: str, arrays: Sequence[Array]) -> str:
    content = b"".join(a.tobytes() for a in arrays)
    return c_array(name, np.frombuffer(content, np.uint8)).replace("MTVM_WEIGHTS ", "")


@pytest.mark.qemu
@pytest.mark.parametrize("name", BOARDS)
def test_a_model_over_the_wire(name: str, tmp_path: Path) -> None:
    """Most operators, one after the other; every input that was never there before."""
    board = load_board(name)
    require_board_tools(board)
    net = Network(np.random.default_rng(5))
    case = Case(name, net.model(*head_of_a_classifier(net)), net.data())
    graph = imported(case.model)
    compile_graph(graph, board.cpu, prefix="head").library.write(tmp_path / "library")
    project = create_project(tmp_path / "library", board, tmp_path / "project")
    built = build_project(project, strict=True)
    assert board.emulator is not None
    metadata = json.loads((tmp_path / "library" / "metadata.json").read_text())
    with open_emulator(board.emulator.command(built.elf, "{serial}"), metadata) as session:
        for seed in range(3):
            net.rng = np.random.default_rng(seed)
            data = net.data()
            found = session.run(dict(zip(graph.inputs, data, strict=True)))
            outputs = [found[v] for v in graph.outputs]
            assert_equal(outputs, Case(name, case.model, data).reference())
