"""Several devices at once: their failures stay their own, and no inference is lost or mixed up."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError as NotBegun
from pathlib import Path

import numpy as np
import pytest

from microtvm.device import Pool, Session, open_process
from microtvm.device.client import Timing
from microtvm.device.result import OverdueError
from microtvm.errors import CancelledError, DeviceError, LinkError, ToolError, UserError
from tests.device.harness import Server, open_tiny, tiny_inputs, tiny_output
from tests.device.test_run import Endless

Opener = Callable[[], Session]


def opener(program: Path) -> Opener:
    return lambda: open_process([str(program)])


def check(pool: Pool, count: int) -> None:
    seeds = range(count)
    for seed, outputs in zip(seeds, pool.map(tiny_inputs(s) for s in seeds), strict=True):
        np.testing.assert_array_equal(outputs["y"], tiny_output(tiny_inputs(seed)))


def test_devices_share_the_work(tiny_program: Path) -> None:
    used: set[int] = set()

    def noted(place: int) -> Session:
        used.add(place)
        return opener(tiny_program)()

    with Pool([lambda i=i: noted(i) for i in range(3)]) as pool:  # type: ignore[misc]
        check(pool, 60)
        assert pool.lost == {}
    assert used == {0, 1, 2}


def test_few_rows_are_taken_ahead(tiny_program: Path) -> None:
    taken: list[int] = []

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for seed in range(20):
            taken.append(seed)
            yield tiny_inputs(seed)

    with Pool([opener(tiny_program)] * 2) as pool:
        outputs = pool.map(rows())
        next(outputs)
        assert len(taken) <= 4
        assert len(list(outputs)) == 19


def test_killed_device_is_opened_again(tiny_program: Path) -> None:
    """Every process dies after a few inferences; what it was doing is done again."""
    opened = itertools.count()
    sessions: list[Session] = []

    def open_one() -> Session:
        next(opened)
        session = opener(tiny_program)()
        sessions.append(session)
        return session

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for seed in range(40):
            if seed % 8 == 7:
                os.kill(sessions[-1]._transport.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            yield tiny_inputs(seed)

    with Pool([open_one, open_one]) as pool:
        for seed, outputs in enumerate(pool.map(rows())):
            np.testing.assert_array_equal(outputs["y"], tiny_output(tiny_inputs(seed)))
        assert pool.lost == {}
    assert next(opened) > 4


def broken() -> Session:
    raise DeviceError("unplugged", hint="plug it in")


def test_device_that_does_not_come_back_is_left_out(tiny_program: Path) -> None:
    def missing() -> Session:
        raise ToolError("there is no emulator")

    with Pool([broken, opener(tiny_program), missing]) as pool:
        check(pool, 40)
        assert pool.lost.keys() <= {0, 2}
        assert all(e.message in ("unplugged", "there is no emulator") for e in pool.lost.values())


def test_no_device_is_left() -> None:
    with Pool([broken, broken]) as pool:
        futures = [pool.submit(tiny_inputs(seed)) for seed in range(8)]
        problems = {str(future.exception(60)) for future in futures}
        assert problems == {"none of the pool's 2 devices is left; the last failed so: unplugged"}
        with pytest.raises(DeviceError, match="none of the pool's 2 devices is left") as caught:
            pool.submit(tiny_inputs()).result(60)
        assert caught.value.hint == "plug it in"
        assert pool.lost.keys() == {0, 1}


def test_cancelled_inference_keeps_no_other_from_its_answer() -> None:
    """It still waits when the last device is left out."""
    go_on = threading.Event()

    def late() -> Session:
        go_on.wait(60)
        return broken()

    with Pool([late]) as pool:
        futures = [pool.submit(tiny_inputs(seed)) for seed in range(8)]
        assert futures[5].cancel()
        go_on.set()
        for future in futures[:5] + futures[6:]:
            assert isinstance(future.exception(60), DeviceError)
        assert futures[5].cancelled()


def test_wrong_input_costs_no_device(tiny_program: Path) -> None:
    with Pool([opener(tiny_program)]) as pool:
        wrong = pool.submit({"x": np.zeros(3)})
        right = pool.submit(tiny_inputs())
        with pytest.raises(UserError, match=r"no array for input|is of type int8"):
            wrong.result(60)
        np.testing.assert_array_equal(right.result(60)["y"], tiny_output(tiny_inputs()))
        assert pool.lost == {}


def test_program_error_is_not_hidden(tiny_program: Path, recwarn: pytest.WarningsRecorder) -> None:
    class Odd(dict[str, np.ndarray]):
        def items(self) -> object:  # type: ignore[override]
            raise RuntimeError("a bug of the caller's")

    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        with Pool([opener(tiny_program), opener(tiny_program)]) as pool:
            with pytest.raises(RuntimeError, match="a bug of the caller's"):
                pool.submit(Odd()).result(60)
            check(pool, 4)
    finally:
        threading.excepthook = hook


def test_closing_stops_what_goes_on(tiny_program: Path) -> None:
    begun = threading.Event()
    go_on = threading.Event()

    def slow() -> Session:
        begun.set()
        go_on.wait(60)
        return opener(tiny_program)()

    pool = Pool([slow])
    futures = [pool.submit(tiny_inputs(seed)) for seed in range(3)]
    assert begun.wait(60)
    closing = threading.Thread(target=pool.close)
    closing.start()
    for future in futures[1:]:
        with pytest.raises(NotBegun):
            future.result(60)
    go_on.set()
    closing.join(60)
    assert not closing.is_alive()
    assert futures[0].done()
    with pytest.raises(UserError, match="the pool is closed"):
        pool.submit(tiny_inputs())
    with pytest.raises(UserError, match="a pool needs at least one device"):
        Pool([])


def test_closing_stops_what_is_about_to_begin(server: Server) -> None:
    """The device is opened while the pool closes; its run ends only when it is stopped."""
    opening, go_on = threading.Event(), threading.Event()
    device = Endless()

    def slow() -> Session:
        opening.set()
        go_on.wait(60)
        return open_tiny(server, to_device=device.to_device, to_host=device.to_host)

    pool = Pool([slow])
    future = pool.submit(tiny_inputs())
    assert opening.wait(60)
    closing = threading.Thread(target=pool.close, daemon=True)
    closing.start()
    while not pool._closed:
        closing.join(0.001)
    go_on.set()
    closing.join(60)
    assert not closing.is_alive()
    assert isinstance(future.exception(60), CancelledError)


def test_inference_that_takes_too_long_costs_no_device(server: Server) -> None:
    opened: list[Session] = []
    device = Endless()

    def slow() -> Session:
        opened.append(open_tiny(server, to_device=device.to_device, to_host=device.to_host))
        return opened[-1]

    with Pool([slow]) as pool:
        for _ in range(4):
            with pytest.raises(OverdueError, match="running the model takes longer than 5 s"):
                pool.submit(tiny_inputs(), timeout_s=5).result(60)
            device.cancelled = 0
        assert pool.lost == {}
    assert len(opened) == 1


def test_inference_that_fails_everywhere_is_given_up(server: Server) -> None:
    """A device answers nothing once it is to run: after three attempts it is over."""
    opened: list[Session] = []

    def deaf() -> Session:
        silent = False

        def to_host(data: bytes) -> bytes:
            return b"" if silent else data

        opened.append(open_tiny(server, to_host=to_host, timing=Timing(answer_s=1, run_s=1)))
        silent = True
        return opened[-1]

    with Pool([deaf]) as pool, pytest.raises(LinkError, match="no answer while"):
        pool.submit(tiny_inputs()).result(60)
    assert len(opened) == 3


def test_threads_share_a_session(tiny_program: Path) -> None:
    wrong: list[int] = []
    with opener(tiny_program)() as session:

        def work(first: int) -> None:
            for seed in range(first, first + 10):
                if not np.array_equal(
                    session.run(tiny_inputs(seed))["y"], tiny_output(tiny_inputs(seed))
                ):
                    wrong.append(seed)
                with session.lock:
                    session.run_through("halve", tiny_inputs(seed))
                    if not np.array_equal(
                        session.read("half").ravel().astype(np.int64),
                        tiny_inputs(seed)["x"].ravel().astype(np.int64) // 2,
                    ):
                        wrong.append(seed)

        threads = [threading.Thread(target=work, args=(10 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
