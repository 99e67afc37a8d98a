"""What of the runtime the host's tests execute: `python -m benchmarks.coverage`, by gcov.

They are the corpus of the fuzzers, the frame codec's test and requests that are almost right.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.device.harness import RUNTIME, TESTS_C, compile_c

FUZZ = TESTS_C / "fuzz"
PROGRAMS = {
    "frames": ([FUZZ / "replay.c", FUZZ / "frame.c"], "corpus/frame"),
    "server": ([FUZZ / "replay.c", FUZZ / "server.c", TESTS_C / "tiny.c"], "corpus/server"),
    "codec": ([TESTS_C / "test_frame.c"], ""),
    "requests": ([TESTS_C / "fuzz_server.c", TESTS_C / "tiny.c"], ""),
}


@dataclass
class Coverage:
    """Of one file or of several."""

    lines: int = 0
    lines_hit: int = 0
    branches: int = 0
    branches_hit: int = 0
    missed: list[str] = field(default_factory=list)


def measure(folder: Path) -> Coverage:
    """Runs all programs, which share the objects of the runtime and so their counters."""
    objects = [
        compile_c("gcc", folder / f"{source.stem}.o", "--coverage", "-O0", "-c", source)
        for source in sorted((RUNTIME / "src").glob("*.c"))
    ]
    for name, (sources, corpus) in PROGRAMS.items():
        program = compile_c(
            "gcc", folder / name, "--coverage", "-I", RUNTIME / "src", *sources, *objects
        )
        files = sorted(map(str, (TESTS_C / corpus).iterdir())) if corpus else []
        arguments = ["1", "5000"] if name == "requests" else files
        subprocess.run([program, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    data = [str(path.with_suffix(".gcda")) for path in objects]
    done = subprocess.run(
        ["gcov", "--json-format", "--branch-probabilities", "--stdout", *data],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    total = Coverage()
    for text in done.stdout.splitlines():
        for file in json.loads(text)["files"]:
            if Path(file["file"]).suffix == ".c":
                _add(total, Path(file["file"]).name, file["lines"])
    return total


def _add(total: Coverage, name: str, lines: list[dict[str, object]]) -> None:
    for line in lines:
        branches = line["branches"]
        assert isinstance(branches, list)
        hit = [branch for branch in branches if branch["count"]]
        total.lines += 1
        total.lines_hit += bool(line["count"])
        total.branches += len(branches)
        total.branches_hit += len(hit)
        if not line["count"] or len(hit) != len(branches):
            total.missed.append(f"{name}:{line['line_number']}: {len(hit)} of {len(branches)}")


def main() -> int:
    """Prints how much, and what is missing."""
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name))
    print(f"{found.lines_hit} of {found.lines} lines")
    print(f"{found.branches_hit} of {found.branches} branches; not whole:")
    print("\n".join(found.missed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
