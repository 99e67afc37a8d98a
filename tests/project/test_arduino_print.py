"""What a sketch prints comes to the host over the link's own serial port."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from microtvm.attach import open_project
from microtvm.project import Built, build_project, create_project
from microtvm.target import load_board
from tests.conftest import require_tool
from tests.project.image import patch
from tests.project.test_arduino import MEGA, tiny, without_cli
from tests.project.test_watchdog import inputs

LINE_BYTES = 64
LONG = "m" * 100


def build(folder: Path, *, prints: bool) -> Built:
    """The hand-written model; the sketch prints now and then, where its comments say how."""
    for program in ("arduino-builder", "avr-gcc", "simavr"):
        require_tool(program)
    project = create_project(tiny(folder / "library"), load_board(MEGA), folder / "p")
    if prints:
        sketch = project.folder / "tiny_server" / "tiny_server.ino"
        patch(sketch, "// MtvmLog Log;", "MtvmLog Log;")
        patch(sketch, '  // Log.println(F("once around"));', (
            "  static unsigned turns;\n"
            "  if (++turns % 1024 == 0) {\n"
            '    Log.print(F("turn "));\n'
            "    Log.println(7);\n"
            f'    Log.println("{LONG}");\n'
            "  }"
        ))  # fmt: skip
    with pytest.MonkeyPatch.context() as patcher:
        without_cli(patcher)
        return build_project(project, strict=True)


def symbols(built: Built) -> str:
    argv = ["avr-nm", "-C", built.elf]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.qemu
def test_sketch_prints_beside_the_answers(tmp_path: Path) -> None:
    built = build(tmp_path, prints=True)
    assert "vtable for MtvmLog" in symbols(built)
    heard: list[str] = []
    with open_project(built.project) as session:
        expected = session.run(inputs(1))["y"]
        session.on_log(heard.append)
        for whole in [True, False] * 20:
            np.testing.assert_array_equal(session.run(inputs(1), whole=whole)["y"], expected)
            session.ping()
        assert session.retransmissions == 0
    told = ["turn 7\r\n", LONG[:LINE_BYTES], LONG[LINE_BYTES:] + "\r\n"]
    assert len(heard) >= 2 * len(told)
    first = told.index(heard[0])
    assert heard == [told[(first + i) % len(told)] for i in range(len(heard))]


@pytest.mark.qemu
def test_nothing_of_it_is_there_where_nothing_is_printed(tmp_path: Path) -> None:
    assert "MtvmLog" not in symbols(build(tmp_path, prints=False))
