"""What users do wrong: status 2, a message on standard error of what and where, no traceback."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.cli.main import failure_of
from microtvm.errors import UserError
from tests.cli.conftest import M4, CommandLine, pair_inputs
from tests.reference import Operator, Tensor, build

# ---- the model ----


def test_no_such_file(cli: CommandLine, tmp_path: Path) -> None:
    message = cli.refused("run", tmp_path / "absent.tflite", "--board", "host")
    assert "absent.tflite: No such file" in message


@pytest.mark.parametrize("command", ["run", "check", "create", "compile"])
@pytest.mark.parametrize("kept_bytes", [0, 7, 100, 0.5])
def test_truncated_model(
    cli: CommandLine, pair: Path, tmp_path: Path, command: str, kept_bytes: float
) -> None:
    content = pair.read_bytes()
    file = tmp_path / "cut.tflite"
    kept = int(kept_bytes * len(content)) if isinstance(kept_bytes, float) else kept_bytes
    file.write_bytes(content[:kept])
    options = {
        "run": ["--board", "host"],
        "create": ["--board", "host", "-o", tmp_path / "p"],
        "compile": ["-o", tmp_path / "c"],
        "check": [],
    }
    assert "cut.tflite" in cli.refused(command, file, *options[command])
    assert {each.name for each in tmp_path.iterdir()} == {"cut.tflite"}


def test_not_a_model(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "picture.tflite"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    assert "picture.tflite" in cli.refused("run", file, "--board", "host")


@pytest.fixture
def exotic(tmp_path: Path) -> Path:
    """A model of two operators that nobody compiles, and one that can be."""
    x, y, z, w = (Tensor(name, (1, 4), "float32") for name in "xyzw")
    operators = [
        Operator("COS", ("x",), ("y",)),
        Operator("LOGISTIC", ("y",), ("z",)),
        Operator("CUSTOM", ("z",), ("w",), custom="Fancy"),
    ]
    file = tmp_path / "exotic.tflite"
    file.write_bytes(build([x, y, z, w], operators, "x", "w"))
    return file


def test_unsupported_operators_are_all_named(cli: CommandLine, exotic: Path) -> None:
    message = cli.refused("run", exotic, "--board", "host")
    assert "exotic.tflite" in message
    assert "COS" in message
    assert "Fancy" in message
    assert "LOGISTIC" not in message


def test_check_lists_them_on_standard_output(cli: CommandLine, exotic: Path) -> None:
    ended = cli("check", exotic)
    assert (ended.status, ended.err) == (2, "")
    assert re.search(r"can't be compiled: .*COS", ended.out)
    assert re.search(r"can't be compiled: .*Fancy", ended.out)
    ended = cli("check", exotic, "--json")
    assert ended.status == 2
    assert ended.json["ok"] is False
    assert len(ended.json["problems"]) == 2


# ---- the arrays ----


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, pair: Path) -> Path:
    """A project of the pair model for the host."""
    from microtvm.cli import main

    folder = tmp_path_factory.mktemp("mistake") / "p"
    with pytest.raises(SystemExit, match="0"):
        main(["create", str(pair), "--board", "host", "-o", str(folder)])
    return folder


BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "shape": (
        {"a": np.zeros((1, 5), np.int8)},
        r"'a' of \S+ has shape \[1, 5\], input a has \[1, 4\]",
    ),
    "rank": (
        {"a": np.zeros(4, np.int8)},
        r"'a' of \S+ has shape \[4\].*\n.*\[n, 1, 4\] for n runs",
    ),
    "dtype": ({"b": np.zeros((1, 4), np.uint8)}, r"'b' of \S+ is uint8, input b is int8\n.*astype"),
    "double": ({"c": np.zeros((2, 3))}, r"'c' of \S+ is float64, input c is float32"),
    "empty batch": ({"c": np.zeros((0, 2, 3), np.float32)}, r"'c' of \S+ has shape \[0, 2, 3\]"),
    "uneven": (
        {"a": np.zeros((2, 1, 4), np.int8)},
        "different numbers of runs: a for 2, b for one",
    ),
    "too many": (
        {"d": np.zeros(1, np.int8)},
        r"has 4 arrays, model pair has 3 inputs\n.*int8\[1, 4\]",
    ),
    "objects": ({"a": np.array([[None] * 4])}, "not an .npz file, or damaged"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_wrong_arrays(cli: CommandLine, project: Path, tmp_path: Path, kind: str) -> None:
    changed, pattern = BAD_ARRAYS[kind]
    file = tmp_path / "in.npz"
    np.savez(file, **{**pair_inputs(1), **changed})
    assert re.search(pattern, cli.refused("run", project, "--input", file))


def test_wrong_name_falls_back_on_order(cli: CommandLine, project: Path, tmp_path: Path) -> None:
    """One wrong name means order; then it is the shapes that disagree, and both names are told."""
    inputs = pair_inputs(1)
    np.savez(tmp_path / "in.npz", cc=inputs["c"], a=inputs["a"], b=inputs["b"])
    message = cli.refused("run", project, "--input", tmp_path / "in.npz")
    assert re.search(r"array 'cc' of \S+ is float32, input a is int8", message)


def test_too_few_arrays(cli: CommandLine, project: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", a=pair_inputs(1)["a"])
    message = cli.refused("run", project, "--input", tmp_path / "in.npz")
    assert "has 1 array, model pair has 3 inputs" in message
    assert "a: int8[1, 4], b: int8[1, 4], c: float32[2, 3]" in message


def test_input_files_that_are_none(cli: CommandLine, project: Path, tmp_path: Path) -> None:
    def refused(file: Path) -> str:
        return cli.refused("run", project, "--input", file)

    assert "there is no file" in refused(tmp_path / "absent.npz")
    assert "is a folder" in refused(tmp_path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "is a single array" in refused(tmp_path / "one.npy")
    for content in (b"", b"PK", b"hello", b"PK\x03\x04" + bytes(100)):
        (tmp_path / "x.npz").write_bytes(content)
        assert "x.npz is not an .npz file, or damaged" in refused(tmp_path / "x.npz")


def test_nobody_is_told_to_load_a_pickle(cli: CommandLine, project: Path, tmp_path: Path) -> None:
    """NumPy's own message advises it."""
    file = tmp_path / "x.npz"
    file.write_text("hello")
    assert "no .npz archive" in cli.refused("run", project, "--input", file)
    np.savez(file, x=np.array([{}], object))
    message = cli.refused("run", project, "--input", file)
    assert "arrays of Python objects" in message
    assert "pickle" not in message


