"""Python and C have one list of errors, kinds and types."""

from __future__ import annotations

import re

from microtvm.device.status import STATUS_TEXT, Status
from microtvm.device.wire import DTYPES, PROTOCOL, Kind
from tests.device.harness import RUNTIME


def header(name: str) -> str:
    return (RUNTIME / "include" / name).read_text("utf-8")


def test_errors_are_those_of_the_runtime() -> None:
    rows = re.findall(r"MTVM_(?:ERR_)?(\w+) = (-?\d+),? +/\* \S", header("mtvm_error.h"))
    assert len(rows) >= 20
    found = {name: int(value) for name, value in rows}
    assert found == {item.name: item.value for item in Status if item != Status.ACCEPTED}
    assert f"#define MTVM_ACCEPTED {Status.ACCEPTED.value}\n" in header("mtvm_rpc.h")


def test_every_status_has_words() -> None:
    assert set(STATUS_TEXT) == set(Status)
    assert len(set(STATUS_TEXT.values())) == len(Status)


def test_kinds_are_those_of_the_runtime() -> None:
    rows = re.findall(r"MTVM_(\w+) = (0x\w+),? +/\*", header("mtvm_rpc.h"))
    assert {name: int(value, 16) for name, value in rows} == {k.name: k.value for k in Kind}
    assert f"#define MTVM_PROTOCOL {PROTOCOL}\n" in header("mtvm_rpc.h")


def test_types_are_those_of_the_model() -> None:
    rows = re.findall(r"MTVM_([A-Z]+\d*) = (\d+)", header("mtvm_model.h"))
    assert {int(value): name.lower() for name, value in rows} == {
        code: dtype.name for code, dtype in DTYPES.items()
    }
