"""The README is true: its commands run, its C compiles and is right, its table is measured."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.measure import (
    CORTEX_M4,
    CORTEX_M55,
    SMALL_CORES,
    Measurement,
    Peer,
)
from benchmarks.readme import BEGIN, END, IN_README, is_of, section, tables_in
from microtvm.target import load_board
from tests.conftest import ROOT, require_tool

README = (ROOT / "README.md").read_text(encoding="utf-8")
DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wshadow", "-Werror"]


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """The indented `microtvm ...` lines, without their comments."""
    lines = re.findall(r"^    (microtvm .*?)(?:\s+#.*)?$", README, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "microtvm", *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_commands_run(tmp_path: Path) -> None:
    """Every command of the README, with the digits network as MODEL."""
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    np.savez(tmp_path / "IN.npz", image=np.zeros((3, 1, 8, 8, 1), np.int8))
    require_tool("arduino-builder")
    found = commands()
    assert len(found) >= 20
    for words in found:
        if "app/" in words and "ZEPHYR_BASE" not in os.environ:
            continue  # tests/zephyr says why
        argv = [str(DIGITS) if w == "MODEL.tflite" else w for w in words[1:]]
        argv = [str(ROOT / w) if w.startswith("examples/") else w for w in argv]
        done = run(argv, tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    with np.load(tmp_path / "OUT.npz") as outputs:
        assert outputs["scores"].shape == (3, 1, 10)


def test_python_example_runs() -> None:
    """The Python block, as it stands, in a checkout."""
    require_tool("cc")
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "scores" in done.stdout


def test_c_example_classifies(tmp_path: Path) -> None:
    """The C block, compiled against the library that the text says, recognises held-out digits."""
    require_tool("cc")
    (code,) = blocks("c")
    words = ["compile", str(DIGITS), "--cpu", "host", "-o", str(tmp_path / "digits")]
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr
    main = f"""
#include <stdio.h>
{code}
int main(void)
{{
    int8_t image[64];

    while (fread(image, sizeof image, 1, stdin) == 1) {{
        printf("%d\\n", classify(image));
    }}
    return 0;
}}
"""
    (tmp_path / "main.c").write_text(main)
    subprocess.run(
        [
            *("cc", *STRICT, "-I", str(ROOT / "runtime_c" / "include"), "-I", "digits"),
            *("-o", "main", "main.c", "digits/digits_int8.c", "-lm"),
        ],
        cwd=tmp_path,
        check=True,
    )
    with np.load(ROOT / "examples" / "digits" / "digits_test.npz") as data:
        images, labels = data["images"], data["labels"]
    quantised = np.round(images.astype(np.float32) / 16 * 255 - 128).astype(np.int8)
    printed = subprocess.run(
        ["./main"], cwd=tmp_path, input=quantised.tobytes(), capture_output=True, check=True
    ).stdout
    guesses = np.array(printed.split(), int)
    assert np.mean(guesses == labels) >= 0.97


def test_c_example_compiles_for_the_core_that_it_names(tmp_path: Path) -> None:
    """The C block and the library for a Cortex-M4, every warning an error."""
    compiler = require_tool("arm-none-eabi-gcc")
    (code,) = blocks("c")
    assert "--cpu cortex-m4" in README
    done = run(["compile", str(DIGITS), "--cpu", "cortex-m4", "-o", "digits"], tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "main.c").write_text(
        code.replace("int classify", "int classify(const int8_t image[64]);\nint classify", 1)
    )
    core = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-c"]
    include = ["-I", str(ROOT / "runtime_c" / "include"), "-I", "digits"]
    for source in ("main.c", "digits/digits_int8.c"):
        subprocess.run([compiler, *STRICT, *core, *include, source], cwd=tmp_path, check=True)


def test_files_that_it_names_exist() -> None:
    """Paths in the README's tables and text."""
    named = re.findall(r"`((?:microtvm|runtime_c|boards|examples|benchmarks)/[\w./]*)`", README)
    assert len(named) >= 5
    for path in [*named, "CONTRIBUTING.md"]:
        assert (ROOT / path).exists(), path


def test_only_two_commands_set_up() -> None:
    """`make demo` and `make test` are targets of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_tables_have_every_model() -> None:
    """As they are chosen; test_benchmark compares the figures."""
    found = tables_in(README)
    assert list(found) == [CORTEX_M4, CORTEX_M55, *SMALL_CORES]
    assert {board: tuple(rows) for board, rows in found.items()} == IN_README


def test_the_section_that_is_written_is_read_back() -> None:
    """What `--update-readme` writes of measurements."""
    require_tool("arm-none-eabi-gcc")
    require_tool("riscv64-unknown-elf-gcc")
    found = [measurement("kws_int8", CORTEX_M4, 5_200_000), measurement("kws_int8", CORTEX_M55)]
    found += [measurement(model, b) for b in SMALL_CORES for model in ("kws_int8", "ad01_fp32")]
    text = section(found)
    assert text.startswith(BEGIN)
    assert text.endswith(END)
    assert "cycles are 2.00 to 2.00 an instruction" in text
    shared = ["1,000", "0.50", "3,000", "2,000", "6", "40,000", "22", "30,000"]
    assert tables_in(text) == {
        CORTEX_M4: {"kws_int8": [*shared[:4], "5,200,000", *shared[4:]]},
        CORTEX_M55: {"kws_int8": shared},
        **{board: {"kws_int8": shared, "ad01_fp32": shared} for board in SMALL_CORES},
    }
    for board in (CORTEX_M4, CORTEX_M55, *SMALL_CORES):
        assert is_of(text, load_board(board))
        assert not is_of(text.replace("gcc 1", "gcc 2"), load_board(board))
    assert [Measurement.of_json(json.loads(json.dumps(m.as_json()))) for m in found] == found


def measurement(model: str, board: str, published: int | None = None) -> Measurement:
    return Measurement(
        model=model,
        board=board,
        compile_s=1.5,
        macs=2000,
        instructions=1000,
        cycles=2000,
        cycles_note="",
        published_cycles=published,
        code_bytes=1,
        constant_bytes=2,
        weight_bytes=3,
        tensor_bytes=4,
        scratch_bytes=5,
        static_bytes=6,
        stack_bytes=7,
        peer=Peer(3000, 40_000, 30_000),
        profile=None,
    )
