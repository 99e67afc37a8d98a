"""The cases of the operators' own tests, for tests that take them through the compiler.

`agree` and `agree_single` of `oracle.py` are what those tests end in; while a test is recorded,
both only note what they were called with.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ops.compiled import Case
from tests.reference import Array, Tensor, single

Make = Callable[[], tuple[bytes, Sequence[Array]]]
MODULES = tuple(
    sorted(
        file.stem
        for file in Path(__file__).parent.glob("test_*.py")
        if "from tests.ops.oracle import" in (text := file.read_text()) and "    agree" in text
    )
)
"""The test modules that ask the oracle."""


def recorded_cases(module: ModuleType, most: int, patch: pytest.MonkeyPatch) -> list[Case]:
    """At most `most` cases, evenly spread, of every test of a module and set of its parameters."""
    cases = []
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("test_") or not _uses_oracle(function):
            continue
        for arguments in _parameters(function):
            made = _record(module, function, arguments, patch)
            step = max(1, len(made) / most)
            for i in sorted({int(k * step) for k in range(min(most, len(made)))}):
                model, inputs = made[i]()
                label = f"{module.__name__}.{name}({arguments}), case {i}"
                cases.append(Case(label, model, tuple(inputs)))
    return cases


def _uses_oracle(function: Callable[..., None]) -> bool:
    return bool({"agree", "agree_single"} & set(function.__code__.co_names))


def _parameters(function: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Every combination of what the test's parametrize marks give."""
    axes = []
    for mark in getattr(function, "pytestmark", []):
        names = mark.args[0]
        listed = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        rows = [row if len(listed) > 1 else (row,) for row in mark.args[1]]
        axes.append([dict(zip(listed, row, strict=True)) for row in rows])
    for chosen in itertools.product(*axes):
        yield {name: value for part in chosen for name, value in part.items()}


def _record(
    module: ModuleType,
    function: Callable[..., None],
    arguments: dict[str, Any],
    patch: pytest.MonkeyPatch,
) -> list[Make]:
    made: list[Make] = []

    def agree(model: bytes, *data: Array) -> None:
        made.append(lambda: (model, data))

    def agree_single(
        code: str,
        inputs: Sequence[Tensor | None],
        output: Tensor,
        data: Sequence[Array],
        options: object | None = None,
        version: int = 1,
    ) -> None:
        made.append(lambda: (single(code, inputs, output, options, version), data))

    with patch.context() as during:
        during.setattr(module, "agree", agree, raising=False)
        during.setattr(module, "agree_single", agree_single, raising=False)
        function(**arguments)
    return made
