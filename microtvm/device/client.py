"""The host's end of the link: sessions and requests over any transport, every wait bounded."""

from __future__ import annotations

import secrets
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microtvm.device.frame import Damage, FrameDecoder, Packet, crc32, frame_encode
from microtvm.device.status import Status
from microtvm.device.transport.base import Transport, TransportClosed, TransportTimeout
from microtvm.device.window import Window
from microtvm.device.wire import (
    NONCE_BYTES,
    PROTOCOL,
    Answer,
    Hello,
    Kind,
    Request,
    describe,
    hello_request,
    parse_answer,
    parse_hello,
    parse_progress,
    printable,
)
from microtvm.errors import DeviceError, LinkError

HELLO_S = 20.0
ANSWER_S = 20.0
RUN_S = 600.0
RETRY_S = 0.5
LONGEST_RETRY_S = 8.0
HURRY_S = 0.05
WATCH_S = 0.25
WRITE_S = 20.0
DEATH_GRACE_S = 1.0

LAST_WORDS = b"mtvm: "
"""What the text of a target that stops begins with; it stands between two delimiters."""

READ_BYTES = 4096
KEPT_TEXT_BYTES = 2048
KEPT_TEXT_LINES = 20


@dataclass(frozen=True)
class Timing:
    """All waits of a client, in seconds."""

    hello_s: float = HELLO_S
    """For a device to start and to answer the first request."""
    answer_s: float = ANSWER_S
    """Silence after which a device that isn't computing is given up."""
    run_s: float = RUN_S
    """The longest silence while the device computes: a device that runs operators one by one is
    heard of several times a second, or whenever one has ended."""
    retry_s: float = RETRY_S
    """Silence after which a request is sent again; doubled each time, up to LONGEST_RETRY_S."""
    write_s: float = WRITE_S
    """For the transport to take what is written."""
    watch_s: float = WATCH_S
    """How soon the end of an emulator is noticed whose stream stays open."""


class StoppedError(DeviceError):
    """The device says that it can't go on: `words` is how, `when` is what it was doing."""

    def __init__(self, when: str, words: str) -> None:
        super().__init__(f"the device stopped {when}: {words}", hint=CRASH_HINT)
        self.when = when
        self.words = words


class UnansweredError(DeviceError):
    """The stream closed before anybody had answered."""


class RestartError(DeviceError):
    """The device has restarted in the middle of a session."""


class _Retry:
    """When to ask again: after `first_s` of silence, then after twice as long, and so on."""

    def __init__(self, first_s: float, now_s: float) -> None:
        self._first_s = first_s
        self.restart(now_s)

    def restart(self, now_s: float) -> None:
        self._wait_s = self._first_s
        self.due_s = now_s + self._wait_s

    def hurry(self, now_s: float, wait_s: float) -> None:
        """There is somebody, but the line is bad: no reason to wait for longer and longer."""
        self._wait_s = self._first_s
        self.due_s = min(self.due_s, now_s + min(wait_s, self._first_s))

    def back_off(self, now_s: float) -> None:
        self._wait_s = min(self._wait_s * 2, max(LONGEST_RETRY_S, self._first_s))
        self.due_s = now_s + self._wait_s


