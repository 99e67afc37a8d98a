"""Shared models in Zephyr, emulated and as a process, over the link, against the goldens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from microtvm.device import Session
from microtvm.inference import boot, prepare, run_project
from microtvm.npz import Inputs
from microtvm.project import Built, measure
from microtvm.target import load_board
from tests.golden.mlperf import MODELS, difference, goldens, model_file
from tests.zephyr.conftest import Builders

BOARDS = (
    "native-sim",
    "native-sim-32",
    "qemu-cortex-m3",
    "qemu-mps2-an385",
    "qemu-mps2-an521",
    "qemu-mps3-an547",
    "qemu-riscv32",
)

SMALL = "strww_int8"

INTEGERS = tuple(model for model in MODELS if model != "resnet8_fp32")
"""That one calls expf, which Debian's newlib offers to no Zephyr (it is built without locks)."""


def check_goldens(session: Session, model: str, count: int) -> None:
    """The first inputs give their goldens, in turn, in one arena."""
    x, y = goldens(model)
    name = session.model.inputs[0].name
    for index in range(min(count, len(x))):
        (found,) = session.run({name: x[index]}).values()
        problem = difference(found, y[index])
        assert not problem, f"{model}, input {index}: {problem}"


@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_answers_are_the_references(board: str, builders: Builders, tmp_path: Path) -> None:
    built = builders(board).build(SMALL)
    with boot(built.project, tmp_path).session as session:
        check_goldens(session, SMALL, 10)
        if built.project.board.cpu.family != "native":
            assert 200 < session.stack_peak() < load_board(board).stack_bytes
            assert session.hello.ticks_hz > 1_000_000
    check_footprint(built)


def check_footprint(built: Built) -> None:
    """All of Zephyr is in it: the sums are those of the linker's own report."""
    found = measure(built.elf, built.project.library)
    assert found.ram.stack >= built.project.stack_bytes
    assert found.ram.arena == built.project.library.arena_bytes
    # A table of a few bytes may become part of instructions.
    assert found.flash.weights > 0.99 * built.project.library.weights_bytes
    said = dict(re.findall(r"^ +(\w+): +(\d+) B ", built.log.read_text(), re.MULTILINE))
    if "FLASH" in said and "weights" not in built.project.board.settings["zephyr"]:
        assert 0 <= int(said["FLASH"]) - found.flash.total < 16
        ram = said.get("RAM", said.get("SRAM", ""))
        gaps = int(ram) - (found.ram.arena + found.ram.static + found.ram.stack)
        assert 0 <= gaps < 256


@pytest.mark.qemu
@pytest.mark.parametrize("model", INTEGERS)
def test_all_models_on_a_cortex_m3(model: str, builders: Builders, tmp_path: Path) -> None:
    built = builders("qemu-mps2-an385").build(model)
    with boot(built.project, tmp_path).session as session:
        check_goldens(session, model, 2)


@pytest.mark.qemu
@pytest.mark.parametrize("model", MODELS)
def test_all_models_as_a_process(model: str, builders: Builders, tmp_path: Path) -> None:
    built = builders("native-sim").build(model)
    with boot(built.project, tmp_path).session as session:
        check_goldens(session, model, 10)


@pytest.mark.qemu
def test_floats_as_a_process_of_32_bits(builders: Builders, tmp_path: Path) -> None:
    """Where a pointer and size_t are as on a microcontroller, but math.h is the host's."""
    built = builders("native-sim-32").build("resnet8_fp32")
    with boot(built.project, tmp_path).session as session:
        check_goldens(session, "resnet8_fp32", 2)


@pytest.mark.qemu
def test_instructions_are_those_of_bare_metal(builders: Builders, tmp_path: Path) -> None:
    """Neither interrupts nor other threads are counted, and the compiler's options are the same."""
    built = builders("qemu-mps2-an385").build(SMALL)
    x, _ = goldens(SMALL)
    bare = prepare(model_file(SMALL), load_board("qemu-mps2-an385"), tmp_path / "bare")
    name = built.project.library.metadata["tensors"][0]["name"]
    inputs = Inputs(({name: x[0]},), stacked=False)
    zephyr_counts = run_project(built.project, inputs).counts
    bare_counts = run_project(bare, inputs).counts
    assert zephyr_counts is not None
    assert bare_counts is not None
    assert zephyr_counts.exact
    assert abs(zephyr_counts.instructions / bare_counts.instructions - 1) < 0.001
