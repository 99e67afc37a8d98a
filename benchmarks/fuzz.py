"""Fuzzing of the runtime: `python -m benchmarks.fuzz [SECONDS] [--keep]`, for an hour as it comes.

Each harness of `tests/c/fuzz` runs for half of the time, from the corpus that is committed. With
`--keep` what reaches new code is added to that.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.device.harness import RUNTIME, SERVER_SOURCES, TESTS_C, compile_c

HARNESSES = ("frame", "server")
CORPUS = TESTS_C / "corpus"
LONGEST_INPUT_BYTES = 1024
FLAGS = ("-O2", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
GRACE_S = 60
"""For a fuzzer to end when its time is over."""


@dataclass(frozen=True)
class Figures:
    """What a run of a fuzzer reached."""

    executions: int
    per_second: int
    edges: int
    """Of the control flow graph, that any input passes."""
    features: int
    """libFuzzer's: edges with how often they are passed, and values in comparisons."""
    corpus_files: int
    corpus_bytes: int
    failure: str
    """The report and the input in hexadecimal, where one failed."""


def build(harness: str, folder: Path, sources: Sequence[Path] = SERVER_SOURCES) -> Path:
    """A fuzzer of the given runtime with address and undefined behaviour sanitizers."""
    return compile_c(
        "clang",
        folder / f"fuzz_{harness}",
        *(*FLAGS, "-I", RUNTIME / "src", TESTS_C / "fuzz" / f"{harness}.c", *sources),
    )


def replay(program: Path, corpus: Path) -> subprocess.CompletedProcess[str]:
    """Runs each file of a corpus once."""
    files = sorted(map(str, corpus.iterdir()))
    return subprocess.run([program, *files], capture_output=True, text=True, check=False)


def fuzz(program: Path, corpus: Path, folder: Path, seconds: int) -> Figures:
    """Fuzzes from `corpus` for a time; what is new goes into `folder / "new"`."""
    new = folder / "new"
    new.mkdir()
    command = [
        *(str(program), f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT_BYTES}"),
        *("-len_control=10", "-print_final_stats=1", f"-artifact_prefix={folder}/found-"),
        *("-timeout=10", str(new), str(corpus)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + GRACE_S
    )
    report = done.stderr
    failure = ""
    if done.returncode != 0:
        found = [f"{path.name}: {path.read_bytes().hex()}" for path in folder.glob("found-*")]
        failure = "\n".join([report[-4000:], *found])
    reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/(\d+)(K?)b", report)
    edges, features, files, size, unit = reached[-1] if reached else ("0", "0", "0", "0", "")
    return Figures(
        executions=_stat(report, "number_of_executed_units"),
        per_second=_stat(report, "average_exec_per_sec"),
        edges=int(edges),
        features=int(features),
        corpus_files=int(files),
        corpus_bytes=int(size) * (1024 if unit else 1),
        failure=failure,
    )


def _stat(report: str, name: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", report)
    return int(found[1]) if found else 0


def keep(program: Path, harness: str, folders: Sequence[Path]) -> None:
    """Adds to the committed corpus what reaches edges that it does not."""
    old = CORPUS / harness
    subprocess.run(
        [program, "-merge=1", "-use_counters=0", old, *folders], check=True, capture_output=True
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the figures; 1 if an input failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=3600, help="in all")
    parser.add_argument("--keep", action="store_true", help="add to the committed corpus")
    options = parser.parse_args(argv)
    print("| harness | executions | a second | edges | features | corpus | bytes | failed |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    failures = []
    for harness in HARNESSES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            program = build(harness, folder)
            share = max(options.seconds // len(HARNESSES), 1)
            f = fuzz(program, CORPUS / harness, folder, share)
            if f.failure:
                failures.append(f.failure)
            elif options.keep:
                keep(program, harness, [folder / "new"])
        print(
            f"| {harness} | {f.executions} | {f.per_second} | {f.edges} | {f.features} "
            f"| {f.corpus_files} | {f.corpus_bytes} | {int(bool(f.failure))} |",
            flush=True,
        )
    for failure in failures:
        print(failure, file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
