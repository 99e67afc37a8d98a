"""`check_model`: everything that keeps a model from being compiled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microtvm.check import check_model
from microtvm.errors import ModelError
from tests.frontend.models import many_operators
from tests.golden.mlperf import model_file
from tests.reference import Operator, Tensor, build


def test_a_good_model(tmp_path: Path) -> None:
    path = tmp_path / "good.tflite"
    path.write_bytes(many_operators())
    check = check_model(path)
    assert check.ok
    assert check.problems == ()
    assert check.inputs == ("x: float32[1, 6, 5, 3]",)
    assert check.outputs == ("y: float32[2, 5]", "m: int8[1, 2, 2, 16] q(0.9, -7)")
    assert check.operators["ADD"] == 1
    assert sum(check.operators.values()) == 12
    assert not any(layer.folded for layer in check.layers)
    assert check.macs[0] == check.macs[1] > 0


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
        "macs": {"before": 0, "after": 0},
        "weight_bytes": {"before": 0, "after": 0},
        "folded": [],
        "problems": [
            {
                "where": f"operator {i} FLOOR {n!r}",
                "message": "operator is not supported",
                "hint": "",
            }
            for i, n in enumerate("yz")
        ],
    }


def test_what_is_folded_and_why() -> None:
    check = check_model(model_file("vww_int8"))
    folded = [layer for layer in check.layers if layer.folded]
    assert (len(check.layers), len(folded)) == (28, 18)
    assert check.macs == (7_489_664, 3_766_476)
    assert check.weight_bytes == (208_112, 30_340)
    found = json.loads(json.dumps(check.as_json()))
    assert found["macs"] == {"before": 7_489_664, "after": 3_766_476}
    assert found["weight_bytes"] == {"before": 208_112, "after": 30_340}
    assert len(found["folded"]) == 18
    assert found["folded"][2] == {
        "name": "conv2d_12",
        "source": folded[2].source,
        "op": "conv2d",
        "why": "19 made constant, 1 made that nothing needs, 4 read into the bias",
        "constant_channels": 19,
        "bias_channels": 4,
        "input_channels": {"before": 64, "after": 60},
        "output_channels": {"before": 128, "after": 108},
        "macs": {"before": 294_912, "after": 233_280},
        "weight_bytes": {"before": 8_192, "after": 6_480},
    }
    assert folded[3].why == "19 made constant, 1 made that nothing needs"
    assert folded[-1].why == "232 read into the bias"
    assert sum(layer.macs[1] for layer in check.layers) == check.macs[1]


def test_a_model_with_nothing_to_fold() -> None:
    check = check_model(model_file("kws_int8"))
    assert check.macs == (2_656_768, 2_656_768)
    assert not any(layer.folded or layer.why for layer in check.layers)


def test_no_model(tmp_path: Path) -> None:
    path = tmp_path / "none.tflite"
    with pytest.raises(ModelError, match=r"can't read the model .*none\.tflite"):
        check_model(path)
