"""The model of the link: checked by spin, named as the code is, and able to find faults."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.device.harness import RUNTIME

MODEL = RUNTIME / "model" / "link.pml"
TEXT = "".join(path.read_text("utf-8") for path in sorted(MODEL.parent.glob("*.pml")))
SEARCH_S = 300

LEAST_STATES = 200_000

BROKEN = ("REPETITION", "SILENCE", "WINDOW", "NONCE", "STARTED", "NOISE")

TABLE_REQUESTS = {"TENSOR", "OPERATOR", "LOOKUP", "STACK", "PING", "CRASH"}
"""What only looks at something, as READ does in the model."""
OUTSIDE = {"RESET", "LOG", "ANSWER"}
"""A restart that was asked for, text, and a bit."""


def search(folder: Path, optimisation: str, *options: str) -> str:
    """What the verifier says."""
    compiler = [require_tool("gcc"), optimisation, "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000"]
    commands = [
        [require_tool("spin"), "-a", *options, str(MODEL)],
        [*compiler, "-o", "pan", "pan.c"],
        ["./pan", "-m100000"],
    ]
    for command in commands:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=SEARCH_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_protocol_holds(tmp_path: Path) -> None:
    said = search(tmp_path, "-O1")
    assert "errors: 0" in said, said
    assert "Search not completed" not in said
    assert "max search depth too small" not in said
    (states,) = re.findall(r"(\d+) states, stored", said)
    assert int(states) > LEAST_STATES, said


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_that_is_left_out_is_missed(rule: str, tmp_path: Path) -> None:
    said = search(tmp_path, "-O0", f"-DBROKEN_{rule}")
    assert "errors: 1" in said, said


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
