"""Seven trained models on every machine: every output and tensor in between is the reference's.

Their code is small on all of them, and their stack no deeper than the build says.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measure import MOST_CODE_BYTES
from microtvm.device import Session
from microtvm.errors import FitError
from microtvm.inference import boot, prepare
from microtvm.project import Project
from microtvm.project.measure import measure
from microtvm.target import load_board
from tests.golden.mlperf import (
    MODELS,
    Array,
    difference,
    goldens,
    model_file,
    reference_tensors,
)
from tests.project.image import check_stack_bound, require_board_tools

BOARDS = (
    "qemu-riscv32",
    "qemu-mps2-an385",
    "qemu-mps2-an386",
    "qemu-mps2-an500",
    "qemu-mps2-an505",
    "qemu-mps3-an547",
    "host",
)


def check_tensors(session: Session, model: str, x: Array) -> None:
    """Every tensor that ever exists in memory, when it is made and as long as it is said to live.

    It is read after the first operator and after the last one between which it holds its value. Of
    a tensor that holds some channels of the model's, these are compared.
    """
    expected = reference_tensors(model, x)
    name = session.model.inputs[0].name
    compared = set()
    for index, operator in enumerate(session.operators):
        session.run_through(index, {name: x} if index == 0 else None)
        for tensor in session.model.tensors:
            begin = max(tensor.live_from, 1)
            if index + 1 not in {begin, tensor.live_to} or tensor.live_to < begin:
                continue
            assert tensor.source in expected, f"{model} has no tensor {tensor.source}"
            held = slice(None) if tensor.channels is None else list(tensor.channels)
            wanted = expected[tensor.source][..., held]
            problem = difference(session.read(tensor.name), wanted)
            assert not problem, f"{tensor.name} ({tensor.source}) after {operator}: {problem}"
            compared.add(tensor.name)
    # An input that the first operator overwrites holds nothing that could be read afterwards.
    overwritten = {t.name for t in session.model.inputs if t.live_to == 0}
    assert compared == {t.name for t in session.model.tensors} - overwritten


def check_size(project: Project) -> None:
    """Code and constants, the server's included."""
    flash = measure(project.elf, project.library).flash
    assert flash.code + flash.constants < MOST_CODE_BYTES


def check(model: str, board_name: str, folder: Path) -> None:
    """Compiles, builds, boots once; all inputs give their goldens, in turn, in one arena.

    Tensors in between are compared for all inputs on the host, for the first on an emulated board,
    whose UART takes seconds for them.
    """
    board = load_board(board_name)
    require_board_tools(board)
    file = model_file(model)
    x, y = goldens(model)
    project = prepare(file, board, folder / "kept")
    if board_name != "host":
        check_size(project)
    with boot(project, folder).session as session:
        name = session.model.inputs[0].name
        for index in range(len(x) if board_name == "host" else 1):
            check_tensors(session, model, x[index])
        for index in range(len(x)):
            (found,) = session.run({name: x[index]}).values()
            problem = difference(found, y[index])
            assert not problem, f"input {index}: {problem}"
        # Without an FPU an operator of resnet8_fp32 takes longer than a cancellation waits.
        if board_name != "host" and (model != "resnet8_fp32" or board.cpu.has("fpu-single")):
            check_stack_bound(project, session, {name: x[0]})


@pytest.mark.qemu
@pytest.mark.parametrize("board_name", BOARDS)
@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_is_the_references(model: str, board_name: str, tmp_path: Path) -> None:
    check(model, board_name, tmp_path)


@pytest.mark.qemu
def test_wake_word_runs_on_a_cortex_m0(tmp_path: Path) -> None:
    check("strww_int8", "qemu-microbit", tmp_path)


@pytest.mark.qemu
def test_keyword_spotting_in_armv6m_code(tmp_path: Path) -> None:
    check("kws_int8", "qemu-mps2-an385-m0", tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize("model", [m for m in MODELS if m != "kws_int8"])
def test_armv6m_code_is_small(model: str, tmp_path: Path) -> None:
    """The one core whose code is not run with every model here."""
    board = load_board("qemu-mps2-an385-m0")
    require_board_tools(board)
    check_size(prepare(model_file(model), board, tmp_path / "kept"))


def test_what_cannot_fit_is_refused_before_the_build(tmp_path: Path) -> None:
    board = load_board("qemu-microbit")
    with pytest.raises(FitError, match=r"memory ram has 16,384 bytes, at least [\d,]+ too few"):
        prepare(model_file("vww_int8"), board, tmp_path / "kept")
    assert not (tmp_path / "kept" / "project").exists()