# ---- boards and options ----


@pytest.mark.parametrize("command", ["run", "create"])
def test_unknown_board_names_the_near_ones(
    cli: CommandLine, pair: Path, tmp_path: Path, command: str
) -> None:
    options = ["-o", tmp_path / "p"] if command == "create" else []
    message = cli.refused(command, pair, "--board", "qemu-mps2-an368", *options)
    assert "there is no board 'qemu-mps2-an368'" in message
    assert "qemu-mps2-an386" in message


def test_unknown_cpu_names_the_near_ones(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    message = cli.refused("compile", pair, "--cpu", "cortex-m44", "-o", tmp_path / "c")
    assert "there is no CPU 'cortex-m44'" in message
    assert "cortex-m4" in message


def test_board_is_asked_for(cli: CommandLine, pair: Path) -> None:
    assert "which board is" in cli.refused("run", pair)


def test_project_has_its_board(cli: CommandLine, project: Path) -> None:
    assert "has its board and platform already" in cli.refused("run", project, "--board", M4)


def test_folder_that_is_no_project(cli: CommandLine, tmp_path: Path) -> None:
    assert "is not a project: it has no project.json" in cli.refused("run", tmp_path)
    assert "is not a project: it has no project.json" in cli.refused("build", tmp_path)
    for words in (("build",), ("flash",), ("diff", tmp_path, "--project")):
        assert "is not a project: there is no such folder" in cli.refused(*words, tmp_path / "no")
    assert "is not a model library" in cli.refused(
        "create", tmp_path, "--board", "host", "-o", tmp_path / "p"
    )


def test_prefix_that_is_no_identifier(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    message = cli.refused("compile", pair, "--prefix", "2nd-model", "-o", tmp_path / "c")
    assert "'2nd-model' can't begin C identifiers" in message


@pytest.mark.parametrize("prefix", ["math", "strings", "board", "mtvm_rpc"])
def test_prefix_that_is_taken(cli: CommandLine, pair: Path, tmp_path: Path, prefix: str) -> None:
    message = cli.refused("compile", pair, "--prefix", prefix, "-o", tmp_path / "c")
    assert f"{prefix}.h would hide a header of that name\nhint: use m_{prefix}" in message


def test_unknown_words(cli: CommandLine, pair: Path) -> None:
    assert "'--board'" in cli.refused("run", pair, "--bord", "host")
    assert "There is no command 'xyzzy': `microtvm --help` lists them" in cli.refused("xyzzy")
    assert "There is no command 'crate': did you mean create" in cli.refused("crate", pair)
    assert "Invalid value for '--planner'" in cli.refused("compile", pair, "--planner", "worst")
    assert "Invalid value for '--dump-after'" in cli.refused("compile", pair, "--dump-after", "x")
    assert "Missing argument" in cli.refused("run")


def test_strange_stack(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    for size in (-16, 100, 128, 256, 496):
        message = cli.refused(
            *("create", pair, "--board", M4, "-o", tmp_path / "p", "--stack-bytes", size)
        )
        wanted = "multiple of 16 and at least 512 bytes, 256 of them to guard its end"
        assert f"{wanted}: {size}" in message
    message = cli.refused(
        *("create", pair, "--board", "host", "-o", tmp_path / "p", "--stack-bytes", 240)
    )
    assert "multiple of 16 and at least 256 bytes: 240" in message


def test_platform_that_the_board_lacks(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    message = cli.refused(
        *("create", pair, "--board", M4, "-o", tmp_path / "p", "--platform", "host")
    )
    assert "does not support the platform 'host'" in message


# ---- where to write ----


def test_output_that_cannot_be_written(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    """It is said before anything is compiled: the model isn't even there."""
    absent = tmp_path / "absent.tflite"
    message = cli.refused("run", absent, "--board", "host", "--output", tmp_path / "no" / "y.npz")
    assert re.search(r"can't write \S+y\.npz: there is no folder \S+no", message)
    message = cli.refused("run", absent, "--board", "host", "--output", tmp_path)
    assert "it is a folder" in message


def test_output_that_may_not_be_written(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or folder that is read-only, which root would not be held up by."""
    absent, file = tmp_path / "absent.tflite", tmp_path / "y.npz"
    asked = []

    def access(path: Path, mode: int) -> bool:
        if mode == os.W_OK:
            asked.append(path)
        return mode != os.W_OK

    monkeypatch.setattr("os.access", access)
    words = ("run", absent, "--board", "host", "--output", file)
    assert f"can't write {file}: no permission" in cli.refused(*words)
    file.touch()
    assert f"can't write {file}: no permission" in cli.refused(*words)
    assert asked == [tmp_path, file]


def test_folder_that_the_system_refuses(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "below"
    message = cli.refused("compile", pair, "-o", folder)
    assert f"can't write {folder}: {tmp_path / 'file'} is a file, not a folder" in message
    message = cli.refused("compile", pair, "-o", "/proc/none/below")
    assert "can't make the folder /proc/none: " in message
    cli.refused("compile", tmp_path / "absent.tflite", "-o", tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()


def test_folder_without_permission(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root would not be held up by one; it is said before the model is even looked for."""
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    absent, folder = tmp_path / "absent.tflite", tmp_path / "a" / "b"
    for words in (
        ("compile", absent, "-o", folder),
        ("create", absent, "--board", "host", "-o", folder),
        ("export", absent, "--format", "cmake", "-o", folder / "c"),
    ):
        assert f"can't write {folder}: no permission in {tmp_path}" in cli.refused(*words)


def test_output_folder_that_is_a_file(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for words in (
        ("create", pair, "--board", "host", "-o", file),
        ("compile", pair, "-o", file),
        ("compile", pair, "-o", file / "below"),
        ("run", pair, "--board", "host", "--keep", file),
    ):
        assert str(file) in cli.refused(*words)
    assert file.read_text() == "mine"


def test_output_folder_that_is_not_empty(cli: CommandLine, pair: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for words in (
        ("create", pair, "--board", "host", "-o", tmp_path),
        ("create", pair, "--board", "host", "-o", tmp_path, "--force"),
        ("run", pair, "--board", "host", "--keep", tmp_path),
    ):
        assert f"{tmp_path} is not empty" in cli.refused(*words)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_earlier_project_is_replaced_on_request_only(
    cli: CommandLine, pair: Path, tmp_path: Path
) -> None:
    words = ("create", pair, "--board", "host", "-o", tmp_path / "p")
    cli.ok(*words)
    (tmp_path / "p" / "mine").write_text("mine")
    assert "replace it with --force" in cli.refused(*words)
    assert (tmp_path / "p" / "mine").exists()
    cli.ok(*words, "--force")
    assert not (tmp_path / "p" / "mine").exists()


def test_model_that_does_not_fit(cli: CommandLine, tmp_path: Path) -> None:
    x = Tensor("x", (1, 200, 100), "int8", 0.1, 0)
    y = Tensor("y", (1, 200, 100), "int8", 1 / 256, -128)
    file = tmp_path / "wide.tflite"
    file.write_bytes(build([x, y], [Operator("LOGISTIC", ("x",), ("y",))], "x", "y"))
    message = cli.refused("run", file, "--board", "qemu-microbit", "--keep", tmp_path / "k")
    assert re.search(r"memory ram has 16,384 bytes, at least [\d,]+ too few for arena", message)
    assert not (tmp_path / "k" / "project").exists()


# ---- what is looked at before anything is compiled ----


def test_wrong_arrays_are_told_before_anything_is_compiled(
    cli: CommandLine, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a model, of which only the inputs are known then, and for a project."""

    def nothing(*_words: object, **_options: object) -> None:
        raise AssertionError

    monkeypatch.setattr("microtvm.inference.compile_model", nothing)
    monkeypatch.setattr("microtvm.cli.run.build_project", nothing)
    file = tmp_path / "in.npz"
    np.savez(file, **{**pair_inputs(1), "a": np.zeros((1, 4))})
    for command, board in (("run", "host"), ("diff", "host"), ("profile", M4)):
        message = cli.refused(command, pair, "--board", board, "--input", file)
        assert re.search(r"array 'a' of \S+ is float64, input a is int8", message)
        assert "quantise it: numpy.clip(numpy.round(x / 0.5) + 3, -128, 127)" in message
    assert "there is no file" in cli.refused(
        "run", pair, "--board", "host", "--input", tmp_path / "absent.npz"
    )


@pytest.mark.parametrize("size", ["1_024", "1e3", " 512", "0x", "one"])
def test_integers_are_written_as_in_c(
    cli: CommandLine, pair: Path, tmp_path: Path, size: str
) -> None:
    words = ("create", pair, "--board", M4, "-o", tmp_path / "p")
    assert "is not a valid integer" in cli.refused(*words, "--stack-bytes", size)
    assert not (tmp_path / "p").exists()


def test_options_of_the_compiler_do_not_change_a_project(cli: CommandLine, project: Path) -> None:
    message = cli.refused("run", project, "--flash-budget", "1")
    assert "is compiled already: --flash-budget would change nothing" in message


def test_what_the_system_refuses_is_told_with_its_reason() -> None:
    for error, message in (
        (OSError(errno.EACCES, "Permission denied", "a"), "can't read or write a: Permission"),
        (OSError(errno.EXDEV, "Cross-device", "a", None, "b"), "can't read or write a or b: Cross"),
        (OSError(errno.ENOSPC, "No space left"), "can't read or write a file: No space left"),
        (OSError(), "can't read or write a file: OSError"),
    ):
        found = failure_of(error)
        assert found.message.startswith(message)
        assert isinstance(found, UserError) == (error.errno == errno.EACCES)
