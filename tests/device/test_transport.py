"""The contract of all transports, by URL; and what is special in each."""

from __future__ import annotations

import os
import pty
import socket
import sys
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from microtvm.device.transport import (
    Transport,
    TransportClosed,
    TransportTimeout,
    open_transport,
    schemes,
)
from microtvm.device.transport.loop import loop_pair
from microtvm.device.transport.unix import Listener
from microtvm.errors import LinkError, ToolError, UserError

ECHO = "import os\nwhile data := os.read(0, 4096): os.write(1, data)"


def pump(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    """Sends back what comes, until nothing comes any more."""
    with suppress(OSError):
        while data := read():
            write(data)


def echo_socket(stack: ExitStack, server: socket.socket) -> Callable[[], None]:
    """Accepts one connection and echoes; the result hangs up."""
    stack.callback(server.close)
    server.listen(1)
    peers: list[socket.socket] = []
    ready = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            peers.append(server.accept()[0])
        if not peers:
            return
        ready.set()
        pump(lambda: peers[0].recv(4096), peers[0].sendall)

    threading.Thread(target=serve, daemon=True).start()

    def hang_up() -> None:
        assert ready.wait(10)
        peers[0].shutdown(socket.SHUT_RDWR)

    stack.callback(lambda: peers and peers[0].close())
    return hang_up


def echo_terminal(stack: ExitStack) -> tuple[str, Callable[[], None]]:
    """A pseudo-terminal that echoes in raw mode: its path, and what hangs up."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    closing = threading.Event()

    def read() -> bytes:
        data = os.read(master, 4096)
        return b"" if closing.is_set() else data

    thread = threading.Thread(
        target=pump, args=(read, lambda data: os.write(master, data)), daemon=True
    )
    thread.start()
    closed = []

    def hang_up() -> None:
        if closed:
            return
        closed.append(True)
        closing.set()
        os.write(slave, b"end")
        os.close(slave)
        thread.join(10)
        os.close(master)

    stack.callback(hang_up)
    return path, hang_up


class Echo:
    """A transport to something that echoes, and a way to make the other side go away."""

    def __init__(self, scheme: str, folder: Path, stack: ExitStack) -> None:
        self.hang_up: Callable[[], object] = lambda: None
        if scheme == "tcp":
            server = socket.socket()
            server.bind(("127.0.0.1", 0))
            self.hang_up = echo_socket(stack, server)
            url = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        elif scheme == "unix":
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(folder / "s"))
            self.hang_up = echo_socket(stack, server)
            url = f"unix:{folder / 's'}"
        elif scheme in ("pty", "serial"):
            path, self.hang_up = echo_terminal(stack)
            url = f"{scheme}:{path}"
        elif scheme == "exec":
            url = f'exec:{sys.executable} -c "{ECHO}"'
        else:
            url = {"loop": "loop:", "lossy": "lossy:split=0.3&delay=0.1&delay_s=0.001:loop:"}[
                scheme
            ]
        self.transport: Transport = stack.enter_context(open_transport(url))
        if scheme == "exec":
            self.hang_up = self.transport.process.close  # type: ignore[attr-defined]
        if scheme in ("loop", "lossy"):
            loop = getattr(self.transport, "_inner", self.transport)
            self.hang_up = lambda: loop._outgoing.put(b"")


@pytest.fixture(params=schemes())
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Echo]:
    with ExitStack() as stack:
        yield Echo(request.param, tmp_path, stack)


def read_all(transport: Transport, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = transport.read(count - len(data), 10)
        assert part
        data += part
    return data


def test_every_byte_value_passes(echo: Echo) -> None:
    data = bytes(range(256)) * 4
    echo.transport.write(data, 10)
    assert read_all(echo.transport, len(data)) == data


def test_a_limit_is_kept(echo: Echo) -> None:
    echo.transport.write(b"abc", 10)
    assert echo.transport.read(1, 10) == b"a"
    assert read_all(echo.transport, 2) == b"bc"


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
def test_nothing_comes(echo: Echo, timeout_s: float) -> None:
    with pytest.raises(TransportTimeout, match=f"nothing came within {timeout_s:g} s"):
        echo.transport.read(10, timeout_s)
    echo.transport.write(b"x", 10)
    assert echo.transport.read(10, 10) == b"x"


def test_the_other_side_goes_away(echo: Echo) -> None:
    echo.transport.write(b"x", 10)
    assert echo.transport.read(1, 10) == b"x"
    echo.hang_up()
    with pytest.raises(TransportClosed, match="was closed"):
        read_all(echo.transport, 100)


def test_after_close(echo: Echo) -> None:
    echo.transport.close()
    echo.transport.close()
    with pytest.raises(TransportClosed, match="was closed"):
        echo.transport.read(1, 0.01)
    with pytest.raises(TransportClosed, match="was closed"):
        echo.transport.write(b"x", 0.01)


@pytest.mark.parametrize("scheme", ["tcp", "unix", "pty", "exec"])
def test_a_full_pipe_times_out(scheme: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        if scheme == "exec":
            transport = stack.enter_context(open_transport("exec:sleep 60"))
        elif scheme == "pty":
            master, slave = pty.openpty()
            stack.callback(os.close, master)
            transport = stack.enter_context(open_transport(f"pty:{os.ttyname(slave)}"))
            os.close(slave)
        else:
            unix = scheme == "unix"
            server = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
            stack.callback(server.close)
            server.bind(str(tmp_path / "s") if unix else ("127.0.0.1", 0))
            server.listen(1)
            place = tmp_path / "s" if unix else f"127.0.0.1:{server.getsockname()[1]}"
            transport = stack.enter_context(open_transport(f"{scheme}:{place}"))
        with pytest.raises(TransportTimeout, match=r"can't write within 0\.05 s"):
            transport.write(bytes(1 << 24), 0.05)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("/dev/ttyACM0", "is not the URL of a device"),
        ("usb:1", "is not the URL of a device"),
        ("base:1", "is not the URL of a device"),
        ("tcp:nowhere", "tcp:nowhere is no address"),
        ("tcp:host:99999", "is no address"),
        ("serial:/dev/x?baud=fast", "'fast' is no speed"),
        ("serial:/dev/x?speed=9600", "unknown option 'speed'"),
        ("serial:", "nothing after the scheme"),
        ("exec:", "names no program"),
        ("exec:'", "No closing quotation"),
        ("loop:x", "nothing comes after loop:"),
        ("lossy:drop=0.1", "'' is not the URL of a device"),
        ("lossy:drop=0.1:lossy:", "'' is not the URL of a device"),
        ("lossy:lose=0.1:loop:", "unknown option 'lose'"),
        ("lossy:drop=1:loop:", "a rate is 0 or more and below 1"),
        ("lossy:drop=much:loop:", "could not convert string to float: 'much'"),
        ("lossy:drop=nan:loop:", "a rate is 0 or more and below 1"),
        ("lossy:delay_s=inf:loop:", "a delay 0 or more"),
        ("lossy:seed=x:loop:", "invalid literal for int"),
    ],
)
def test_bad_urls(url: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        open_transport(url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("tcp:127.0.0.1:1", "can't connect to tcp:127"),
        ("unix:/nonexistent/socket", "can't connect to unix:/nonexistent"),
        ("pty:/nonexistent", "can't open pty:/nonexistent: No such file"),
        ("pty:/dev/null", "is not a terminal"),
        ("serial:/nonexistent", "can't open serial:/nonexistent"),
    ],
)
def test_nothing_there(url: str, problem: str) -> None:
    with pytest.raises(LinkError, match=problem):
        open_transport(url)


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ToolError, match="no-such-program is not installed") as caught:
        open_transport("exec:no-such-program --flag")
    assert "no-such-program --flag" in caught.value.hint
    with pytest.raises(ToolError, match="can't start /: Permission denied"):
        open_transport("exec:/")


def test_a_pair_of_loops() -> None:
    one, other = loop_pair()
    one.write(b"there", 1)
    other.write(b"back", 1)
    assert (other.read(10, 1), one.read(10, 1)) == (b"there", b"back")
    one.close()
    with pytest.raises(TransportClosed, match="was closed"):
        other.read(1, 1)


def test_a_listener_cleans_up() -> None:
    listener = Listener()
    with pytest.raises(LinkError, match=r"nobody did not connect .* within 0\.01 s"):
        listener.accept("nobody", 0.01, lambda: None)
    listener.close()
    assert not listener.path.parent.exists()


def test_a_path_too_long_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(ToolError, match="is too long for a Unix socket") as caught:
        Listener()
    assert "TMPDIR" in caught.value.hint
    assert list(folder.iterdir()) == []
