"""The model of the protocol, searched by spin: `python -m benchmarks.model`.

First as it is, then with one rule after the other left out, which must be found each time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.device.harness import RUNTIME

MODEL = RUNTIME / "model" / "link.pml"
SEARCH_S = 300
MOST_DEPTH = 100_000
BROKEN = ("REPETITION", "SILENCE", "WINDOW", "NONCE", "STARTED", "NOISE")
"""The rules that the model can leave out."""


@dataclass(frozen=True)
class Search:
    """What the verifier says."""

    states: int
    depth: int
    errors: int
    whole: bool
    """Whether all states were visited."""
    said: str


def search(folder: Path, without: str = "") -> Search:
    """Searches the model's states, without one of its rules where that is named; RuntimeError if
    spin, gcc or the verifier fails."""
    # What is searched whole is worth optimising.
    options = ["-O0"] if without else ["-O1"]
    rule = [f"-DBROKEN_{without}"] if without else []
    memory = ["-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000"]
    for command in (
        ["spin", "-a", *rule, str(MODEL)],
        ["gcc", *options, *memory, "-o", "pan", "pan.c"],
        ["./pan", f"-m{MOST_DEPTH}"],
    ):
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SEARCH_S
        )
        if done.returncode != 0:
            raise RuntimeError(done.stdout + done.stderr)
    said = done.stdout
    found = {
        name: int(re.findall(pattern, said)[0])
        for name, pattern in {
            "states": r"(\d+) states, stored",
            "depth": r"depth reached (\d+)",
            "errors": r"errors: (\d+)",
        }.items()
    }
    cut = "Search not completed" in said or "max search depth too small" in said
    return Search(**found, whole=not cut, said=said)


def main() -> int:
    """Prints what was found; 1 if that is a fault, or a rule was not missed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = search(folder)
        print(f"{whole.states} states, {whole.depth} deep, {whole.errors} errors")
        missed = {rule: search(folder, rule).errors for rule in BROKEN}
    for rule, errors in missed.items():
        print(f"without {rule}: {errors} errors")
    return int(whole.errors != 0 or not whole.whole or 0 in missed.values())


if __name__ == "__main__":
    sys.exit(main())
