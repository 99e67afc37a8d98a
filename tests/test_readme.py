"""The README is true: its commands run, its C compiles and is right, its table is measured."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, require_tool, shared_models

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
    found = commands()
    assert len(found) >= 6
    for words in found:
        argv = [str(DIGITS) if w == "MODEL.tflite" else w for w in words[1:]]
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


def table() -> dict[str, list[str]]:
    """The README's rows of measured models: name to cells."""
    rows = re.findall(r"^\| (\w+_(?:int8|fp32)) \|(.*)\|$", README, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def measured(model: str) -> list[str]:
    """The cells that a fresh run gives."""
    from benchmarks.mlperf_tiny import load_peers, measure

    board = "qemu-mps2-an386"
    peer = load_peers()[model, board]
    found = measure(shared_models() / f"{model}.tflite", board, peer)
    pairs = (
        (found.instructions, peer.instructions),
        (found.flash_bytes, peer.flash_bytes),
        (found.ram_bytes, peer.ram_bytes),
    )
    return [f"{value:,}" for pair in pairs for value in pair if value is not None]


def test_table_has_every_model() -> None:
    """All seven."""
    assert len(table()) == 7


@pytest.mark.qemu
@pytest.mark.parametrize("model", list(table()))
def test_figures_are_what_is_measured(model: str) -> None:
    """Exactly, under the compiler that the README names."""
    require_tool("qemu-system-arm")
    compiler = require_tool("arm-none-eabi-gcc")
    version = subprocess.run(
        [compiler, "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if f"arm-none-eabi-gcc {version}" not in README:
        pytest.skip(f"the README's figures are of another compiler than {version}")
    assert table()[model] == measured(model)
