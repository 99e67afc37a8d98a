"""Options of operators: what was read, what was not, and what the schema does not know."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import flatbuffers
import pytest
import tflite

from microtvm.errors import ModelError
from microtvm.frontend.option import Options


def options(fields: int, *bools: bool, kind: str = "AddOptions") -> Options:
    """A table of `fields` fields of one byte, of which the first ones are present."""
    builder = flatbuffers.Builder(64)
    builder.ForceDefaults(True)
    builder.StartObject(fields)
    for i, value in enumerate(bools):
        builder.PrependBoolSlot(i, value, False)
    builder.Finish(builder.EndObject())
    data = bytes(builder.Output())
    table: Any = SimpleNamespace(Pos=int.from_bytes(data[:4], "little"))
    return Options(data, kind, tflite.BuiltinOptions.AddOptions, table)


def test_defaults_are_not_worth_a_word() -> None:
    assert options(0).unread() == {}
    assert options(2, False, True).unread() == {}


def test_what_was_not_read_is_told() -> None:
    found = options(2, True, False)
    assert found.unread() == {"FusedActivationFunction": 1, "PotScaleInt16": False}
    assert found["FusedActivationFunction"] == 1
    assert found.unread() == {"PotScaleInt16": False}


def test_unknown_options_are_refused() -> None:
    assert options(3, True, True).unread() == {"FusedActivationFunction": 1}
    with pytest.raises(ModelError, match="AddOptions has an option that is newer than this"):
        options(3, True, True, True)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ModelError, match="its options are not SubOptions but of kind"):
        options(1, kind="SubOptions")


def test_absent_options() -> None:
    absent = Options(b"", "AddOptions", 0, None)
    assert (absent.present, absent.unread()) == (False, {})
    with pytest.raises(ModelError, match="has no AddOptions"):
        _ = absent["PotScaleInt16"]


def test_vectors() -> None:
    builder = flatbuffers.Builder(64)
    builder.StartVector(4, 3, 4)
    for value in (4, -1, 2):
        builder.PrependInt32(value)
    shape = builder.EndVector()
    tflite.ReshapeOptionsStart(builder)
    tflite.ReshapeOptionsAddNewShape(builder, shape)
    builder.Finish(tflite.ReshapeOptionsEnd(builder))
    data = bytearray(builder.Output())
    table: Any = SimpleNamespace(Pos=int.from_bytes(data[:4], "little"))
    union = tflite.BuiltinOptions.ReshapeOptions
    assert Options(bytes(data), "ReshapeOptions", union, table)["NewShape"] == (2, -1, 4)
    at = data.index((3).to_bytes(4, "little") + (2).to_bytes(4, "little"))
    data[at + 3] = 0x7F
    with pytest.raises(ModelError, match="its ReshapeOptions are damaged"):
        Options(bytes(data), "ReshapeOptions", union, table)
