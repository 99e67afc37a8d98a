"""DESIGN.md's walk through a schedule is what the compiler does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import microtvm
from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.flatten import flatten
from microtvm.tir.text import program_text

DESIGN = Path(microtvm.__file__).with_name("DESIGN.md").read_text()


def shown(block: str, text: str) -> None:
    """Each line of the block stands in the text, in order; `...` stands for any number."""
    rest = iter(text.splitlines())
    for line in block.splitlines():
        if line.strip() != "...":
            assert line in rest, line


def test_the_pointwise_schedule() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DESIGN, re.DOTALL)
    program_block, c_block = re.findall(r"```\n(program .*?|    for .*?)```", DESIGN, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    shown(program_block, program_text(names["program"]))
    shown(c_block, kernel(flatten(names["program"]), "pointwise").text)
