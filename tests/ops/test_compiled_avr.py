"""Generated code where an int has 16 bits and constants are in flash: many models in one image."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from microtvm.codegen.c_array import c_array
from microtvm.codegen.library import Library
from microtvm.device.count import build_simavr
from microtvm.errors import ModelError
from microtvm.pipeline import compile_graph
from microtvm.target import load_cpu
from microtvm.target.data import data_folder
from tests.codegen.c_library import WARNINGS
from tests.conftest import require_tool
from tests.ops.compiled import SANITIZED, Case, run_libraries
from tests.ops.network import random_layer, random_network
from tests.ops.oracle import imported
from tests.ops.record import MODULES, recorded_cases
from tests.reference import Array

HERE = Path(__file__).resolve().parent
CPU = load_cpu("atmega2560")
MCU = "atmega1284p"
"""Of the same family, with more RAM: many models' tables fit at once."""
MODELS = 26
FLASH_BYTES = 50_000
"""Of constants, inputs and results: what addresses of 16 bits reach."""
LARGEST_BYTES = 2500
ARENA_BYTES = 4000
"""Of a model's file with its inputs, and of its arena."""


def chosen(patch: pytest.MonkeyPatch) -> list[Case]:
    """Cases of the operators' tests, of layers and of networks, small ones of integers."""
    rng = np.random.default_rng(16)
    found = [
        case
        for name in MODULES
        for case in recorded_cases(importlib.import_module(f"tests.ops.{name}"), 2, patch)
    ]
    found += [Case(f"layer {s}", *random_layer(np.random.default_rng([7, s]))) for s in range(60)]
    found += [
        Case(f"network {s}", *random_network(np.random.default_rng([9, s]), 5)) for s in range(20)
    ]
    small = [c for c in found if _size(c) < LARGEST_BYTES and b"float" not in c.label.encode()]
    return [small[i] for i in rng.permutation(len(small))]


def _size(case: Case) -> int:
    return len(case.model) + sum(x.nbytes for x in case.inputs)


def libraries_of(cases: Sequence[Case]) -> tuple[list[Library], list[Case]]:
    """The first models that fit one image, and their cases; floats round as the C library does."""
    libraries: list[Library] = []
    kept: list[Case] = []
    room = FLASH_BYTES
    for case in cases:
        expected = case.reference()
        if any(x.dtype.kind == "f" for x in (*case.inputs, *expected)):
            continue
        try:
            made = compile_graph(imported(case.model), CPU, prefix=f"m{len(kept)}").library
        except ModelError:
            continue  # it is rounded in double precision
        data = sum(x.nbytes for x in (*case.inputs, *expected))
        if made.metadata["arena_bytes"] > ARENA_BYTES:
            continue
        room -= made.metadata["weights_bytes"] + data
        if room < 0:
            break
        libraries.append(made)
        kept.append(case)
        if len(kept) == MODELS:
            break
    return libraries, kept


Many = tuple[list[Library], list[Case]]


@pytest.fixture(scope="module")
def many() -> Many:
    with pytest.MonkeyPatch.context() as patch:
        return libraries_of(chosen(patch))


@pytest.mark.qemu
def test_many_models_on_an_8_bit_core(many: Many, tmp_path: Path) -> None:
    require_tool("avr-gcc")
    require_tool("simavr")
    libraries, cases = many
    assert len(cases) > MODELS // 2
    elf = _image(libraries, cases, tmp_path)
    said = _run(elf)
    expected = [library.prefix for library in libraries]
    wrong = [
        f"{line}: {case.label}"
        for line, right, case in zip(said, expected, cases, strict=False)
        if line != right
    ]
    assert wrong == []
    assert said == [*expected, "end"]


def test_the_same_text_is_right_where_an_int_has_32_bits(many: Many, tmp_path: Path) -> None:
    """With the sanitizers, which the core's own compiler does not have."""
    libraries, cases = many
    # What fits an int of 16 bits may be converted from one of 32.
    flags = (*SANITIZED, "-Wno-conversion")
    found = run_libraries(libraries, [c.inputs for c in cases], tmp_path, flags=flags)
    for case, outputs in zip(cases, found, strict=True):
        for output, right in zip(outputs, case.reference(), strict=True):
            np.testing.assert_array_equal(output, right, err_msg=case.label)


def _image(libraries: Sequence[Library], cases: Sequence[Case], folder: Path) -> Path:
    for library in libraries:
        library.write(folder)
    (folder / "cases.c").write_text(_runs(libraries, cases))
    elf = folder / "many.elf"
    argv = [
        "avr-gcc", f"-mmcu={MCU}", "-Os", *WARNINGS,
        f"-I{data_folder('runtime_c') / 'include'}", f"-I{HERE}",
        *(f"{library.prefix}.c" for library in libraries),
        "cases.c", str(HERE / "avr.c"), "-o", str(elf), "-lm",
    ]  # fmt: skip
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return elf


def _run(elf: Path) -> list[str]:
    built = build_simavr()
    assert built.path is not None, built.reason
    argv = [str(built.path), "-m", MCU, "-f", "16000000", f"out={elf.parent / 'counts'}", str(elf)]
    lines: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "end":
                break
        process.kill()
    return lines


def _runs(libraries: Sequence[Library], cases: Sequence[Case]) -> str:
    arena = max(library.metadata["arena_bytes"] for library in libraries)
    lines = ['#include "board_cases.h"', f"uint8_t arena[{arena}];"]
    rows = []
    for library, case in zip(libraries, cases, strict=True):
        p = library.prefix
        lines += [
            _bytes(f"{p}_inputs", case.inputs),
            _bytes(f"{p}_expected", case.reference()),
            f"extern const struct mtvm_model {p}_model;",
        ]
        rows.append(f"    {{&{p}_model, {p}_inputs, {p}_expected, 0.0f}},")
    table = ["const struct run runs[] = {", *rows, "};"]
    return "\n".join([*lines, *table, f"const size_t n_runs = {len(rows)};", ""])


def _bytes(name: str, arrays: Sequence[Array]) -> str:
    content = b"".join(a.tobytes() for a in arrays)
    return c_array(name, np.frombuffer(content, np.uint8))
