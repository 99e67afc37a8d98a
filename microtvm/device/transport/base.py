"""What a byte stream to a device is. A transport is one file: `<scheme>.py` with
`open_url(rest)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from microtvm.errors import LinkError, UserError

CONNECT_TIMEOUT_S = 10.0


class TransportTimeout(LinkError):
    """Nothing could be read or written in the time that was given; the stream is as good as
    before."""


class TransportClosed(LinkError):
    """The other side went away, or `close` was called: nothing will come or go any more."""


class Transport(ABC):
    """A stream of bytes to a device and back. Not for two threads at once."""

    name: str
    """The stream as messages call it, e.g. `serial:/dev/ttyACM0`."""

    @abstractmethod
    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        """1 to `limit_bytes` bytes, as soon as there are any; never none.

        Raises TransportTimeout after `timeout_s` (0: look once) and TransportClosed.
        """

    @abstractmethod
    def write(self, data: bytes, timeout_s: float) -> None:
        """All of `data`. Raises TransportTimeout (some of it may have gone) and TransportClosed."""

    @abstractmethod
    def close(self) -> None:
        """Gives everything back; a second call does nothing. A process behind the stream is
        reaped."""

    def death(self, grace_s: float) -> str | None:
        """How the process behind the stream ended, if there is one and it ends within `grace_s`."""
        return None

    def printed(self) -> str:
        """The last lines that the process behind the stream printed beside it."""
        return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def closed(name: str, reason: object = "") -> TransportClosed:
    """The error of a stream that ended."""
    return TransportClosed(f"{name} was closed" + (f": {reason}" if str(reason) else ""))


def timed_out(name: str, what: str, timeout_s: float) -> TransportTimeout:
    """The error of a stream on which `what` took too long."""
    return TransportTimeout(f"{name}: {what} within {timeout_s:g} s")


def split_options(url: str, rest: str, known: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Path and options of `path?key=value&...`; `known` has the defaults of all that are
    possible."""
    path, _, query = rest.partition("?")
    options = dict(known)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in known:
            raise UserError(
                f"{url}: unknown option {key!r}",
                hint=f"known options: {', '.join(known) or 'none'}",
            )
        options[key] = value
    if not path:
        raise UserError(f"{url}: nothing after the scheme")
    return path, options
