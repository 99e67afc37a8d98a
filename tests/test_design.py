"""DESIGN.md's examples run, and its walk through a schedule is what the compiler does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import microtvm
from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.flatten import flatten
from microtvm.target import load_cpu
from microtvm.tir.text import program_text
from tests.conftest import ROOT

DESIGN = Path(microtvm.__file__).with_name("DESIGN.md").read_text()
TUNER, POINTWISE = re.findall(r"```python\n(.*?)```", DESIGN, re.DOTALL)


def shown(block: str, text: str) -> None:
    """Each line of the block stands in the text, in order; `...` stands for any number."""
    rest = iter(text.splitlines())
    for line in block.splitlines():
        if line.strip() != "...":
            assert line in rest, line


def test_the_pointwise_schedule() -> None:
    program_block, c_block = re.findall(r"```\n(program .*?|    for .*?)```", DESIGN, re.DOTALL)
    names: dict[str, Any] = {}
    exec(POINTWISE, names)
    shown(program_block, program_text(names["program"]))
    shown(c_block, kernel(flatten(names["program"]), "pointwise").text)


def test_what_a_tuner_does() -> None:
    """Every kernel under the last template that takes it, the one for any core."""
    model = ROOT / "examples" / "digits" / "digits_int8.tflite"
    namespace: dict[str, Any] = {"model": model, "cpu": load_cpu("cortex-m4")}
    exec(TUNER, namespace)
    assert {k.choice.template for k in namespace["compiled"].kernels} == {"generic"}
    assert {c.template for c in namespace["schedules"].values()} == {"generic"}
