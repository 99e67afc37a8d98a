"""The threat model of `runtime_c/SECURITY.md`: every claim in its tables names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT
from tests.device.harness import RUNTIME

TEXT = (RUNTIME / "SECURITY.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
CLAIMS = re.findall(r"^\| (?!claim|---)(.*?) \| (.*?) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("claim", "tests"), CLAIMS, ids=lambda text: text[:30])
def test_a_claim_names_its_tests(claim: str, tests: str) -> None:
    assert claim
    named = NAMED.findall(tests)
    assert named
    assert NAMED.sub("", tests).strip(", ") == ""
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in defined, f"{path} has no {name}"


def test_the_tables_are_read() -> None:
    assert len(CLAIMS) > 20
    assert len(NAMED.findall(TEXT)) == sum(len(NAMED.findall(tests)) for _, tests in CLAIMS) + len(
        NAMED.findall("".join(re.findall(r"^(?!\|).*$", TEXT, re.MULTILINE)))
    )


def test_its_links_lead_somewhere() -> None:
    targets = set(re.findall(r'<a name="(\w+)">', TEXT))
    assert set(re.findall(r"\]\(#(\w+)\)", TEXT)) == targets
