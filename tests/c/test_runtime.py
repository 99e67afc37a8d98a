"""The C runtime: clean under every compiler, small, and safe against whatever arrives."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks.reliability import in_readme, size_cell
from benchmarks.size import FREESTANDING, SMALLEST, TARGETS, compiler_of, sizes
from tests.conftest import require_tool
from tests.device.harness import RUNTIME, SERVER_SOURCES, TESTS_C, compile_c

SOURCES = sorted((RUNTIME / "src").glob("*.c"))
SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

MOST_CODE_BYTES = 4096
MOST_STATE_BYTES = 240
MOST_STACK_BYTES = 896


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_clean_under_every_compiler(target: str, source: Path, tmp_path: Path) -> None:
    compiler, flags = TARGETS[target]
    output = compile_c(require_tool(compiler), tmp_path / "x.o", *FREESTANDING, *flags, source)
    assert output.stat().st_size > 0


@pytest.mark.parametrize("header", sorted((RUNTIME / "include").glob("*.h")), ids=lambda p: p.name)
def test_headers_stand_alone(header: Path, tmp_path: Path) -> None:
    source = tmp_path / "alone.c"
    include = f'#include "{header.name}"\n'
    source.write_text(include * 2 + "typedef int not_empty;\n")
    assert compile_c(require_tool("gcc"), tmp_path / "x.o", *FREESTANDING, source).exists()


@pytest.mark.parametrize("target", ["cortex-m0", "cortex-m4"])
def test_the_server_is_small(target: str, tmp_path: Path) -> None:
    for tool in (TARGETS[target][0], "arm-none-eabi-size"):
        require_tool(tool)
    found = sizes(target, tmp_path)
    assert 0 < found.code_bytes <= MOST_CODE_BYTES
    assert 0 < found.state_bytes <= MOST_STATE_BYTES
    shown = in_readme("size")
    if target == SMALLEST and compiler_of(SMALLEST) in shown:
        assert shown == size_cell(found)


def test_no_function_needs_much_stack(tmp_path: Path) -> None:
    """The sum over all functions bounds every path, as none calls itself."""
    compiler, flags = TARGETS["cortex-m4"]
    total_bytes = 0
    for source in SOURCES:
        built = tmp_path / f"{source.stem}.o"
        compile_c(require_tool(compiler), built, "-fstack-usage", *FREESTANDING, *flags, source)
        rows = built.with_suffix(".su").read_text().splitlines()
        assert rows
        for row in rows:
            _, used, kind = row.split("\t")
            assert kind == "static", row
            total_bytes += int(used)
    assert total_bytes <= MOST_STACK_BYTES


def test_nothing_but_plain_c_is_included() -> None:
    """Neither the heap nor stdio, nor anything else of a hosted library; no variable of its own."""
    allowed = {"stddef.h", "stdint.h", "string.h"}
    for source in [*SOURCES, *(RUNTIME / "include").glob("*.h")]:
        text = source.read_text("utf-8")
        assert set(re.findall(r"#include <(.*)>", text)) <= allowed, source
        assert not re.search(r"\b(malloc|alloca|printf|setjmp)\b", text), source
        assert not re.search(r"^static (?!const )[^()]*(=|;)", text, re.MULTILINE), source
        assert text.startswith("/* SPDX-License-Identifier: Apache-2.0\n"), source


def test_the_frame_codec(tmp_path: Path) -> None:
    program = compile_c(
        require_tool("gcc"),
        tmp_path / "test_frame",
        *(*SANITIZERS, TESTS_C / "test_frame.c", RUNTIME / "src" / "mtvm_frame.c"),
    )
    done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-DMTVM_WINDOW_BYTES=32",),
        ("-DMTVM_WINDOW_BYTES=32", "-DMTVM_FRAME_BYTES=32"),
        ("-DMTVM_WINDOW_BYTES=4096", "-DMTVM_READ_BYTES=1024"),
    ],
    ids=lambda options: " ".join(options) or "default",
)
def test_almost_right_requests(options: tuple[str, ...], tmp_path: Path) -> None:
    gcc = require_tool("gcc")
    sources = (TESTS_C / "fuzz_server.c", *SERVER_SOURCES)
    if options == ("-DMTVM_WINDOW_BYTES=32",):
        with pytest.raises(AssertionError, match="MTVM_FRAME_BYTES is at least 20"):
            compile_c(gcc, tmp_path / "fuzz", *options, *sources)
        return
    program = compile_c(gcc, tmp_path / "fuzz", *SANITIZERS, *options, *sources)
    for seed in ("1", "2", "3"):
        done = subprocess.run(
            [program, seed, "20000"], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
