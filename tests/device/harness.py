"""The C server in this process: a transport that a test can damage, on a clock of its own."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from microtvm.device import Session
from microtvm.device.client import Timing
from microtvm.device.transport import Transport, TransportClosed, TransportTimeout

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime_c"
TESTS_C = ROOT / "tests" / "c"
SERVER_SOURCES = (*sorted((RUNTIME / "src").glob("*.c")), TESTS_C / "tiny.c")
HOST_SOURCES = (*SERVER_SOURCES, RUNTIME / "port" / "host" / "main.c")
HOST_DEFINES = ("-DMTVM_MODEL=tiny_model", "-DMTVM_ARENA_BYTES=660")
WARNINGS = (
    *("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow"),
    *("-Wmissing-prototypes", "-Werror"),
)

Damage = Callable[[bytes], bytes]


def compile_c(compiler: str, output: Path, *arguments: str | Path) -> Path:
    """Compiles with the project's warnings as errors; the test fails with the compiler's words."""
    command = [compiler, *WARNINGS, "-g", "-I", RUNTIME / "include", "-I", TESTS_C, *arguments]
    done = subprocess.run(
        [str(word) for word in [*command, "-o", output]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


class Server:
    """The shared library of `tests/c/harness.c`."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.harness_exchange.restype = ctypes.c_size_t
        self._library.harness_server_bytes.restype = ctypes.c_size_t

    def start(self) -> None:
        """A fresh server, as after a reset."""
        self.tick(1000)
        assert self._library.harness_start() == 0

    def exchange(self, data: bytes) -> bytes:
        """What the server sends until it has nothing more to do."""
        received = ctypes.create_string_buffer(1 << 16)
        count = self._library.harness_exchange(
            data, ctypes.c_size_t(len(data)), received, ctypes.c_size_t(len(received))
        )
        return received.raw[:count]

    def log(self, text: bytes) -> bytes:
        """What the server sends when the application prints."""
        received = ctypes.create_string_buffer(1 << 16)
        self._library.harness_log.restype = ctypes.c_size_t
        count = self._library.harness_log(text, received, ctypes.c_size_t(len(received)))
        return received.raw[:count]

    def crash(self, text: bytes) -> None:
        """What a fault's handler would note."""
        self._library.harness_crash(text)

    def tick(self, ticks: int) -> None:
        """How far the counter goes on at each look."""
        self._library.harness_tick(ctypes.c_uint32(ticks))

    def runs(self) -> int:
        """How often the model's first operator has run in this process."""
        return int(self._library.harness_runs())

    def state_bytes(self) -> int:
        """sizeof(struct mtvm_server)."""
        return int(self._library.harness_server_bytes())


class Clock:
    """Time goes on only where a transport waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class ServerTransport(Transport):
    """Bytes to the server and back at once, each way through a function that may damage them."""

    name = "the server"

    def __init__(self, server: Server, clock: Clock, to_device: Damage, to_host: Damage) -> None:
        self._server = server
        self._clock = clock
        self._to_device = to_device
        self._to_host = to_host
        self._waiting = b""
        self.closed = False
        self.log: list[str] = []

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        self._call("read")
        if not self._waiting:
            self._clock.now_s += timeout_s
            raise TransportTimeout("nothing came")
        data, self._waiting = self._waiting[:limit_bytes], self._waiting[limit_bytes:]
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        self._call("write")
        self._waiting += self._to_host(self._server.exchange(self._to_device(data)))

    def _call(self, how: str) -> None:
        if self.closed:
            raise TransportClosed("closed")
        self.log.append(how)

    def close(self) -> None:
        self.closed = True


def same(data: bytes) -> bytes:
    """No damage."""
    return data


def tiny_inputs(seed: int = 1) -> dict[str, np.ndarray]:
    """Random inputs of the hand-written model."""
    generator = np.random.default_rng(seed)
    return {
        "x": generator.integers(-128, 128, (1, 300)).astype(np.int8),
        "bias": generator.integers(-1000, 1000, 4).astype(np.int32),
    }


def tiny_output(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What the hand-written model computes, by numpy."""
    half = np.floor_divide(inputs["x"].astype(np.int32), 2)
    return half.reshape(4, 75).sum(axis=1) + inputs["bias"]


def open_tiny(
    server: Server,
    *,
    to_device: Damage = same,
    to_host: Damage = same,
    timing: Timing | None = None,
) -> Session:
    """A session with a fresh server in this process."""
    server.start()
    clock = Clock()
    return Session(ServerTransport(server, clock, to_device, to_host), timing=timing, clock=clock)
