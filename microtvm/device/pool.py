"""Several devices of one model that share the work: what one of them fails at, another does."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

import numpy.typing as npt

from microtvm.device.result import OverdueError
from microtvm.device.session import Session
from microtvm.errors import DeviceError, LinkError, MicrotvmError, UserError
from microtvm.util import Array

Outputs = dict[str, Array]

ATTEMPTS = 3
"""How many devices try one inference before it is given up."""

REOPENED = 2
"""How often in a row a device may fail and be opened again before it is left out."""

AHEAD = 2
"""For each device, how many inputs `map` takes before their outputs are fetched."""


STOP_S = 0.05
"""How long to wait for a thread before what it runs is stopped once more."""


class _Job:
    def __init__(self, inputs: Mapping[str, npt.ArrayLike], timeout_s: float | None) -> None:
        self.inputs = inputs
        self.timeout_s = timeout_s
        self.attempts = 0
        self.begun = False
        self.future: Future[Outputs] = Future()

    def begin(self) -> bool:
        """Whether somebody still waits for it, who can't cancel it from now on."""
        self.begun = self.begun or self.future.set_running_or_notify_cancel()
        return self.begun


class Pool:
    """Devices, or emulators, that serve one queue of inferences; a thread for each.

    A device whose session breaks is opened again, and its inference goes back to the queue; one
    that fails REOPENED times in a row is left out, and `lost` says why. What is wrong with the
    inputs, and that an inference takes longer than it was given, is told to who asked for it, and
    costs no device.
    """

    def __init__(self, openers: Sequence[Callable[[], Session]]) -> None:
        """`openers` open a session with one device each, all of the same model, and are called
        again after a failure. UserError without any."""
        if not openers:
            raise UserError("a pool needs at least one device")
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._working = len(openers)
        self._sessions: dict[int, Session] = {}
        self.lost: dict[int, MicrotvmError] = {}
        """Devices that are left out, by their place among the openers, with the last failure."""
        self._threads = [
            threading.Thread(target=self._work, args=(i, opener), daemon=True)
            for i, opener in enumerate(openers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, inputs: Mapping[str, npt.ArrayLike], *, timeout_s: float | None = None
    ) -> Future[Outputs]:
        """One inference on whatever device is free; its result is what `Session.run` returns or
        raises. UserError after `close`; DeviceError in the future where no device is left."""
        job = _Job(inputs, timeout_s)
        with self._lock:
            if self._closed:
                raise UserError("the pool is closed")
            if self._working == 0:
                job.future.set_exception(self._nobody())
            else:
                self._jobs.put(job)
        return job.future

    def map(
        self, rows: Iterable[Mapping[str, npt.ArrayLike]], *, timeout_s: float | None = None
    ) -> Iterator[Outputs]:
        """The outputs for all rows, in their order, a few rows taken ahead; raises what the first
        inference raised that failed for good."""
        waiting: deque[Future[Outputs]] = deque()
        for inputs in rows:
            waiting.append(self.submit(inputs, timeout_s=timeout_s))
            if len(waiting) >= AHEAD * len(self._threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Ends all sessions; what has not begun is cancelled, what is under way is stopped."""
        with self._lock:
            self._closed = True
            self._drop(UserError("the pool is closed"), cancel=True)
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            # Again and again: an inference may be about to begin, or its device be just opening.
            while thread.is_alive():
                with self._lock:
                    sessions = list(self._sessions.values())
                for session in sessions:
                    session.cancel()
                thread.join(STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _work(self, place: int, opener: Callable[[], Session]) -> None:
        failures = 0
        try:
            while (job := self._jobs.get()) is not None:
                if not job.begin():
                    continue
                failure: MicrotvmError | None = None
                patience = REOPENED
                try:
                    session = self._session(place, opener)
                except (LinkError, DeviceError) as error:
                    failure = error
                except MicrotvmError as error:
                    failure, patience = error, 0
                except BaseException as error:
                    self._abandon(place, job, error)
                    raise
                if failure is not None:
                    # That a device is not there is no fault of the inference.
                    self._put_back(job, failure)
                else:
                    failure = self._try(place, session, job)
                failures = 0 if failure is None else failures + 1
                if failure is not None and failures > patience:
                    self._leave(place, failure)
                    return
        finally:
            self._end(place)

    def _try(self, place: int, session: Session, job: _Job) -> MicrotvmError | None:
        """Runs one inference; why the device failed at it, None if it did not."""
        try:
            outputs = session.run(job.inputs, timeout_s=job.timeout_s)
        except OverdueError as error:
            job.future.set_exception(error)
        except (LinkError, DeviceError) as error:
            self._end(place)
            job.attempts += 1
            if job.attempts >= ATTEMPTS:
                job.future.set_exception(error)
            else:
                self._put_back(job, error)
            return error
        except MicrotvmError as error:
            job.future.set_exception(error)
        except BaseException as error:
            self._abandon(place, job, error)
            raise
        else:
            job.future.set_result(outputs)
        return None

    def _abandon(self, place: int, job: _Job, error: BaseException) -> None:
        """A bug: whoever waits is told, and the device's thread ends."""
        job.future.set_exception(error)
        self._leave(place, MicrotvmError(f"a device's thread ended: {error!r}"))

    def _session(self, place: int, opener: Callable[[], Session]) -> Session:
        if place not in self._sessions:
            session = opener()
            with self._lock:
                self._sessions[place] = session
        return self._sessions[place]

    def _end(self, place: int) -> None:
        with self._lock:
            session = self._sessions.pop(place, None)
        if session is not None:
            session.close()

    def _put_back(self, job: _Job, error: MicrotvmError) -> None:
        with self._lock:
            if self._closed:
                job.future.set_exception(error)
            else:
                self._jobs.put(job)

    def _leave(self, place: int, error: MicrotvmError) -> None:
        with self._lock:
            self.lost[place] = error
            self._working -= 1
            if self._working == 0:
                self._drop(self._nobody(), cancel=False)

    def _drop(self, error: MicrotvmError, *, cancel: bool) -> None:
        """Ends all jobs that wait: those that no device has tried yet may be cancelled."""
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is None or (cancel and job.future.cancel()):
                continue
            if job.begin():
                job.future.set_exception(error)

    def _nobody(self) -> DeviceError:
        last = list(self.lost.values())[-1]
        return DeviceError(
            f"none of the pool's {len(self._threads)} devices is left; the last failed so: "
            f"{last.message}",
            hint=last.hint,
        )
