"""Inferences over bad lines: `python -m benchmarks.lossy_link [COUNT]`, 10,000 where none is given.

The C server runs in this process, time is simulated. Each result is compared with numpy's, and the
server's own count says how often the model ran: a run that was asked for once never happens twice.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from microtvm.device import Session
from microtvm.device.transport.lossy import KINDS, LossyTransport, Rates
from microtvm.errors import MicrotvmError
from tests.device.harness import (
    SERVER_SOURCES,
    TESTS_C,
    Clock,
    Server,
    ServerTransport,
    compile_c,
    same,
    tiny_inputs,
    tiny_output,
)

INFERENCES = 10_000
FRACTIONS = (0.001, 0.01, 0.05)
MOST_CALLS = 100_000
"""Of the transport in one inference: more, and it hangs."""
LONGEST_S = 3600.0
"""Simulated, for one inference."""


def settings() -> dict[str, Rates]:
    """What is done to the line, by name: each kind of damage alone, and all of them together."""
    found = {
        f"{kind} {fraction:.1%}": Rates(**{kind: fraction})
        for kind in KINDS
        for fraction in FRACTIONS
    }
    for fraction in FRACTIONS:
        share = fraction / len(KINDS)
        found[f"all {fraction:.1%}"] = Rates(**dict.fromkeys(KINDS, share))
    return found


class _Hung(AssertionError):
    """A session that goes on and on."""


class CountedTransport(ServerTransport):
    """Ends what never ends."""

    def _call(self, how: str) -> None:
        super()._call(how)
        if len(self.log) > MOST_CALLS:
            raise _Hung(f"{MOST_CALLS} calls of the transport in one inference")


@dataclass
class Outcome:
    """What became of the inferences of one setting."""

    right: int = 0
    wrong: int = 0
    hung: int = 0
    executed_twice: int = 0
    sessions: int = 0
    retransmissions: int = 0
    longest_s: float = 0.0
    """Of simulated time that one inference took, with what it took to get a session."""
    errors: Counter[str] = field(default_factory=Counter)
    """By their class."""
    damage: Counter[str] = field(default_factory=Counter)


class _Campaign:
    def __init__(self, server: Server, rates: Rates, seed: int) -> None:
        self._server = server
        self._rates = rates
        self._seed = seed
        self._clock = Clock()
        self._transport: CountedTransport | None = None
        self._lossy: LossyTransport | None = None
        self._session: Session | None = None
        self.outcome = Outcome()

    def infer(self, number: int) -> None:
        outcome = self.outcome
        inputs = tiny_inputs(self._seed + number)
        start_s = self._clock()
        before = self._server.runs()
        if self._transport:
            self._transport.log.clear()
        done = False
        try:
            session = self._session or self._open()
            outputs = session.run(inputs, whole=number % 2 == 0)
            done = True
            right = np.array_equal(outputs["y"], tiny_output(inputs))
            outcome.right += right
            outcome.wrong += not right
        except MicrotvmError as error:
            outcome.errors[type(error).__name__] += 1
            self.end()
        except _Hung:
            outcome.hung += 1
            self.end()
        runs = self._server.runs() - before
        outcome.executed_twice += runs != 1 if done else runs > 1
        taken_s = self._clock() - start_s
        outcome.longest_s = max(outcome.longest_s, taken_s)
        outcome.hung += taken_s > LONGEST_S

    def _open(self) -> Session:
        self.outcome.sessions += 1
        self._transport = CountedTransport(self._server, self._clock, same, same)
        self._lossy = LossyTransport(
            self._transport,
            self._rates,
            seed=self._seed + self.outcome.sessions,
            clock=self._clock,
        )
        self._session = Session(self._lossy, clock=self._clock)
        return self._session

    def end(self) -> None:
        if self._session:
            self.outcome.retransmissions += self._session.retransmissions
            self._session.close()
        if self._lossy:
            self.outcome.damage += self._lossy.damage
        self._session = self._lossy = None


def shares(count: int) -> dict[str, int]:
    """How many of all inferences each setting has, by its name: all of them together `count`."""
    lines = settings()
    return {
        name: count // len(lines) + (position < count % len(lines))
        for position, name in enumerate(lines)
    }


def infer_over(server: Server, rates: Rates, count: int, seed: int = 0) -> Outcome:
    """`count` inferences one after the other, with a new session after each error."""
    server.start()
    campaign = _Campaign(server, rates, seed)
    for number in range(count):
        campaign.infer(number)
    campaign.end()
    return campaign.outcome


def table(outcomes: Iterable[tuple[str, Outcome]]) -> Iterable[str]:
    """The lines of a Markdown table."""
    yield "| line | right | errors | wrong | hung | run twice | sessions | sent again | damage |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, o in outcomes:
        yield (
            f"| {name} | {o.right} | {sum(o.errors.values())} | {o.wrong} | {o.hung} "
            f"| {o.executed_twice} | {o.sessions} | {o.retransmissions} "
            f"| {sum(o.damage.values())} |"
        )


def compile_server(folder: Path) -> Server:
    """The server as a shared library."""
    sources = (TESTS_C / "harness.c", *SERVER_SOURCES)
    return Server(compile_c("gcc", folder / "server.so", "-O2", "-shared", "-fPIC", *sources))


def main() -> int:
    """Prints the table; 1 if a result was wrong or did not come."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else INFERENCES
    lines = settings()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        server = compile_server(Path(folder))
        for position, (name, rates) in enumerate(lines.items()):
            found = infer_over(server, rates, shares(count)[name], 1000 * position)
            outcomes.append((name, found))
    for line in table(outcomes):
        print(line)
    return int(any(o.wrong or o.hung or o.executed_twice for _, o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
