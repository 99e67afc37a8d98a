"""Stored choices: what a compile writes is read back, and what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.errors import UserError
from microtvm.isa.schedule import BY_NAME, TEMPLATES, Choice
from microtvm.lower.budget import FlashBudget, choose
from microtvm.lower.choices import Choices
from microtvm.passes.fuse import fuse
from microtvm.pipeline import Compiled, CompileOptions, compile_model
from microtvm.schedules import list_schedules
from microtvm.target import load_cpu
from tests.conftest import ROOT
from tests.golden.mlperf import model_file
from tests.isa.test_winograd import NAME, random_convolutions
from tests.ops.compiled import run_libraries

DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"
M4 = load_cpu("cortex-m4")
CONV = "n0_conv2d"
"""The first kernel of the digits model."""


def stored(made: Compiled, folder: Path) -> Path:
    """The metadata.json of a compile."""
    made.library.write(folder)
    return folder / "metadata.json"


def listed(file: Path, *entries: dict[str, Any]) -> Path:
    """A file of choices."""
    file.write_text(json.dumps({"operators": entries}))
    return file


def entry(name: str = CONV, template: str = "generic", **knobs: object) -> dict[str, Any]:
    return {"name": name, "template": template, "knobs": knobs}


def test_names_of_templates_are_unique() -> None:
    assert len(BY_NAME) == len(TEMPLATES)


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55", "cortex-m3", "cortex-m0", "rv32imc"])
def test_what_was_compiled_is_compiled_again(cpu: str, tmp_path: Path) -> None:
    made = compile_model(DIGITS, load_cpu(cpu))
    again = compile_model(
        DIGITS, load_cpu(cpu), options=CompileOptions(schedules=stored(made, tmp_path))
    )
    assert again.library.files == made.library.files


def test_choices_of_a_budget_are_kept_under_another(tmp_path: Path) -> None:
    """The file says all that the budget chose, so that the default one makes no difference."""
    model = model_file("resnet8_int8")
    made = compile_model(model, M4, options=CompileOptions(flash_budget=8))
    again = compile_model(model, M4, options=CompileOptions(schedules=stored(made, tmp_path)))
    assert again.library.files == made.library.files
    assert sum(k.choice.knobs.get("stored", False) for k in again.kernels) == 4
    assert (made.budgeted.offered, made.budgeted.enlarged) == (4, 4)
    assert (again.budgeted.offered, again.budgeted.enlarged) == (0, 0)


def test_the_list_is_read_back(tmp_path: Path) -> None:
    found = [kernel.as_json() for kernel in list_schedules(DIGITS, M4, prefix="m")]
    plain = compile_model(DIGITS, M4, prefix="m")
    again = compile_model(
        DIGITS,
        M4,
        prefix="m",
        options=CompileOptions(schedules=listed(tmp_path / "x.json", *found)),
    )
    assert again.library.files == plain.library.files
    for kernel in found:
        # The list begins with what is chosen, and has every template once.
        names = [kernel["template"], *(w["template"] for w in kernel["alternatives"])]
        assert len(set(names)) == len(names)
        assert "generic" in names
        assert kernel["knobs"].keys() == kernel["space"].keys()
        assert all(value in kernel["space"][knob] for knob, value in kernel["knobs"].items())


def test_other_schedules_give_other_code_and_the_same_outputs(tmp_path: Path) -> None:
    """The second template of every kernel, and the last value of each of its knobs."""
    plain = compile_model(DIGITS, M4, prefix="m0")
    schedules: dict[str, Choice] = {}
    for kernel in list_schedules(DIGITS, M4):
        way = kernel.ways[min(1, len(kernel.ways) - 1)]
        schedules[kernel.name] = Choice(way.template, {k: v[-1] for k, v in way.space.items()})
    other = compile_model(DIGITS, M4, prefix="m1", options=CompileOptions(schedules=schedules))
    assert {k.group.name: (k.choice.template, k.choice.knobs) for k in other.kernels} == {
        name: (choice.template, choice.knobs) for name, choice in schedules.items()
    }
    files = plain.library.files["m0.c"], other.library.files["m1.c"].replace("m1", "m0")
    assert files[0] != files[1]
    rng = np.random.default_rng(3)
    image = rng.integers(-128, 128, (1, 8, 8, 1), np.int8)
    first, second = run_libraries([plain.library, other.library], [[image], [image]], tmp_path)
    assert np.array_equal(first[0], second[0])


def test_one_knob_of_one_kernel(tmp_path: Path) -> None:
    """Kernels that a file does not name are scheduled as without it; so are knobs."""
    plain = compile_model(DIGITS, M4)
    file = listed(tmp_path / "x.json", entry(template="generic", unroll=4))
    other = compile_model(DIGITS, M4, options=CompileOptions(schedules=file))
    assert other.kernels[0].choice.template == "generic"
    assert other.kernels[0].choice.knobs["unroll"] == 4
    assert other.kernels[0].choice.knobs["pixels"] == BY_NAME["generic"].space["pixels"][0]
    assert [k.choice for k in other.kernels[1:]] == [k.choice for k in plain.kernels[1:]]


def test_weights_that_are_fixed_leave_less_for_others() -> None:
    graph = random_convolutions(5, 6)
    groups = fuse(graph).groups
    budget = FlashBudget(2)
    free = choose(graph, groups, M4, budget)
    names = [g.name for g, c in zip(groups, free.choices, strict=True) if c.knobs.get("stored")]
    others = [g.name for g, c in zip(groups, free.choices, strict=True) if c.template == NAME]
    larger = next(name for name in others if name not in names)
    fixed = {larger: Choice(NAME, {"stored": True})}
    bound = choose(graph, groups, M4, budget, fixed)
    chosen = dict(zip((g.name for g in groups), bound.choices, strict=True))
    assert chosen[larger] is fixed[larger]
    assert bound.limit_bytes == free.limit_bytes
    assert bound.enlarged < free.enlarged
    # All that the budget leaves may be taken.
    most = {g.name: Choice(NAME, {"stored": True}) for g in groups if g.name in others}
    none = choose(graph, groups, M4, FlashBudget(1), most)
    assert all(c.knobs.get("stored", False) for c in none.choices if c.template == NAME)


# ---- what does not fit ----


def refused(file: Path, cpu: str = "cortex-m4") -> str:
    """Message and hint; the message names the file."""
    with pytest.raises(UserError) as e:
        compile_model(DIGITS, load_cpu(cpu), options=CompileOptions(schedules=file))
    assert e.value.message.startswith(str(file))
    return f"{e.value.message}\n{e.value.hint}"


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "kernel": (entry("n0_conv2"), (r"no kernel 'n0_conv2'", "did you mean 'n0_conv2d'")),
    "another kernel": (entry("tail"), ("no kernel 'tail'", f"it has {CONV}, ")),
    "template": (entry(template="fast"), ("no template 'fast'", "cortex-m4 has dsp.")),
    "core": (
        entry(template="helium.window_product"),
        ("helium.window_product needs mve, which cortex-m4 does not have", "generic"),
    ),
    "knob": (
        entry(colour=3),
        (f"kernel '{CONV}': template generic has no knob colour\n", "unroll: 16, 1, 4, 8, 32"),
    ),
    "value": (entry(unroll=1000), ("knob unroll is 1000", "its values: 16, 1, 4, 8, 32")),
    "truth for a number": (
        entry(unroll=True),
        ("knob unroll is true", "its values: 16, 1, 4, 8, 32"),
    ),
    "fraction": (entry(unroll=4.0), (f"kernel '{CONV}': knob unroll is 4.0", "an integer")),
    "list": (entry(unroll=[4]), ("knob unroll is [4]", "an integer")),
    "pattern": (
        entry(template="dsp.matrix_product", weights="wide"),
        (
            "dsp.matrix_product with weights = wide does not take it on cortex-m4",
            "these do, ",
            "generic",
        ),
    ),
    "expression": (
        {**entry(), "expression": ["conv2d(int8[1,2,2,1]) -> int8[1,2,2,1]"]},
        (
            f"kernel {CONV!r} is for conv2d(int8[1,2,2,1]) ->",
            "the model's computes conv2d(int8[1,8",
        ),
    ),
    "no knobs": ({"name": CONV, "template": "generic"}, (f"{CONV!r} has no object `knobs`",)),
    "no template": ({"name": CONV, "knobs": {}}, (f"{CONV!r} has no string `template`",)),
    "no name": ({"template": "generic", "knobs": {}}, ("operators[0] has no string `name`",)),
    "expression of a kind": ({**entry(), "expression": "conv2d"}, ("has no list `expression`",)),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit(kind: str, tmp_path: Path) -> None:
    given, expected = BAD[kind]
    message = refused(listed(tmp_path / "x.json", given))
    for words in expected:
        assert words in message


def test_a_kernel_that_is_there_twice(tmp_path: Path) -> None:
    message = refused(listed(tmp_path / "x.json", entry(), entry(unroll=4)))
    assert f"kernel {CONV!r} is there twice" in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has no list `operators`"),
        (b'{"operators": {}}', "has no list `operators`"),
        (b'{"operators": [3]}', "operators[0] has no string `name`"),
        (b'{"operators": []}', "names no kernel: its list `operators` is empty"),
    ],
)
def test_a_file_of_something_else(content: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    message = refused(file)
    assert expected in message
    assert "microtvm schedules" in message or "metadata.json that `compile` wrote" in message


def test_choices_of_a_program_are_checked_too() -> None:
    with pytest.raises(UserError, match="schedules: kernel 'n0_conv2d': there is no template ''"):
        compile_model(DIGITS, M4, options=CompileOptions(schedules={CONV: Choice()}))
    assert Choices.of(None).kernels == {}


def test_a_file_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    plain, marked = listed(tmp_path / "x.json", entry(unroll=4)), tmp_path / "y.json"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    made, again = (
        compile_model(DIGITS, M4, options=CompileOptions(schedules=file))
        for file in (plain, marked)
    )
    assert made.library.files == again.library.files


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for file in (tmp_path / "x.json", tmp_path):
        with pytest.raises(UserError, match=r"can't read the schedules \S+: (No such|Is a dir)"):
            compile_model(DIGITS, M4, options=CompileOptions(schedules=file))