class Client:
    """One session with one device at a time. After an error only `hello` is of any use."""

    def __init__(
        self,
        transport: Transport,
        timing: Timing | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = transport
        self.timing = timing or Timing()
        self._clock = clock
        self._decoder = FrameDecoder()
        self._text = bytearray()
        self._letters = getincrementaldecoder("utf-8")("replace")
        self._quiet = False
        self._window: Window | None = None
        self._broken = ""
        self._operator: int | None = None
        self.on_progress: Callable[[int], None] | None = None
        """Called with the index of the operator that executes, while a run goes on."""
        self.on_log: Callable[[str], None] | None = None
        """Called with what the application on the device prints."""

    @property
    def retransmissions(self) -> int:
        """How many frames of this session were sent again."""
        return self._window.retransmissions if self._window else 0

    def hello(self) -> Hello:
        """Starts a session, also with a device that is just starting or in the middle of another.

        Raises LinkError when nothing that speaks this protocol answers within `timing.hello_s`,
        DeviceError when the process behind the link ends.
        """
        self._window = None
        self._letters.reset()
        self._decoder.seed = 0
        self._broken = "the session did not begin"
        nonce = secrets.token_bytes(NONCE_BYTES)
        while crc32(nonce) == 0:
            nonce = secrets.token_bytes(NONCE_BYTES)
        request = hello_request(nonce)
        frame = frame_encode(bytes([0, request.kind]) + request.payload)
        start_s = self._clock()
        retry = _Retry(self.timing.retry_s, start_s)
        sent = 1
        self._write(frame, "to start a session")
        while True:
            now_s = self._clock()
            if now_s >= start_s + self.timing.hello_s:
                limit_s = self.timing.hello_s
                raise self._silent(f"no answer to the first request within {limit_s:g} s")
            if now_s >= retry.due_s:
                retry.back_off(now_s)
                sent += 1
                self._write(frame, "to start a session")
            for event in self._read(min(retry.due_s, start_s + self.timing.hello_s)):
                if isinstance(event, Damage):
                    if not _is_text(event.data):
                        retry.hurry(self._clock(), HURRY_S)
                    continue
                self._log(event)
                if event.data[1] == Kind.DAMAGED:
                    retry.hurry(self._clock(), HURRY_S)
                if event.data[1] == Kind.STARTED:
                    retry.restart(self._clock())
                    sent += 1
                    self._write(frame, "to start a session")
                hello = self._parse_hello(event, nonce)
                if hello:
                    self._decoder.seed = crc32(nonce)
                    under_way = [frame] * (sent - 1)
                    self._window = Window(hello.window_bytes, crc32(nonce), under_way)
                    self._broken = ""
                    return hello

    def _parse_hello(self, packet: Packet, nonce: bytes) -> Hello | None:
        parsed = parse_answer(packet.data)
        if not parsed or parsed[1].kind != Kind.HELLO:
            return None
        answer = parsed[1]
        if answer.status == Status.VERSION:
            raise LinkError(
                f"the device speaks version {answer.detail} of the protocol, "
                f"this host version {PROTOCOL}",
                hint="build the project again with this version of microtvm",
            )
        if answer.status != Status.OK:
            raise LinkError(f"the device refuses a session: {describe(answer)}")
        hello = parse_hello(answer.payload)
        return hello if hello.nonce == nonce else None

    def call(
        self,
        request: Request,
        what: str,
        run_s: float | None = None,
        stop: threading.Event | None = None,
    ) -> Answer:
        """One request and its answer; `what` completes "while ..." in messages. See `exchange`."""
        return self.exchange([request], what, run_s=run_s, stop=stop)[0]

    def exchange(
        self,
        requests: Sequence[Request],
        what: str,
        *,
        run_s: float | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Answers of any status to all requests, in their order.

        As many are in flight as the device's window takes. A run or a reset is sent alone. A run is
        stopped between two operators once `stop` is set, or when it takes longer than `run_s`; its
        answer then is CANCELLED. `progress` gets the number of requests answered so far. Raises
        LinkError when the device is silent for too long, DeviceError when it restarted or its
        process ended.
        """
        if self._broken or self._window is None:
            raise LinkError(f"the link can't be used any more: {self._broken or 'no session yet'}")
        self._broken = f"it failed while {what}"
        window = self._window
        window.submit(requests)
        self._operator = None
        self._drive(window, what, run_s, stop, progress)
        self._broken = ""
        return window.answers[: len(requests)]

    def _drive(
        self,
        window: Window,
        what: str,
        run_s: float | None,
        stop: threading.Event | None,
        progress: Callable[[int], None] | None,
    ) -> None:
        heard_s = self._clock()
        retry = _Retry(self.timing.retry_s, heard_s)
        begun_s: float | None = None
        while not window.finished:
            self._send_all(window, what)
            now_s = self._clock()
            accepted = window.accepted
            begun_s = now_s if begun_s is None and accepted else begun_s
            overdue = run_s is not None and begun_s is not None and now_s >= begun_s + run_s
            if (overdue or (stop is not None and stop.is_set())) and window.cancel():
                heard_s = now_s
                retry.restart(now_s)
                continue
            computing = accepted and not window.cancelling
            limit_s = self.timing.run_s if computing else self.timing.answer_s
            if now_s >= heard_s + limit_s:
                raise self._silent(self._missing(window, what, limit_s, run_s if overdue else None))
            if now_s >= retry.due_s:
                retry.back_off(now_s)
                window.on_silence()
                continue
            until_s = min(retry.due_s, heard_s + limit_s)
            if run_s is not None and begun_s is not None and not overdue:
                until_s = min(until_s, begun_s + run_s)
            events = self._read(until_s, what)
            if any([self._handle(window, event, what) for event in events]):
                heard_s = self._clock()
                retry.restart(heard_s)
                if progress:
                    progress(window.answered)
            elif events:
                retry.hurry(self._clock(), self.timing.retry_s)

    def _missing(self, window: Window, what: str, limit_s: float, run_s: float | None) -> str:
        if not window.accepted:
            return f"no answer while {what} within {limit_s:g} s"
        executing = "" if self._operator is None else f", in operator {self._operator}"
        if not window.cancelling:
            return f"no result while {what}{executing} within {limit_s:g} s"
        stop = f"does not stop within {limit_s:g} s"
        if run_s is None:
            return f"the device {stop} while {what}{executing}"
        return f"no result while {what}{executing} within {run_s:g} s, and the device {stop}"

    def _send_all(self, window: Window, what: str) -> None:
        frames = []
        while (frame := window.next_frame()) is not None:
            frames.append(frame)
        if frames:
            self._write(b"".join(frames), f"while {what}")

    def _handle(self, window: Window, event: Packet | Damage, what: str) -> bool:
        """Whether the device got any further."""
        if isinstance(event, Damage):
            if not (self._quiet and _is_text(event.data)):
                window.on_noise()
            self._quiet = True
            return False
        self._quiet = False
        if self._log(event):
            return False
        if event.plain:
            if event.data[1] == Kind.STARTED and not window.on_restart():
                raise RestartError(
                    f"the device restarted before or while {what}{self._last_words()}",
                    hint=CRASH_HINT,
                )
            if event.data[1] == Kind.DAMAGED:
                window.on_damage()
            answer = parse_answer(event.data)
            if answer and answer[1].kind == Kind.HELLO:
                window.on_answer(*answer)
            return False
        running = parse_progress(event.data)
        if running is not None:
            return self._on_progress(window, *running)
        parsed = parse_answer(event.data)
        return parsed is not None and window.on_answer(*parsed)

    def _on_progress(self, window: Window, sequence: int, operator: int) -> bool:
        if not window.on_progress(sequence):
            return False
        self._operator = operator
        if self.on_progress:
            self.on_progress(operator)
        return not window.cancelling

    def _log(self, packet: Packet) -> bool:
        """Whether the packet is the application's text."""
        if packet.data[1] != Kind.LOG:
            return False
        # A letter may be cut in two where long text is.
        text = self._letters.decode(packet.data[2:])
        if self.on_log and text:
            self.on_log(text)
        return True

    def _write(self, data: bytes, when: str) -> None:
        try:
            self.transport.write(data, self.timing.write_s)
        except TransportClosed as error:
            raise self._closed(error, when) from error

    def _read(
        self, until_s: float, what: str = "waiting for its first answer"
    ) -> list[Packet | Damage]:
        """What has arrived as soon as a frame is whole, or nothing. Many a line brings a frame in
        single bytes: there is nothing to do for each of them."""
        events: list[Packet | Damage] = []
        while not events:
            wait_s = min(max(until_s - self._clock(), 0.0), self.timing.watch_s)
            try:
                data = self.transport.read(READ_BYTES, wait_s)
            except TransportTimeout:
                death = self.transport.death(0.0)
                if death:
                    raise self._gone(f"{death} while {what}") from None
                return []
            except TransportClosed as error:
                raise self._closed(error, f"while {what}") from error
            events = self._decoder.feed(data)
            if wait_s == 0.0:
                break
        for event in events:
            if isinstance(event, Damage):
                if event.data.startswith(LAST_WORDS):
                    words = printable(event.data[len(LAST_WORDS) :])
                    raise StoppedError(f"while {what}", words)
                if _is_text(event.data):
                    self._text += event.data + b"\n"
                    del self._text[:-KEPT_TEXT_BYTES]
        return events

    def _closed(self, error: TransportClosed, when: str) -> DeviceError:
        death = self.transport.death(DEATH_GRACE_S)
        problem = f"{death or error.message} {when}"
        if death is None and self._window is None:
            return UnansweredError(problem + self._last_words(), hint=_SILENCE_HINT)
        return self._gone(problem)

    def _gone(self, problem: str) -> DeviceError:
        return DeviceError(problem + self._last_words(), hint=CRASH_HINT)

    def _silent(self, problem: str) -> LinkError:
        return LinkError(
            f"{self.transport.name}: {problem}{self._last_words()}", hint=_SILENCE_HINT
        )

    def _last_words(self) -> str:
        """What the target printed, beside the link or on it between frames."""
        partial = self._decoder.partial
        on_link = bytes(self._text) + (partial if _is_text(partial) else b"")
        text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in on_link)
        lines = [line for line in text.splitlines() if line.strip()][-KEPT_TEXT_LINES:]
        printed = self.transport.printed().splitlines() + lines
        return "; it printed last:\n" + "\n".join(printed) if printed else "; it printed nothing"


_PRINTABLE = frozenset(range(32, 127)) | {9, 10, 13}


def _is_text(data: bytes) -> bool:
    """Whether a person may have meant it: a damaged frame is nothing to show."""
    return 10 * sum(byte in _PRINTABLE for byte in data) >= 9 * len(data)


_SILENCE_HINT = (
    "is the board powered, is the speed right, does it run an image made by microtvm, "
    "is it busy with a longer run?"
)
CRASH_HINT = "the stack may be too small for the model, or the board's memory map wrong"
