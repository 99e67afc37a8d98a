"""A session with a model on a device: arrays in, arrays out, and a look at everything in
between."""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, ParamSpec, Self, TypeVar

import numpy as np
import numpy.typing as npt

from microtvm.device.client import Client, RestartError, StoppedError, Timing
from microtvm.device.crash import Crash, parse_record, read_crash
from microtvm.device.description import (
    Tensor,
    ask_device,
    content_of,
    find,
    load_metadata,
    near,
)
from microtvm.device.frame import packet_bytes
from microtvm.device.result import OperatorTime, OverdueError, Profile, Run
from microtvm.device.status import Status
from microtvm.device.transport.base import Transport
from microtvm.device.wire import Answer, Kind, Reader, Request, describe, number, through
from microtvm.errors import CancelledError, DeviceError, LinkError, MicrotvmError, UserError
from microtvm.util import Array

PING_BYTES = 8
HEADER_BYTES = 2
"""Sequence number and kind, in front of every request's payload."""

READS_AT_ONCE = 1024
"""Requests of one exchange: enough to keep the line busy."""

P = ParamSpec("P")
T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with the bytes moved so far and the bytes to move."""


def _alone(method: Callable[P, T]) -> Callable[P, T]:
    """A method that threads call one at a time."""

    @functools.wraps(method)
    def locked(*args: P.args, **kwargs: P.kwargs) -> T:
        session = args[0]
        assert isinstance(session, Session)
        with session.lock:
            return method(*args, **kwargs)

    return locked


class Session:
    """A model on a device, for as long as the `with` block lasts.

    Arrays are given and returned by tensor name; names of the model file serve as well. After a
    LinkError or a DeviceError that came of the link, the session is over. Sessions don't know of
    each other. Threads may share one: a call waits until another thread's is done, but for
    `cancel`; with `lock` held, several calls belong together.
    """

    def __init__(
        self,
        transport: Transport,
        metadata: Path | Mapping[str, Any] | None = None,
        *,
        elf: Path | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes over the transport and starts a session.

        `metadata` is a `metadata.json` or its content; without it the device is asked for what it
        has. `elf` is the image that the device runs: it turns addresses of a crash into lines of
        the source. Raises LinkError, DeviceError (also when the device runs another model) and
        UserError (bad metadata).
        """
        self._transport = transport
        self._elf = elf
        self._given: dict[int, bytes] = {}
        self._held: dict[int, bytes] = {}
        self._step = 0
        self._closed = False
        self._stop = threading.Event()
        self.lock = threading.RLock()
        self.last_run: Run | None = None
        self.last_crash: Crash | None = None
        """What the device knew of a crash before this session, if anything."""
        try:
            expected = None if metadata is None else load_metadata(metadata)
            self._client = Client(transport, timing, clock=clock)
            self.hello = self._client.hello()
            self.model = expected or ask_device(self._client, self.hello)
            self._check_model()
            self._take_crash()
        except BaseException:
            transport.close()
            raise

    def _check_model(self) -> None:
        found = self.hello.model_hash
        if found != self.model.model_hash:
            raise DeviceError(
                f"the device runs model {self.hello.model_name} of hash {found.hex()}, "
                f"the metadata is of {self.model.name}, hash {self.model.model_hash.hex()}",
                hint="build and flash the project again",
            )

    def _take_crash(self) -> Crash | None:
        """The device's record, if it has one, which is forgotten there once it is here."""
        if not self.hello.has_crashed:
            return None
        self.last_crash = read_crash(self._client, self.model.operators, self._elf)
        return self.last_crash

    @property
    def retransmissions(self) -> int:
        """How many frames had to be sent again because the line damaged them."""
        return self._client.retransmissions

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators, in the order in which they run."""
        return self.model.operators

    def on_log(self, heard: Callable[[str], None] | None) -> None:
        """Calls `heard` with each piece of text that the application on the device prints."""
        self._client.on_log = heard

    def on_progress(self, heard: Callable[[str], None] | None) -> None:
        """Calls `heard` with the name of the operator that executes, several times a second while
        a run goes on operator by operator."""
        names = self.model.operators

        def named(index: int) -> None:
            if heard is not None and index < len(names):
                heard(names[index])

        self._client.on_progress = named

    def cancel(self) -> None:
        """Stops the run that another thread waits for, between two operators: there it raises
        CancelledError. Also one whose inputs are still being written does not begin. A whole run
        can't be stopped once it has begun."""
        self._stop.set()

    @_alone
    def run(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        whole: bool = False,
        timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Array]:
        """One inference.

        `inputs` has an array of exact shape and type for every input; those that the device still
        holds are not sent again. Returns every output by name, in the model's order. Between
        operators the device says how far it is and listens; with `whole` it does neither, and runs
        the model as an application would. `timeout_s` limits the computing, not the transfer.
        `last_run` has its ticks.
        """
        self._stop.clear()
        self._write_all(self._check_inputs(inputs), progress)
        request = Request(Kind.RUN)
        if not whole and self.model.operators:
            request = through(len(self.model.operators) - 1, restart=True)
        self._run(request, "running the model", timeout_s)
        return {tensor.name: self._read(tensor) for tensor in self.model.outputs}

    def run_many(
        self, rows: Iterable[Mapping[str, npt.ArrayLike]], *, timeout_s: float | None = None
    ) -> Iterator[dict[str, Array]]:
        """The outputs of one inference after the other, as they come: neither side holds more than
        one. An input that stays the same is sent once, where the model leaves it whole."""
        for inputs in rows:
            yield self.run(inputs, timeout_s=timeout_s)

    @_alone
    def run_through(
        self,
        operator: str | int,
        inputs: Mapping[str, npt.ArrayLike] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Run:
        """Runs operators one by one through `operator` (name or index) and holds there, for `read`.

        Goes on from where the last call held, if that is before `operator` and no inputs are given;
        otherwise starts again from the given inputs, or from those given last.
        """
        self._stop.clear()
        index = self.model.operator(operator)
        restart = inputs is not None or not 0 < self._step <= index
        if restart:
            self._write_all(self._inputs_or_last(inputs))
        name = self.model.operators[index]
        return self._run(through(index, restart=restart), f"running through {name}", timeout_s)

    @_alone
    def profile(
        self,
        inputs: Mapping[str, npt.ArrayLike] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Profile:
        """Runs one inference operator by operator and returns what each took.

        Uses `inputs`, or those given last. DeviceError where the board has no counter.
        """
        self._stop.clear()
        if not self.hello.has_ticks:
            raise DeviceError("the board has no counter, so there is nothing to profile with")
        times = []
        given: Mapping[str, npt.ArrayLike] | None = inputs
        for index, name in enumerate(self.model.operators):
            if index == 0:
                self._write_all(self._inputs_or_last(given))
            request = through(index, restart=index == 0)
            run = self._run(request, f"profiling {name}", timeout_s)
            times.append(OperatorTime(name, run.ticks))
        return Profile(tuple(times), self.hello.ticks_hz)

    @_alone
    def read(self, name: str) -> Array:
        """A tensor as it is now: an input, an output, or anything alive where `run_through` holds.

        UserError when there is no such tensor, or when it holds no value at this point.
        """
        return self._read(self.model.tensor(name))

    @_alone
    def stack_peak(self) -> int:
        """The deepest use of the stack since the start, in bytes; DeviceError where it isn't
        measured."""
        answer = self._ask(Request(Kind.STACK), "asking for the stack's peak")
        reader = Reader(answer.payload, "STACK")
        peak_bytes = reader.number("peak")
        reader.end()
        return peak_bytes

    @_alone
    def ping(self) -> float:
        """Sends a few bytes there and back; returns how many seconds that took."""
        data = secrets.token_bytes(PING_BYTES)
        start_s = time.perf_counter()
        answer = self._ask(Request(Kind.PING, data), "pinging")
        if answer.payload != data:
            raise LinkError(f"a ping of {data.hex()} came back as {answer.payload.hex()}")
        return time.perf_counter() - start_s

    @_alone
    def reset(self) -> None:
        """Restarts the board and begins anew; DeviceError where the board can't, or runs another
        model then."""
        self._ask(Request(Kind.RESET), "resetting the board")
        self._forget()
        self.hello = self._client.hello()
        self._check_model()

    def close(self) -> None:
        """Closes the link; an emulator or process behind it is ended."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _forget(self) -> None:
        """A device that has restarted holds no inputs and no inference."""
        self._step = 0
        self._held = {}

    def _check_inputs(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[int, bytes]:
        names = [tensor.name for tensor in self.model.inputs]
        contents: dict[int, bytes] = {}
        for name, value in inputs.items():
            tensor = find(self.model.inputs, name)
            if tensor is None:
                raise UserError(
                    f"model {self.model.name} has no input {name!r}", hint=near(name, names)
                )
            if tensor.index in contents:
                raise UserError(f"input {tensor.name} of model {self.model.name} is given twice")
            contents[tensor.index] = content_of(tensor, value)
        missing = [tensor.name for tensor in self.model.inputs if tensor.index not in contents]
        if missing:
            raise UserError(
                f"no array for input {', '.join(missing)} of model {self.model.name}",
                hint=f"given: {', '.join(inputs) or 'none'}",
            )
        return contents

    def _inputs_or_last(self, inputs: Mapping[str, npt.ArrayLike] | None) -> dict[int, bytes]:
        if inputs is not None:
            return self._check_inputs(inputs)
        if not self._given and self.model.inputs:
            raise UserError(
                f"model {self.model.name} has no inputs yet", hint="give them with this call"
            )
        return self._given

    def _write_all(self, contents: dict[int, bytes], progress: Progress | None = None) -> None:
        self._check_open()
        requests = []
        ends = [0]
        room = packet_bytes(self.hello.frame_bytes) - HEADER_BYTES
        for index, content in contents.items():
            offset = len(content) if self._held.get(index) == content else 0
            while offset < len(content):
                place = number(index) + number(offset)
                part = content[offset : offset + room - len(place)]
                requests.append(Request(Kind.WRITE, place + part))
                offset += len(part)
                ends.append(ends[-1] + len(part))
        self._given = contents
        self._held = {}
        self._step = 0
        what = "writing the inputs"
        with self._explained():
            answers = self._client.exchange(
                requests,
                what,
                progress=progress and (lambda done: progress(ends[done], ends[-1])),
            )
        for answer in answers:
            self._check(answer, what)
        self._held = dict(contents)

    def _run(self, request: Request, what: str, timeout_s: float | None) -> Run:
        self._check_open()
        if self._stop.is_set():
            raise CancelledError(f"stopped before {what}")
        held, self._held = self._held, {}
        with self._explained():
            answer = self._client.call(request, what, timeout_s, self._stop)
        if answer.status == Status.CANCELLED:
            raise self._cancelled(answer.detail, what, timeout_s)
        reader = Reader(self._check(answer, what).payload, request.kind.name)
        run = Run(
            step=reader.number("step", len(self.model.operators)), ticks=reader.number("ticks")
        )
        reader.end()
        self._step = run.step
        self._held = {
            index: content
            for index, content in held.items()
            if self.model.tensors[index].live_to >= run.step
        }
        self.last_run = run
        return run

    def _cancelled(self, step: int, what: str, timeout_s: float | None) -> MicrotvmError:
        names = self.model.operators
        where = f"after {step} of {len(names)} operators"
        if step < len(names):
            where += f", before {names[step]}"
        if self._stop.is_set():
            return CancelledError(f"stopped {where}, {what}")
        return OverdueError(
            f"{what} takes longer than {timeout_s:g} s: the device was stopped {where}",
            hint="give it more time",
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Adds to the news of a crash or restart what the device has said or noted of its cause."""
        try:
            yield
        except StoppedError as error:
            crash = parse_record(error.words, self.model.operators, self._elf)
            self.last_crash = crash
            raise DeviceError(
                f"the device crashed {error.when}: {crash}", hint=crash.hint
            ) from None
        except RestartError as error:
            raise self._with_record(error) from None

    def _with_record(self, error: RestartError) -> RestartError:
        self._forget()
        try:
            self.hello = self._client.hello()
            self._check_model()
            crash = self._take_crash()
        except MicrotvmError:
            return error
        if crash is None:
            return error
        return RestartError(f"{error.message}; it noted: {crash}", hint=crash.hint)

    def _read(self, tensor: Tensor) -> Array:
        self._check_open()
        what = f"reading tensor {tensor.name}"
        content = bytearray()
        while len(content) < tensor.size_bytes:
            content += self._read_part(tensor, len(content), what)
        return np.frombuffer(bytes(content), tensor.dtype).reshape(tensor.shape).copy()

    def _read_part(self, tensor: Tensor, start: int, what: str) -> bytes:
        """As much as READS_AT_ONCE requests get: the size is the device's word, which must not make
        this host ask for all of it before any has come."""
        step = self.hello.read_bytes
        end = min(tensor.size_bytes, start + READS_AT_ONCE * step)
        pieces = [(offset, min(step, end - offset)) for offset in range(start, end, step)]
        requests = [
            Request(Kind.READ, number(tensor.index) + number(offset) + number(count))
            for offset, count in pieces
        ]
        content = bytearray()
        with self._explained():
            answers = self._client.exchange(requests, what)
        for (_, count), answer in zip(pieces, answers, strict=True):
            if answer.status in (Status.NOT_YET, Status.GONE):
                self._refuse_dead(tensor, answer)
            self._check(answer, what)
            if len(answer.payload) != count:
                raise LinkError(f"{len(answer.payload)} bytes came instead of {count} while {what}")
            content += answer.payload
        return bytes(content)

    def _refuse_dead(self, tensor: Tensor, answer: Answer) -> NoReturn:
        producer = max(tensor.live_from - 1, 0)
        hint = ""
        if producer < len(self.model.operators):
            hint = f"read it after run_through({self.model.operators[producer]!r})"
        raise UserError(
            f"tensor {tensor.name} can't be read after {answer.detail} of "
            f"{len(self.model.operators)} operators: {describe(answer)}",
            hint=hint,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise UserError(
                f"the session with model {self.model.name} is closed",
                hint="open another one, and use it inside its `with` block",
            )

    def _ask(self, request: Request, what: str) -> Answer:
        self._check_open()
        with self._explained():
            answer = self._client.call(request, what)
        return self._check(answer, what)

    def _check(self, answer: Answer, what: str) -> Answer:
        """The answer, unless it is an error: then that is raised."""
        if answer.status == Status.OK:
            return answer
        problem = f"{what}: {describe(answer)}"
        if answer.status in (Status.INPUT_MISSING, Status.INPUT_OVERWRITTEN):
            tensors = self.model.tensors
            index = answer.detail
            name = tensors[index].name if index < len(tensors) else str(index)
            raise UserError(f"{problem}: {name}", hint="run the model with all its inputs")
        raise DeviceError(problem)
