"""A bad line in front of any transport: what it does to bytes, and what the link makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.lossy_link import FRACTIONS, INFERENCES, infer_over, main, settings, table
from microtvm.device import open_session
from microtvm.device.transport import TransportTimeout
from microtvm.device.transport.base import Transport
from microtvm.device.transport.lossy import KINDS, LONGEST_SPAN_BYTES, LossyTransport, Rates
from tests.device.harness import Clock, Server, tiny_inputs, tiny_output

INFERENCES_EACH = 80
"""A fifth of what the benchmark does."""
SURVIVED = ("duplicate", "reorder", "delay", "split")
"""What costs time and nothing else, at any rate that is tried."""


class Sink(Transport):
    """Keeps what is written and gives what was put."""

    name = "sink"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.incoming = b""
        self.writes: list[tuple[float, bytes]] = []

    def read(self, limit_bytes: int, timeout_s: float) -> bytes:
        if not self.incoming:
            self._clock.now_s += timeout_s
            raise TransportTimeout("nothing")
        data, self.incoming = self.incoming[:limit_bytes], self.incoming[limit_bytes:]
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        self.writes.append((self._clock(), data))

    def close(self) -> None:
        pass

    @property
    def written(self) -> bytes:
        return b"".join(data for _, data in self.writes)


def send(rates: Rates, data: bytes, seed: int = 0, piece_bytes: int = 1000) -> Sink:
    """Writes through a bad line, and waits until nothing is under way."""
    clock = Clock()
    sink = Sink(clock)
    line = LossyTransport(sink, rates, seed=seed, delay_s=0.01, clock=clock)
    for at in range(0, len(data), piece_bytes):
        line.write(data[at : at + piece_bytes], 1)
    with pytest.raises(TransportTimeout):
        line.read(1, 1e6)
    return sink


def receive(rates: Rates, data: bytes) -> bytes:
    """Reads through a bad line until nothing comes for a second."""
    clock = Clock()
    sink = Sink(clock)
    sink.incoming = data
    line = LossyTransport(sink, rates, delay_s=0.01, clock=clock)
    received = b""
    while True:
        try:
            part = line.read(1000, 1)
        except TransportTimeout:
            return received
        assert 0 < len(part) <= 1000
        received += part


DATA = np.random.default_rng(0).integers(0, 256, 200_000).astype(np.uint8).tobytes()


@pytest.mark.parametrize("way", ["there", "back"])
def test_how_much_is_lost_or_changed(way: str) -> None:
    def carry(rates: Rates) -> bytes:
        return send(rates, DATA).written if way == "there" else receive(rates, DATA)

    assert 0.048 < 1 - len(carry(Rates(drop=0.05))) / len(DATA) < 0.052
    flipped = np.frombuffer(carry(Rates(flip=0.05)), np.uint8) ^ np.frombuffer(DATA, np.uint8)
    assert 0.048 < np.count_nonzero(flipped) / len(DATA) < 0.052
    assert set(np.unique(flipped)) == {0, *(1 << bit for bit in range(8))}
    more = len(carry(Rates(duplicate=0.05))) / len(DATA) - 1
    assert 0.03 < more < 0.06
    moved = carry(Rates(reorder=0.05))
    assert len(moved) == len(DATA)
    assert sorted(moved) == sorted(DATA)
    assert moved != DATA


def test_a_swap_keeps_all_bytes_near() -> None:
    data = b"".join(number.to_bytes(2, "big") for number in range(30_000))
    moved = send(Rates(reorder=0.05), data).written
    assert moved[:LONGEST_SPAN_BYTES] != b""
    numbers = [at for at in range(len(data)) if moved[at] != data[at]]
    assert 0 < len(numbers) < len(data) / 4


def test_late_or_split_is_not_lost() -> None:
    sink = send(Rates(delay=0.01), DATA[:10_000])
    assert sink.written == DATA[:10_000]
    assert 50 < len({time_s for time_s, _ in sink.writes}) < 160
    assert 0.2 < sink.writes[-1][0] < 1.0
    sink = send(Rates(split=0.1), DATA[:10_000])
    assert sink.written == DATA[:10_000]
    assert 900 < len(sink.writes) < 1200
    assert receive(Rates(split=0.05, delay=0.05), DATA[:10_000]) == DATA[:10_000]


def test_a_seed_says_what_happens() -> None:
    rates = Rates(*[0.02] * len(KINDS))
    assert send(rates, DATA[:5000], seed=1).writes == send(rates, DATA[:5000], seed=1).writes
    assert send(rates, DATA[:5000], seed=1).written != send(rates, DATA[:5000], seed=2).written


@pytest.mark.parametrize("line", settings())
def test_every_result_is_right_or_an_error(server: Server, line: str) -> None:
    seed = 7919 * list(settings()).index(line)
    outcome = infer_over(server, settings()[line], INFERENCES_EACH, seed)
    assert outcome.right + sum(outcome.errors.values()) == INFERENCES_EACH
    assert (outcome.wrong, outcome.hung, outcome.executed_twice) == (0, 0, 0)
    assert set(outcome.errors) <= {"LinkError", "DeviceError", "RestartError"}
    if line.split()[0] in SURVIVED or not line.endswith(f"{FRACTIONS[-1]:.1%}"):
        assert outcome.right == INFERENCES_EACH, outcome.errors
    assert outcome.right >= 0.9 * INFERENCES_EACH, outcome.errors
    assert sum(outcome.damage.values()) > 0 or line.endswith(f"{FRACTIONS[0]:.1%}")


def test_the_benchmark(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert INFERENCES >= 10_000
    monkeypatch.setattr("sys.argv", ["lossy_link", "42"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(settings())
    assert sum(int(line.split("|")[2]) + int(line.split("|")[3]) for line in lines[2:]) == 42
    assert list(table([])) == lines[:2]


def test_a_process_behind_a_bad_line(tiny_program: Path) -> None:
    url = f"lossy:drop=0.001&duplicate=0.01&delay=0.01&delay_s=0.01&seed=4:exec:{tiny_program}"
    with open_session(url) as session:
        for seed in range(10):
            inputs = tiny_inputs(seed)
            np.testing.assert_array_equal(session.run(inputs)["y"], tiny_output(inputs))
