"""Every line of the runtime, and nearly every branch, is executed on the host."""

from __future__ import annotations

from pathlib import Path

from benchmarks.coverage import measure
from benchmarks.reliability import coverage_cell, gcc_version, in_readme
from tests.conftest import require_tool

LEAST_LINES = 0.98
LEAST_BRANCHES = 0.90


def test_the_runtime_is_covered(tmp_path: Path) -> None:
    for tool in ("gcc", "gcov"):
        require_tool(tool)
    found = measure(tmp_path)
    assert found.lines > 300
    assert found.branches > 200
    missed = "\n".join(found.missed)
    print(
        f"{found.lines_hit} of {found.lines} lines, "
        f"{found.branches_hit} of {found.branches} branches; not whole:\n{missed}"
    )
    assert found.lines_hit >= LEAST_LINES * found.lines, missed
    assert found.branches_hit >= LEAST_BRANCHES * found.branches, missed
    shown = in_readme("coverage")
    if gcc_version() in shown:
        assert shown == coverage_cell(found)
