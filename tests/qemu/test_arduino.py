"""Arduino projects on the Mega 2560: over a ring of 64 bytes in two emulators, and alone."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from microtvm.attach import open_project
from microtvm.device import Session
from microtvm.device.count import build_simavr
from microtvm.inference import boot, run_project
from microtvm.npz import Inputs
from microtvm.pipeline import compile_model
from microtvm.project import Project, build_project, create_project, measure
from microtvm.target import load_board
from tests.conftest import ROOT, require_tool
from tests.project.image import check_stack_bound
from tests.qemu.sine import SCALE_IN, SCALE_OUT, sine_model
from tests.reference import Array, Reference

DIGITS = ROOT / "examples" / "digits"
BOARDS = ("arduino-mega2560", "qemu-mega2560")
RING_BYTES = 64


def require_arduino() -> None:
    for program in ("arduino-builder", "avr-gcc", "simavr", "qemu-system-avr"):
        require_tool(program)


def built(model: Path, folder: Path) -> Project:
    """A project for the board with simavr; the image is the same for QEMU's."""
    require_arduino()
    board = load_board("arduino-mega2560")
    compile_model(model, board.cpu, prefix=model.stem).library.write(folder / "library")
    project = create_project(folder / "library", board, folder / "project")
    build_project(project, strict=True)
    return project


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return built(DIGITS / "digits_small_int8.tflite", tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def sine(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("sine")
    (folder / "sine.tflite").write_bytes(sine_model())
    return built(folder / "sine.tflite", folder)


@contextmanager
def session_on(board: str, project: Project, scratch: Path) -> Iterator[Session]:
    """The project's image in the board's emulator."""
    loaded = load_board(board)
    with boot(dataclasses.replace(project, board=loaded), scratch).session as session:
        yield session


def images() -> tuple[Array, Array]:
    """Held-out digits as the network takes them, and what they are."""
    with np.load(DIGITS / "digits_test.npz") as held_out:
        pixels = held_out["images"][:6].astype(np.float32) / 16
        labels = held_out["labels"][:6]
    return np.round(pixels * 255 - 128).astype(np.int8)[:, np.newaxis, ..., np.newaxis], labels


@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_digits_are_bit_exact_over_a_small_ring(
    board: str, digits: Project, tmp_path: Path
) -> None:
    reference = Reference(DIGITS / "digits_small_int8.tflite")
    data, labels = images()
    guesses = []
    with session_on(board, digits, tmp_path) as session:
        assert session.hello.window_bytes <= RING_BYTES // 2
        for image in data:
            (found,) = session.run({"image": image}).values()
            (expected,) = reference.run(image)
            np.testing.assert_array_equal(found, expected)
            guesses.append(found.argmax())
        check_stack_bound(digits, session, {"image": data[0]})
    assert (np.array(guesses) == labels).mean() > 0.8


@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_sine_is_bit_exact_and_a_sine(board: str, sine: Project, tmp_path: Path) -> None:
    reference = Reference(sine_model())
    with session_on(board, sine, tmp_path) as session:
        for step in range(-128, 128, 17):
            x = np.full((1, 1), step, np.int8)
            (found,) = session.run({"x": x}).values()
            (expected,) = reference.run(x)
            np.testing.assert_array_equal(found, expected)
            assert abs(found[0, 0] * SCALE_OUT - np.sin((step + 128) * SCALE_IN)) < 0.06


@pytest.mark.qemu
def test_session_without_counts(sine: Project) -> None:
    with open_project(sine) as session:
        assert session.run({"x": np.zeros((1, 1), np.int8)}).keys() == {"y"}


@pytest.mark.qemu
def test_cycles_are_the_cores_own(digits: Project) -> None:
    data, _ = images()
    result = run_project(digits, Inputs([{"image": image} for image in data[:2]], stacked=True))
    assert result.counts is not None
    assert result.counts.exact
    assert result.cycles is not None
    assert result.cycles_note == "simavr's, interrupts included"
    operators = result.counts.operators
    assert [o.name for o in operators] == [o["name"] for o in digits.library.metadata["operators"]]
    cycles = [o.cycles for o in operators if o.cycles is not None]
    assert len(cycles) == len(operators)
    # Most instructions take one cycle, loads two, calls five.
    for operator, taken in zip(operators, cycles, strict=True):
        assert operator.instructions < taken < 2.5 * operator.instructions
        assert operator.loads > 0
    assert sum(cycles) < result.cycles < sum(cycles) + 2000
    assert 0 < result.footprint.ram.stack < 600


@pytest.mark.qemu
def test_cycles_agree_with_the_boards_clock(digits: Project, tmp_path: Path) -> None:
    """micros() of the sketch and the emulator's count: two ways to the same time."""
    data, _ = images()
    booted = boot(digits, tmp_path)
    with booted.session as session:
        session.run({"image": data[0]}, whole=True)
        assert booted.counter is not None
        (whole,) = [a for a in booted.counter.new() if a.label == "run"]
        run = session.last_run
    assert run is not None
    assert whole.cycles is not None
    assert run.ticks * 16 == pytest.approx(whole.cycles, rel=0.01)


@pytest.mark.qemu
def test_weights_stay_in_flash(digits: Project) -> None:
    footprint = measure(digits.elf, digits.library)
    assert footprint.flash.weights == digits.library.weights_bytes
    # The tables of tensors and operators, the server, and the core's two rings.
    assert footprint.ram.static < 1200
    assert footprint.flash.constants < 1000


@pytest.mark.qemu
def test_qemu_counts_nothing_and_says_so(digits: Project) -> None:
    other = dataclasses.replace(digits, board=load_board("qemu-mega2560"))
    result = run_project(other)
    assert result.counts is None
    assert result.cycles is None
    assert "QEMU's plugin knows no instruction of atmega2560" in result.cycles_note


@pytest.mark.qemu
def test_example_runs_alone(digits: Project, tmp_path: Path) -> None:
    """The library's stand-alone example in the place of the sketch: it prints what is right."""
    require_arduino()
    project = dataclasses.replace(digits, folder=tmp_path / "alone")
    shutil.copytree(digits.folder, project.folder, ignore=shutil.ignore_patterns("build"))
    example = project.folder / "libraries/digits_small_int8/examples/StandAlone/StandAlone.ino"
    shutil.copyfile(
        example, project.folder / "digits_small_int8_server/digits_small_int8_server.ino"
    )
    elf = build_project(project, strict=True).elf
    bridge = build_simavr()
    assert bridge.path is not None, bridge.reason
    argv = [str(bridge.path), "-m", "atmega2560", "-f", "16000000", f"out={tmp_path / 'n'}", elf]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(2)]
        process.kill()
    image = (np.arange(64) * 37).astype(np.int8).reshape(1, 8, 8, 1)
    (expected,) = Reference(DIGITS / "digits_small_int8.tflite").run(image)
    assert lines[0] == "scores: " + " ".join(map(str, expected.ravel().tolist()))
    assert lines[1].startswith("microseconds: ")
    assert 10_000 < int(lines[1].split()[1]) < 2_000_000
