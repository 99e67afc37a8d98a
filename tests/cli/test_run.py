"""`microtvm run`: what scripts may rely on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.cli import main
from tests.cli.conftest import M4, CommandLine, pair_inputs
from tests.conftest import require_tool
from tests.golden.mlperf import difference, goldens, model_file
from tests.reference import Operator, Reference, Tensor, build

Array = np.ndarray[Any, Any]


def load(file: Path) -> dict[str, Array]:
    with np.load(file) as found:
        return {name: found[name] for name in found.files}


def check_pair(outputs: dict[str, Array], inputs: dict[str, Array], model: Path) -> None:
    """Outputs of one run, in the model's order, against the reference's."""
    expected = Reference(model).run(*(inputs[name] for name in "abc"))
    assert list(outputs) == ["odds", "diff"]
    for found, wanted in zip(outputs.values(), expected, strict=True):
        assert not difference(found, wanted)


@pytest.fixture(autouse=True)
def _compiler() -> None:
    require_tool("make")
    require_tool("cc")


def test_arrays_are_matched_by_name(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    inputs = pair_inputs(1)
    # In another order than the model's: were they taken by order, b - a would come out.
    np.savez(tmp_path / "in.npz", c=inputs["c"], b=inputs["b"], a=inputs["a"])
    out = tmp_path / "out.npz"
    cli.ok("run", pair, "--board", "host", "--input", tmp_path / "in.npz", "--output", out)
    check_pair(load(out), inputs, pair)


def test_arrays_of_other_names_are_matched_by_order(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    inputs = pair_inputs(2)
    np.savez(tmp_path / "in.npz", z=inputs["a"], b=inputs["b"], x=inputs["c"])
    out = tmp_path / "out.npz"
    cli.ok("run", pair, "--board", "host", "--input", tmp_path / "in.npz", "--output", out)
    check_pair(load(out), inputs, pair)


def test_batches_are_stacked(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    inputs = pair_inputs(3, 5)
    np.savez(tmp_path / "in.npz", **inputs)
    out = tmp_path / "out.npz"
    ended = cli.ok(
        "run", pair, "--board", "host", "--input", tmp_path / "in.npz", "--output", out, "--json"
    )
    assert [o["shape"] for o in ended.json["outputs"]] == [[5, 2, 3], [5, 1, 4]]
    found = load(out)
    for index in range(5):
        one = {name: array[index] for name, array in inputs.items()}
        check_pair({name: array[index] for name, array in found.items()}, one, pair)


def test_a_batch_of_one_is_a_batch(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", **pair_inputs(4, 1))
    out = tmp_path / "out.npz"
    cli.ok("run", pair, "--board", "host", "--input", tmp_path / "in.npz", "--output", out)
    assert [array.shape for array in load(out).values()] == [(1, 2, 3), (1, 1, 4)]


def test_without_input_it_is_the_same_each_time(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    for name in ("first.npz", "second.npz"):
        cli.ok("run", pair, "--board", "host", "--output", tmp_path / name)
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()
    assert [array.shape for array in load(tmp_path / "first.npz").values()] == [(2, 3), (1, 4)]


def test_json_on_the_host(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    found = cli.ok("run", pair, "--board", "host", "--json").json
    assert found["board"] == "host"
    cli.ok("run", pair, "--board", "host", "--output", tmp_path / "o.npz")
    assert found["outputs"] == [
        {"name": name, "shape": list(a.shape), "dtype": a.dtype.name, "values": a.tolist()}
        for name, a in load(tmp_path / "o.npz").items()
    ]
    assert [(o["name"], o["dtype"]) for o in found["outputs"]] == [
        ("odds", "float32"), ("diff", "int8"),
    ]  # fmt: skip
    assert found["instructions"] is None
    assert found["cycles"] is None
    assert found["cycles_note"] == "not estimated: a process of the host is not counted"
    assert found["memory"]["ram_bytes"]["stack"] is None


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was run on an emulated board, with --keep."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    folder = tmp_path_factory.mktemp("kept")
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                *("run", str(model_file("strww_int8")), "--board", M4),
                *("--keep", str(folder / "k"), "--json", "--output", str(folder / "random.npz")),
            ]
        )
    return folder / "k" / "project"


@pytest.mark.qemu
def test_json_of_an_emulated_board(cli: CommandLine, kept: Path) -> None:
    found = cli.ok("run", kept, "--json").json
    assert found["board"] == M4
    assert [(o["shape"], o["dtype"]) for o in found["outputs"]] == [([1, 3], "int8")]
    # Loads that stall and branches that are taken, but most instructions take one cycle.
    assert 1 < found["cycles"] / found["instructions"] < 2
    assert found["cycles_note"].startswith("an estimate without wait states and caches: Cortex-M4")
    assert found["init_instructions"] == 0
    assert found["macs"] == 826_368  # as the models' README has it
    assert found["instructions_resolution"] == 1
    assert found["instructions_note"] == ""
    # What is not in an operator is the loop over them: a few instructions for each.
    inside = sum(o["instructions"] for o in found["operators"])
    assert 0 < found["instructions"] - inside < 20 * len(found["operators"])
    inside = sum(o["cycles"] for o in found["operators"])
    assert 0 < found["cycles"] - inside < 40 * len(found["operators"])
    flash, ram = found["memory"]["flash_bytes"], found["memory"]["ram_bytes"]
    assert list(flash) == ["code", "constants", "weights", "total"]
    assert flash["total"] == flash["code"] + flash["constants"] + flash["weights"]
    assert list(ram) == ["arena", "scratch", "static", "stack", "total"]
    assert ram["total"] == ram["arena"] + ram["static"] + ram["stack"]
    assert 0 <= ram["scratch"] < ram["arena"]
    assert 0 < ram["stack"] <= found["stack"]["bound_bytes"]


@pytest.mark.qemu
def test_watchdog_is_warned_of_and_its_run_counted(cli: CommandLine, tmp_path: Path) -> None:
    """For a whole inference the server calls another function than the model's own."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    slow = tmp_path / "slow.toml"
    slow.write_text(f'inherits = ["{M4}"]\nhz = 1000\n')
    words = ("--board", slow, "--option", "watchdog_s=171", "--json")
    ended = cli("create", model_file("strww_int8"), *words, "-o", tmp_path / "p")
    assert ended.status == 0
    warning = ended.err
    assert re.match(r"warning: operator \w+ may take [\d.]+ s on board slow, and the", warning)
    ended = cli("run", model_file("strww_int8"), *words)
    assert (ended.status, ended.err) == (0, warning)
    inside = [o["instructions"] for o in ended.json["operators"]]
    assert 0 < ended.json["instructions"] - sum(inside) < 40 * len(inside)


