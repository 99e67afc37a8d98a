"""The layers of microtvm/DESIGN.md: a module imports only from lines below its own.

Imports that only a type checker sees count too, and imports inside functions.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "microtvm"
ENTRY_POINTS = ("__init__", "__main__")
"""Files beside the layers: the package's own, which may import any."""


def design_layers() -> dict[str, int]:
    """Module to the number of its line in DESIGN.md, counted from the top."""
    text = (PACKAGE / "DESIGN.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Layers\n(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("    ")]
    layers: dict[str, int] = {}
    for number, line in enumerate(lines):
        for name in re.sub(r"\(.*?\)", " ", line).split():
            assert name not in layers, f"{name} is in two lines of the list"
            layers[name] = number
    return layers


LAYERS = design_layers()


def modules() -> dict[str, list[Path]]:
    """Every module of the package with its files."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        found.setdefault(parts[0].removesuffix(".py"), []).append(path)
    return {name: paths for name, paths in found.items() if name not in ENTRY_POINTS}


MODULES = modules()


def imported(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of microtvm that a file in `package` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "microtvm":
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = [*package[: len(package) - node.level + 1], *base]
            if base[:1] == ["microtvm"]:
                for alias in node.names:
                    yield node.lineno, ".".join([*base, alias.name])


def violations(name: str, path: Path, source: str) -> list[str]:
    """What the file imports from its own line or above."""
    package = ("microtvm", *path.relative_to(PACKAGE).parent.parts)
    found = []
    for line, full in imported(source, package):
        parts = full.split(".")
        other = parts[1] if len(parts) > 1 else ""
        if other not in MODULES or other == name:
            continue
        if LAYERS[other] <= LAYERS[name]:
            where = "beside" if LAYERS[other] == LAYERS[name] else "above"
            found.append(f"{path.relative_to(ROOT)}:{line}: {name} imports {other}, {where} it")
    return found


def test_the_list_names_every_module() -> None:
    assert sorted(LAYERS) == sorted(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_down(name: str) -> None:
    found = [
        v
        for path in MODULES[name]
        for v in violations(name, path, path.read_text(encoding="utf-8"))
    ]
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("te", "from microtvm.tir.expr import Expr", []),
        ("te", "from microtvm import errors", []),
        ("te", "import microtvm.util", []),
        ("te", "from microtvm.te.tensor import Tensor", []),
        ("te", "from .tensor import Tensor", []),
        ("te", "import numpy", []),
        ("te", "from microtvm import ops", ["te imports ops, above it"]),
        ("te", "from microtvm.isa.generic import Knobs", ["te imports isa, above it"]),
        ("te", "from .. import isa", ["te imports isa, above it"]),
        ("te", "from ..isa import generic", ["te imports isa, above it"]),
        ("tir", "import microtvm.graph.ir", ["tir imports graph, beside it"]),
        (
            "tir",
            "if TYPE_CHECKING:\n    from microtvm.te.tensor import Tensor",
            ["tir imports te, above it"],
        ),
        (
            "device",
            "def late():\n    from microtvm.pipeline import compile_model",
            [],
        ),
    ],
)
def test_what_counts(name: str, source: str, expected: list[str]) -> None:
    found = violations(name, PACKAGE / name / "example.py", source)
    assert [f.split(": ", 1)[1] for f in found] == expected


def test_the_device_needs_no_compiler() -> None:
    """Neither directly nor through what it imports."""
    reached: set[str] = set()
    pending = ["device"]
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        for path in MODULES[name]:
            package = ("microtvm", *path.relative_to(PACKAGE).parent.parts)
            for _, full in imported(path.read_text(encoding="utf-8"), package):
                parts = full.split(".")
                if len(parts) > 1 and parts[1] in MODULES:
                    pending.append(parts[1])
    assert reached <= {"device", "errors", "util", "version", "target"}
