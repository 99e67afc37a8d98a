"""Every board's image serves its model: the same hand-written network, checked against numpy."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from microtvm.device import Session, open_emulator, open_process
from microtvm.errors import DeviceError
from microtvm.project import Built
from tests.project.image import TINY, check_stack_bound

WEIGHT = np.array(
    [
        [1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16],
        [127, -128] * 8,
        [0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        list(range(16, 0, -1)),
    ],
    np.int64,
)
BIAS = np.array([1000, -1000, 0, 7])


@pytest.fixture(scope="module")
def session(served: Built) -> Iterator[Session]:
    """Ended with this file: an idle target asks its UART all the time, and takes a whole core."""
    emulator = served.project.board.emulator
    assert emulator is not None
    metadata = json.loads((TINY / "metadata.json").read_text())
    argv = emulator.command(served.elf, "{serial}")
    opened = (
        open_process(argv, metadata)
        if emulator.kind == "process"
        else open_emulator(argv, metadata)
    )
    with opened as running:
        yield running


@pytest.mark.qemu
def test_answers_equal_numpys(session: Session) -> None:
    for seed in range(3):
        x = np.random.default_rng(seed).integers(-128, 128, (1, 16), np.int8)
        found = session.run({"x": x})["y"]
        sums = WEIGHT @ x[0].astype(np.int64) + BIAS
        expected = 1.0 / (1.0 + np.exp(-sums / 1024.0))
        np.testing.assert_allclose(found[0], expected, rtol=2e-6, atol=1e-7)


@pytest.mark.qemu
def test_tensor_in_between_is_exact(session: Session) -> None:
    x = np.arange(-128, 112, 15).astype(np.int8).reshape(1, 16)
    session.run_through("product", {"x": x})
    np.testing.assert_array_equal(session.read("sums")[0], WEIGHT @ x[0].astype(np.int64) + BIAS)


@pytest.mark.qemu
def test_profile_uses_the_boards_counter(session: Session, served: Built) -> None:
    counter = served.project.board.counter
    assert counter is not None
    profile = session.profile({"x": np.ones((1, 16), np.int8)})
    assert profile.ticks_hz == counter.hz
    assert [operator.name for operator in profile.operators] == ["product", "squash"]
    assert all(0 < operator.ticks < counter.hz for operator in profile.operators)


@pytest.mark.qemu
def test_stack_stays_within_the_reserve(session: Session, served: Built) -> None:
    if served.project.board.name == "host":
        with pytest.raises(DeviceError, match="can't do this"):
            session.stack_peak()
        return
    check_stack_bound(served.project, session, {"x": np.ones((1, 16), np.int8)})
