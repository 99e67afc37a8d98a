"""The tables of timings: complete for every CPU, and every mistake in one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.errors import BoardError
from microtvm.target import Cpu, Timing, data_folder, list_cpus, load_cpu
from microtvm.target.loader import read_cpu
from microtvm.target.timing import ENTRIES

CPU = """
family = "cortex-m"
description = "a core"
arch = "armv6-m"
compiler = "gcc"
flags = []
features = []
alignment = 4
"""
CYCLES = {
    "multiply": 1,
    "load": 2,
    "store": 2,
    "store_register": 2,
    "pipelined": 0,
    "multiple": 1,
    "multiple_pc": 2,
    "register": 1,
    "branch": 1,
    "call": 2,
    "refill": 2,
}
TABLE = "[timing]\nmodel = 'a model'\n" + "".join(f"{k} = {v}\n" for k, v in CYCLES.items())


def read(folder: Path, text: str) -> Cpu:
    (folder / "mine.toml").write_text(text)
    return read_cpu(folder, folder / "mine.toml")


def test_a_table_is_kept(tmp_path: Path) -> None:
    cpu = read(tmp_path, CPU + TABLE)
    assert (cpu.timing, cpu.no_timing) == (Timing("a model", CYCLES), "")


def test_a_table_is_inherited(tmp_path: Path) -> None:
    (tmp_path / "slow.toml").write_text(TABLE)
    cpu = read(tmp_path, 'inherits = ["slow"]\n' + CPU + "[timing]\nmodel = 'mine'\nload = 1\n")
    assert cpu.timing == Timing("mine", {**CYCLES, "load": 1})


def test_there_may_be_none(tmp_path: Path) -> None:
    cpu = read(tmp_path, CPU)
    assert cpu.timing is None
    assert cpu.no_timing == "nobody has entered how long its instructions take"
    cpu = read(tmp_path, CPU + "[timing]\nunknown = 'it is secret'\n")
    assert (cpu.timing, cpu.no_timing) == (None, "it is secret")


REFUSED = [
    ("load = 2\n", "", r"mine\.toml: timing\.load is missing"),
    ("load = 2\n", "load = 2\nlode = 2\n", r"mine\.toml: timing\.lode is not a key known here"),
    ("load = 2\n", "load = 256\n", r"timing\.load must be an integer from 0 to 255, found 256"),
    ("load = 2\n", "load = 1.5\n", r"timing\.load must be an integer from 0 to 255, found 1\.5"),
    # Entries for what the core does not have are as wrong as others that are unknown.
    ("load = 2\n", "load = 2\ndivide = 12\n", r"timing\.divide is not a key known here"),
    ("load = 2\n", "load = 2\njump = 2\n", r"timing\.jump is not a key known here"),
    ("model = 'a model'\n", "", r"mine\.toml: timing\.model is missing"),
    ("model = 'a model'\n", "unknown = 'why'\n", r"mine\.toml: timing\.multiply is not a key"),
    ("[timing]", "timing = 1\n[timings]", r"mine\.toml: timing must be a table, found 1"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED)
def test_mistakes_are_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in TABLE
    with pytest.raises(BoardError, match=message):
        read(tmp_path, CPU + TABLE.replace(old, new))


def test_the_hosts_time_cannot_be_estimated(tmp_path: Path) -> None:
    native = CPU.replace('"cortex-m"', '"native"')
    with pytest.raises(BoardError, match=r"timing\.model: no cycles are estimated for native"):
        read(tmp_path, native + "[timing]\nmodel = 'a model'\n")


def test_features_ask_for_entries(tmp_path: Path) -> None:
    text = (CPU + TABLE).replace("features = []", 'features = ["divide"]')
    with pytest.raises(BoardError, match=r"timing\.divide is missing"):
        read(tmp_path, text)
    cpu = read(tmp_path, text + "divide = 12\n")
    assert cpu.timing is not None
    assert cpu.timing.cycles["divide"] == 12


@pytest.mark.parametrize("name", list_cpus())
def test_cpus_have_a_table_or_a_reason(name: str) -> None:
    cpu = load_cpu(name)
    assert (cpu.timing is None) == bool(cpu.no_timing)


def test_every_value_says_its_source() -> None:
    """A comment on its line; the file begins with the document that they are from."""
    for file in (data_folder("boards") / "timing").glob("*.toml"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("# ")
        for line in lines:
            if line.split(" = ")[0] in ENTRIES:
                assert "  # " in line, f"{file}: {line}"
