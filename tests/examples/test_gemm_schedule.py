"""examples/gemm_schedule.py: every step is right, where its tiles divide the size and where not."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

from microtvm.tir.interpret import interpret
from microtvm.tir.stmt import Alloc, For, walk
from tests.conftest import ROOT, require_tool

TOLERANCE = 1e-5
"""Of float32 sums of a few hundred products, relative to the largest element."""


@pytest.fixture(scope="module")
def gemm() -> ModuleType:
    path = ROOT / "examples" / "gemm_schedule.py"
    spec = importlib.util.spec_from_file_location("gemm_schedule", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up there.
    sys.modules["gemm_schedule"] = module
    spec.loader.exec_module(module)
    return module


STEPS = ["plain", "blocked", "vectorized", "permuted", "packed", "write_cache", "register_tile"]


@pytest.mark.parametrize("size", [96, 128])
def test_every_step_is_right_and_printed(
    gemm: ModuleType,
    size: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("cc")
    monkeypatch.setattr(gemm, "SECONDS", 0.0)
    results = gemm.main(size)
    assert [r.name for r in results] == STEPS
    for r in results:
        assert r.error < TOLERANCE, r.name
        assert r.gflops > 0
        assert r.numpy_gflops > 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"float32 {size} x {size} x {size}, one thread")
    assert [line.split()[0] for line in lines[2:]] == STEPS
    assert all(line.endswith("%") for line in lines[2:])


@pytest.mark.parametrize("step", STEPS[-2:])
def test_interpreted(gemm: ModuleType, step: str) -> None:
    size = 32
    program = gemm.program_of(getattr(gemm, step), size)
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, size, size), np.float32)
    found = interpret(program, dict(zip(program.params, (a, b), strict=False)))
    np.testing.assert_allclose(found[program.outputs[0]], a @ b, atol=TOLERANCE * size)


def test_the_last_step_sums_vectors_in_registers(gemm: ModuleType) -> None:
    program = gemm.program_of(gemm.register_tile, 64)
    (buffer,) = {s.buffer for s in walk(program.body) if isinstance(s, Alloc)}
    assert (buffer.scope, buffer.shape) == ("register", (gemm.ROWS, gemm.COLUMNS))
    vectors = [s for s in walk(program.body) if isinstance(s, For) and s.kind == "vectorized"]
    assert {s.extent.value for s in vectors} == {gemm.LANES}


def test_sizes_that_panels_do_not_divide_are_refused(gemm: ModuleType) -> None:
    with pytest.raises(SystemExit, match="100 is not a multiple of 32"):
        gemm.main(100)
