"""The model of the link: checked by spin, named as the code is, and able to find faults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.model import BROKEN, MODEL, search
from benchmarks.reliability import in_readme, model_cell
from tests.conftest import require_tool
from tests.device.harness import RUNTIME

TEXT = "".join(path.read_text("utf-8") for path in sorted(MODEL.parent.glob("*.pml")))

LEAST_STATES = 200_000

TABLE_REQUESTS = {"TENSOR", "OPERATOR", "LOOKUP", "STACK", "PING", "CRASH"}
"""What only looks at something, as READ does in the model."""
OUTSIDE = {"RESET", "LOG", "ANSWER"}
"""A restart that was asked for, text, and a bit."""


@pytest.fixture(autouse=True)
def _tools() -> None:
    for tool in ("spin", "gcc"):
        require_tool(tool)


def test_the_protocol_holds(tmp_path: Path) -> None:
    found = search(tmp_path)
    assert found.errors == 0, found.said
    assert found.whole, found.said
    assert found.states > LEAST_STATES
    assert in_readme("model") == model_cell(found, len(BROKEN))


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_is_left_out_is_missed(rule: str, tmp_path: Path) -> None:
    assert search(tmp_path, rule).errors == 1


def test_a_search_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="BROKEN_AND NOT"):
        search(tmp_path, "AND NOT A NAME")


def test_every_rule_that_can_be_left_out_is_tried() -> None:
    assert set(re.findall(r"BROKEN_(\w+)", TEXT)) == set(BROKEN)


def names(declaration: str, text: str) -> set[str]:
    """What stands between the braces behind `declaration`."""
    (inside,) = re.findall(re.escape(declaration) + r"\s*=?\s*\{(.*?)\}", text, re.DOTALL)
    return set(re.findall(r"\b[A-Z][A-Z_]+\b", re.sub(r"/\*.*?\*/", "", inside, flags=re.DOTALL)))


def c_names(declaration: str, path: Path, prefix: str) -> set[str]:
    """Without their prefix."""
    return {name.removeprefix(prefix) for name in names(declaration, path.read_text("utf-8"))}


def test_names_are_those_of_the_code() -> None:
    kinds = c_names("enum mtvm_kind", RUNTIME / "include" / "mtvm_rpc.h", "MTVM_")
    assert names("mtype:kind", TEXT) == kinds - TABLE_REQUESTS - OUTSIDE
    assert kinds >= TABLE_REQUESTS | OUTSIDE
    states = c_names("enum mtvm_state", RUNTIME / "src" / "mtvm_request.h", "MTVM_")
    assert names("mtype:state", TEXT) == states
    errors = c_names("enum mtvm_error", RUNTIME / "include" / "mtvm_error.h", "MTVM_")
    known = {name.removeprefix("ERR_") for name in errors} | {"ACCEPTED"}
    assert names("mtype:status", TEXT) <= known
    assert "MTVM_ACCEPTED" in (RUNTIME / "include" / "mtvm_rpc.h").read_text("utf-8")
