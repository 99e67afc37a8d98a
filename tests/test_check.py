"""`check_model`: everything that keeps a model from being compiled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microtvm.check import check_model
from microtvm.errors import ModelError
from tests.frontend.models import many_operators
from tests.reference import Operator, Tensor, build


def test_a_good_model(tmp_path: Path) -> None:
    path = tmp_path / "good.tflite"
    path.write_bytes(many_operators())
    check = check_model(path)
    assert check.ok
    assert check.problems == ()
    assert check.inputs == ("%x: float32[1, 6, 5, 3]",)
    assert check.outputs == ("%y: float32[2, 5]", "%m: int8[1, 2, 2, 16] q(0.9, -7)")
    assert check.operators["ADD"] == 1
    assert sum(check.operators.values()) == 12


def test_a_bad_model(tmp_path: Path) -> None:
    x, y, z = (Tensor(n, (1, 4), "float32") for n in "xyz")
    path = tmp_path / "bad.tflite"
    operators = [Operator("FLOOR", ("x",), ("y",)), Operator("FLOOR", ("y",), ("z",))]
    path.write_bytes(build([x, y, z], operators, ["x"], ["z"]))
    check = check_model(path)
    assert not check.ok
    assert json.loads(json.dumps(check.as_json())) == {
        "model": str(path),
        "ok": False,
        "operators": {"FLOOR": 2},
        "inputs": [],
        "outputs": [],
        "problems": [
            {
                "where": f"operator {i} FLOOR {n!r}",
                "message": "operator is not supported",
                "hint": "",
            }
            for i, n in enumerate("yz")
        ],
    }


def test_no_model(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    with pytest.raises(ModelError, match=r"can't read the model .*none\.tflite"):
        check_model(path)
