"""`compile`, `create`, `build`, `check`, `boards`, `doctor`: what each prints and makes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from microtvm.cli import console, main
from microtvm.device import load_metadata
from microtvm.errors import IRError, UserError
from microtvm.pipeline import STAGES, CompileOptions
from microtvm.project import find_platform, load_project
from microtvm.project.library import read_library
from microtvm.target import list_boards
from microtvm.version import VERSION
from tests.cli.conftest import M4, CommandLine
from tests.conftest import ROOT, require_tool
from tests.golden.mlperf import model_file

DIGITS = ROOT / "examples" / "digits" / "digits_int8.tflite"


def test_compile_writes_a_library(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "library"
    found = cli.ok("compile", pair, "-o", folder, "--prefix", "two", "--json").json
    assert found["folder"] == str(folder)
    assert found["files"] == ["two.h", "two.c", "mtvm_model.h", "metadata.json"]
    assert {each.name for each in folder.iterdir()} == set(found["files"])
    metadata = json.loads((folder / "metadata.json").read_text())
    for key in ("hash", "arena_bytes", "scratch_bytes", "weights_bytes", "planner"):
        assert found[key] == metadata[key]
    assert found["lower_bound_bytes"] <= found["arena_bytes"]
    model = load_metadata(folder / "metadata.json")
    assert [t.name for t in model.inputs] == ["a", "b", "c"]
    assert [t.name for t in model.outputs] == ["odds", "diff"]


def test_compile_again_overwrites(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    cli.ok("compile", pair, "-o", tmp_path)
    first = (tmp_path / "pair.c").read_bytes()
    (tmp_path / "pair.c").write_text("stale")
    text = cli.ok("compile", pair, "-o", tmp_path).out
    assert (tmp_path / "pair.c").read_bytes() == first
    assert "lower bound" in text


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_text(cli: CommandLine, pair: Path, tmp_path: Path, stage: str) -> None:
    words = ("compile", pair, "-o", tmp_path, "--dump-after", stage)
    text = cli.ok(*words).out
    assert text.strip()
    assert cli.ok(*words, "--json").json["dump"].rstrip("\n") == text.rstrip("\n")


def test_text_of_a_stage_is_there_when_a_later_one_fails(
    cli: CommandLine, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IRError("broken")

    monkeypatch.setattr("microtvm.lower.choices.lower_group", broken)
    ended = cli("compile", pair, "-o", tmp_path, "--dump-after", "import")
    assert (ended.status, ended.err) == (1, "error: broken\n")
    assert ended.out.startswith('graph "pair" {')


def test_create_build_run(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    """A library to a project to an image to a result, as three commands."""
    for tool in ("make", "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"):
        require_tool(tool)
    cli.ok("compile", pair, "--cpu", "cortex-m4", "-o", tmp_path / "library")
    created = cli.ok(
        *("create", tmp_path / "library", "--board", M4, "-o", tmp_path / "p"),
        *("--stack-bytes", 2048, "--json"),
    ).json
    assert created == {"folder": str(tmp_path / "p"), "board": M4, "platform": "baremetal"}
    built = cli.ok("build", tmp_path / "p", "--json").json
    assert built["stack_reserved_bytes"] == 2048
    printed = subprocess.run(
        ["arm-none-eabi-size", built["elf"]], capture_output=True, text=True, check=True
    ).stdout
    text, data, bss = (int(word) for word in printed.splitlines()[1].split()[:3])
    memory = built["memory"]
    assert memory["flash_bytes"]["total"] == text + data
    assert memory["ram_bytes"]["total"] == data + bss - 2048
    assert memory["ram_bytes"]["stack"] is None
    stack = built["stack"]
    assert (stack["usable_bytes"], stack["note"]) == (2048 - 256, "")
    assert stack["bound_bytes"] == sum(level["bytes"] for level in stack["path"])
    assert [level["function"] for level in stack["path"]][:2] == ["mtvm_start", "main"]
    ran = cli.ok("run", tmp_path / "p", "--json").json
    assert ran["memory"]["flash_bytes"] == memory["flash_bytes"]
    # Above the reserve of 2048 there is nothing, so all that was used was measured within it.
    assert ran["stack"] == stack
    assert 0 < ran["memory"]["ram_bytes"]["stack"] <= stack["bound_bytes"] <= 2048 - 256
    told = cli.ok("build", tmp_path / "p").out
    assert f"at most {stack['bound_bytes']} of 1,792 bytes: mtvm_start" in told
    cli.ok(
        *("create", tmp_path / "library", "--board", M4, "-o", tmp_path / "p", "-f"),
        *("--stack-bytes", 512),
    )
    for command in ("build", "run"):
        ended = cli(command, tmp_path / "p")
        assert ended.status == 2
        assert "the stack of 512 bytes is too small" in ended.err
        assert "--stack-bytes" in ended.err


def test_build_for_the_host(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    require_tool("make")
    require_tool("cc")
    cli.ok("create", pair, "--board", "host", "-o", tmp_path / "p")
    text = cli.ok("build", tmp_path / "p").out
    assert "flash" in text
    elf = tmp_path / "p" / "build" / "pair.elf"
    with elf.open("rb") as stream:
        assert ELFFile(stream).num_sections() > 0


def test_check_of_a_good_model(cli: CommandLine, pair: Path) -> None:
    found = cli.ok("check", pair, "--json").json
    assert found["ok"] is True
    assert found["operators"] == {"SUB": 1, "LOGISTIC": 1}
    assert found["problems"] == []
    assert len(found["inputs"]) == 3
    text = cli.ok("check", pair).out
    assert "1 LOGISTIC, 1 SUB" in text
    assert text.endswith("can be compiled\n")


def test_check_says_what_is_folded(cli: CommandLine, pair: Path) -> None:
    lines = cli.ok("check", model_file("vww_int8")).out.splitlines()
    row = next(line for line in lines if line.startswith("conv2d_14 "))
    assert re.split(r"  +", row.strip())[1:] == [
        "128 to 108",
        "128 to 60",
        "589,824 to 233,280",
        "16,384 to 6,480",
        "68 made constant, 19 read into the bias",
    ]
    assert "7,489,664 to 3,766,476" in lines[-1]
    assert "channels" not in cli.ok("check", pair).out


@pytest.mark.parametrize(("words", "macs"), [((), 3_766_476), (("--no-fold-channels",), 7_489_664)])
def test_channels_are_folded_unless_told(
    cli: CommandLine, tmp_path: Path, words: tuple[str, ...], macs: int
) -> None:
    """By every command that compiles."""
    require_tool("make")
    require_tool("cc")
    model = model_file("vww_int8")
    cli.ok("compile", model, "-o", tmp_path / "library", *words)
    cli.ok("create", model, "--board", "host", "-o", tmp_path / "project", *words)
    libraries = [read_library(tmp_path / "library"), load_project(tmp_path / "project").library]
    for library in libraries:
        assert sum(o["macs"] for o in library.metadata["operators"]) == macs
        assert any(t["channels"] for t in library.metadata["tensors"]) == (not words)
    assert cli.ok("run", model, "--board", "host", "--json", *words).json["macs"] == macs


@pytest.mark.parametrize(("words", "taken"), [((), 3), (("--flash-budget", "1"), 0)])
def test_weights_grow_within_a_budget(
    cli: CommandLine, tmp_path: Path, words: tuple[str, ...], taken: int
) -> None:
    model = model_file("resnet8_int8")
    text = cli.ok("compile", model, "--board", M4, "-o", tmp_path / "library", *words).out
    cli.ok("create", model, "--board", M4, "-o", tmp_path / "project", *words)
    libraries = [read_library(tmp_path / "library"), load_project(tmp_path / "project").library]
    for library in libraries:
        found = [o["knobs"].get("stored", False) for o in library.metadata["operators"]]
        assert sum(found) == taken
    assert "dsp.winograd_product (4 operators)" in text
    assert "dsp.gather_product (1 operator)" in text
    assert f"{taken} of 4 kernels have larger, faster weights" in text


def test_a_budget_without_effect_says_so(cli: CommandLine, tmp_path: Path) -> None:
    words = ("compile", DIGITS, "--cpu", "cortex-m3", "--flash-budget", "1", "-o", tmp_path)
    text = cli.ok(*words).out
    assert "no effect: on cortex-m3 larger weights make none of these kernels faster" in text
    found = cli.ok(*words, "--json").json["flash_budget"]
    assert found.pop("limit_bytes") > 0
    assert found == {"offered": 0, "enlarged": 0}


def test_schedules_are_listed_edited_and_given_back(cli: CommandLine, tmp_path: Path) -> None:
    """Every command that compiles takes them; what is compiled already is refused."""
    text = cli.ok("schedules", DIGITS, "--cpu", "host").out
    assert "unroll 16 (1, 4, 8, 32)" in text
    assert "behind a knob its value" in text
    found = cli.ok("schedules", DIGITS, "--cpu", "host", "--json").json
    first = found["operators"][0]
    assert first["template"] == "generic"
    first["knobs"]["unroll"] = 4
    file = tmp_path / "schedules.json"
    file.write_text(json.dumps(found))
    words = ("--schedules", file)
    cli.ok("compile", DIGITS, "--cpu", "host", "-o", tmp_path / "library", *words)
    cli.ok("create", DIGITS, "--board", "host", "-o", tmp_path / "project", *words)
    cli.ok("run", DIGITS, "--board", "host", "--keep", tmp_path / "kept", *words)
    for folder in ("library", "project/model", "kept/library"):
        chosen = read_library(tmp_path / folder).metadata["operators"][0]
        assert chosen["knobs"] == first["knobs"]
    assert "is not JSON" in cli.refused("compile", DIGITS, "--schedules", DIGITS)
    for command in (
        ("run", tmp_path / "project"),
        ("create", tmp_path / "library", "--board", "host", "-o", tmp_path / "p"),
        ("export", tmp_path / "library", "--format", "cmake", "-o", tmp_path / "p"),
    ):
        message = cli.refused(*command, *words, "--no-overlap", "--flash-budget", "1")
        assert "is compiled already: --no-overlap, --flash-budget, --schedules" in message
        assert "leave that out, or give the model file" in message


@pytest.mark.parametrize("budget", ["none", "0.5", "1K"])
def test_a_budget_that_makes_no_sense(cli: CommandLine, budget: str) -> None:
    words = ("compile", model_file("resnet8_int8"), "--flash-budget", budget)
    assert "flash budget" in cli.refused(*words)


def test_boards_are_all_listed(cli: CommandLine) -> None:
    found = cli.ok("boards", "--json").json["boards"]
    assert [board["name"] for board in found] == list_boards()
    m4 = next(board for board in found if board["name"] == M4)
    assert m4["cpu"] == "cortex-m4"
    assert m4["platforms"] == ["baremetal"]
    assert all(memory["size_bytes"] > 0 for memory in m4["memories"])
    text = cli.ok("boards").out
    assert all(name in text for name in list_boards())
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_doctor_finds_a_tool(cli: CommandLine) -> None:
    make = require_tool("make")
    version = subprocess.run([make, "--version"], capture_output=True, text=True, check=True).stdout
    tools = {tool["name"]: tool for tool in cli.ok("doctor", "--json").json["tools"]}
    assert tools["make"]["found"] is True
    assert tools["make"]["version"] in version
    text = cli.ok("doctor").out
    assert "make" in text
    for group in ("Arduino and AVR", "Zephyr", "flashing, one of a board's"):
        assert text.count(f"optional, for {group}:") == 1


def test_version_and_help(cli: CommandLine) -> None:
    assert cli.ok("--version").out == f"microtvm, version {VERSION}\n"
    text = cli.ok("--help").out
    for command in (
        "run",
        "profile",
        "compile",
        "check",
        "schedules",
        "create",
        "build",
        "boards",
        "doctor",
    ):
        assert f"\n  {command} " in text
        assert cli.ok(command, "-h").out.startswith(f"Usage: microtvm {command} ")


def test_verbose_shows_where(
    cli: CommandLine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent")
    plain = cli.refused("check", absent)
    with pytest.raises(SystemExit, match="2"):
        main(["-v", "check", absent])
    verbose = capsys.readouterr().err
    assert verbose.endswith(plain)
    assert "Traceback" in verbose
    assert "frontend" in verbose


def test_outputs_overlap_their_inputs_unless_told(cli: CommandLine, tmp_path: Path) -> None:
    model = model_file("kws_int8")
    arena = {}
    for option in ("--overlap", "--no-overlap"):
        cli.ok("compile", model, "--cpu", "cortex-m3", option, "-o", tmp_path / option)
        arena[option] = json.loads((tmp_path / option / "metadata.json").read_text())["arena_bytes"]
    assert 1.3 * arena["--overlap"] < arena["--no-overlap"]


def test_what_is_no_folder_is_told(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert "is a file, not a folder" in cli.refused("compile", pair, "-o", file)
    assert "is not a project" in cli.refused("build", file)


def test_boards_to_check_are_named(cli: CommandLine, pair: Path) -> None:
    message = cli.refused("check", pair, "--boards", " ,")
    assert "--boards names no board" in message
    assert "there is no board 'zzz'" in (message := cli.refused("check", pair, "--boards", "zzz"))
    assert "`microtvm boards` lists them" in message


def test_one_rule_for_the_core(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    """Plain C99 for any core, unless a core or a board is named; help and output say so."""
    for command in ("compile", "export", "schedules"):
        text = " ".join(cli.ok(command, "--help").out.split())
        assert "without it and --board, plain C99 for any core: `generic`" in text
    said = cli.ok("compile", pair, "-o", tmp_path / "any").out
    assert f"wrote {tmp_path / 'any'}, for generic (any core; --cpu or --board" in said
    assert "pair.c with your application, which includes pair.h" in said
    said = cli.ok("compile", pair, "--board", M4, "-o", tmp_path / "m4").out
    assert f"wrote {tmp_path / 'm4'}, for cortex-m4; next: " in said
    assert cli.ok("schedules", pair, "--json").json["cpu"] == "generic"
    assert cli.ok("schedules", pair, "--board", M4, "--json").json["cpu"] == "cortex-m4"
    found = cli.ok("compile", pair, "--cpu", "cortex-m0", "-o", tmp_path / "m0", "--json").json
    assert found["cpu"] == "cortex-m0"
    words = ("--cpu", "cortex-m0", "--board", M4)
    assert "has a cortex-m4, not a cortex-m0" in cli.refused("compile", pair, *words)
    # As a program says it, too.
    with pytest.raises(UserError, match="it: --strip-edges would change nothing") as caught:
        CompileOptions(strip_edges=True, flash_budget="1.5").refuse("it", "stop")
    assert caught.value.hint == "stop"
    assert CompileOptions(flash_budget="1.50", overlap=False).changed() == ("overlap",)


def test_what_is_written_is_said_with_what_is_next(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    said = cli.ok("create", pair, "--board", "host", "-o", tmp_path / "p").out
    assert f"wrote {tmp_path / 'p'}, for host on host; next: `microtvm build {tmp_path}" in said
    assert (tmp_path / "p" / "README.md").is_file()


def test_what_takes_minutes_is_told_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and not where it was quick or where nothing but JSON is wanted."""
    monkeypatch.setattr(console, "PATIENCE_S", 0.0)
    for quiet in (False, True):
        with console.progress(quiet) as report:
            for step in ("compiling", find_platform("zephyr").building):
                report(step, 0, 1)
                report(step, 1, 1)
                time.sleep(0.3)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "building with west or CMake, which takes a minute or two\n"
    monkeypatch.setattr(console, "PATIENCE_S", 60.0)
    with console.progress(False) as report:
        report("waiting", 0, 1)
        report("waiting for a board", 0, 1)
    assert capsys.readouterr().err == ""