@pytest.mark.qemu
def test_goldens_as_a_batch(cli: CommandLine, kept: Path, tmp_path: Path) -> None:
    x, y = goldens("strww_int8")
    np.savez(tmp_path / "in.npz", whatever=x)
    out = tmp_path / "out.npz"
    cli.ok("run", kept, "--input", tmp_path / "in.npz", "--output", out)
    (found,) = load(out).values()
    assert not difference(found, y)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built project whose instructions depend on the data: expf is shorter where it overflows."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    folder = tmp_path_factory.mktemp("uneven")
    model = folder / "uneven.tflite"
    x, y = Tensor("x", (1, 8), "float32"), Tensor("y", (1, 8), "float32")
    model.write_bytes(build([x, y], [Operator("LOGISTIC", ("x",), ("y",))], "x", "y"))
    with pytest.raises(SystemExit, match="0"):
        main(["create", str(model), "--board", M4, "-o", str(folder / "p")])
    return folder / "p"


@pytest.mark.qemu
def test_instructions_are_those_of_the_second_inference(
    cli: CommandLine, uneven: Path, tmp_path: Path
) -> None:
    small, large = np.full((1, 8), 0.3, np.float32), np.full((1, 8), -200.0, np.float32)

    def instructions(*rows: Array) -> int:
        array = rows[0] if len(rows) == 1 else np.stack(rows)
        np.savez(tmp_path / "in.npz", x=array)
        found = cli.ok("run", uneven, "--input", tmp_path / "in.npz", "--json").json
        return int(found["instructions"])

    one, other = instructions(small), instructions(large)
    assert one != other
    assert instructions(large, small, large) == one
    assert instructions(small, large) == other


@pytest.mark.qemu
@pytest.mark.parametrize("board", [M4, "qemu-mps3-an547", "qemu-microbit", "qemu-riscv32"])
def test_boards_counter_serves_where_the_plugin_cannot_be_built(
    cli: CommandLine,
    pair: Path,
    tmp_path: Path,
    only_these_programs: Any,
    board: str,
) -> None:
    cli.ok("create", pair, "--board", board, "-o", tmp_path / "p")
    exact = cli.ok("run", tmp_path / "p", "--json").json
    assert exact["instructions_resolution"] == 1
    compiler, emulator = (
        ("riscv64-unknown-elf-gcc", "qemu-system-riscv32")
        if board == "qemu-riscv32"
        else ("arm-none-eabi-gcc", "qemu-system-arm")
    )
    only_these_programs("make", compiler, emulator)
    found = cli.ok("run", tmp_path / "p", "--json").json
    assert "no host C compiler" in found["instructions_note"]
    assert found["cycles"] is None
    assert "not estimated: no host C compiler" in found["cycles_note"]
    resolution = found["instructions_resolution"]
    assert 1 < resolution < 200
    assert abs(found["instructions"] - exact["instructions"]) <= resolution
    assert found["memory"] == exact["memory"]
    text = cli.ok("run", tmp_path / "p").out
    assert f"± {resolution:.0f}: no host C compiler" in text
    assert "exact" not in text


@pytest.mark.qemu
def test_boards_counter_serves_where_qemu_refuses_the_plugin(
    cli: CommandLine, uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was built without plugins does: here it is the plugin that is none."""
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nothing > "$2"\n')
    compiler.chmod(0o755)
    exact = cli.ok("run", uneven, "--json").json["instructions"]
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = cli.ok("run", uneven, "--json").json
    assert "plugin" in found["instructions_note"]
    assert abs(found["instructions"] - exact) <= found["instructions_resolution"]
