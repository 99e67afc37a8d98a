"""Creating and building: what lands in the folder, and what is said when it can't."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from microtvm.errors import BoardError, FitError, ToolError, UserError
from microtvm.project import (
    Demand,
    build_project,
    check_fit,
    create_project,
    load_project,
    measure,
    read_library,
)
from microtvm.project.template import load_template
from microtvm.target import Board, list_boards, load_board
from tests.conftest import require_tool
from tests.project.image import TINY, build_tiny, require_board_tools


@pytest.fixture
def board() -> Board:
    return load_board("qemu-mps2-an386")


def copy_of_tiny(folder: Path, **changes: object) -> Path:
    """The library with other metadata; None takes a key away."""
    shutil.copytree(TINY, folder)
    file = folder / "metadata.json"
    metadata = json.loads(file.read_text()) | changes
    kept = {key: value for key, value in metadata.items() if value is not None}
    file.write_text(json.dumps(kept))
    return folder


MADE = [name for name in list_boards() if load_board(name).platforms[0] in ("baremetal", "host")]


@pytest.mark.parametrize("name", MADE)
def test_project_is_whole_and_knows_itself(name: str, tmp_path: Path) -> None:
    project = create_project(TINY, load_board(name), tmp_path / "p")
    files = {
        str(file.relative_to(tmp_path / "p")) for file in tmp_path.rglob("*") if file.is_file()
    }
    assert {"Makefile", "README.md", "link.ld", "model/tiny.c", "model/tiny.h"} <= files
    assert {"runtime/src/mtvm_server.c", "runtime/include/mtvm_model.h"} <= files
    assert not [file for file in files if file.endswith((".j2", ".py", ".toml"))]
    loaded = load_project(tmp_path / "p")
    assert loaded == project
    assert loaded.board == load_board(name)
    assert loaded.library.folder == tmp_path / "p" / "model"


def test_project_builds_elsewhere_with_make_alone(tmp_path: Path, board: Board) -> None:
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p")
    shutil.move(project.folder, tmp_path / "taken away")
    done = subprocess.run(
        [require_tool("make"), "-s", "WERROR=-Werror", "size"],
        cwd=tmp_path / "taken away",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ".mtvm_weights" in done.stdout


def test_board_of_a_file_is_found_again(tmp_path: Path) -> None:
    file = Path(__file__).parent / "boards" / "lm3s6965evb.toml"
    create_project(TINY, load_board(str(file)), tmp_path / "p")
    assert load_project(tmp_path / "p").board.file == file


def test_stack_can_be_chosen(tmp_path: Path, board: Board) -> None:
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p", stack_bytes=1024)
    built = build_project(project)
    assert measure(built.elf, project.library).ram.stack == 1024
    with pytest.raises(UserError, match=r"multiple of 16 and at least 512 bytes.*: 1000"):
        create_project(TINY, board, tmp_path / "q", stack_bytes=1000)


def test_project_is_only_replaced_on_request(tmp_path: Path, board: Board) -> None:
    create_project(TINY, board, tmp_path / "p")
    (tmp_path / "p" / "stale.c").write_text("")
    with pytest.raises(UserError, match=r"there is a project in .*p already"):
        create_project(TINY, board, tmp_path / "p")
    create_project(TINY, board, tmp_path / "p", force=True)
    assert not (tmp_path / "p" / "stale.c").exists()


def test_nothing_else_is_ever_replaced(tmp_path: Path, board: Board) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UserError, match="is not empty and not a project"):
        create_project(TINY, board, tmp_path, force=True)
    with pytest.raises(UserError, match="precious is a file, not a folder"):
        create_project(TINY, board, tmp_path / "precious", force=True)
    assert (tmp_path / "precious").read_text() == "mine"


def test_library_inside_the_output_is_refused(tmp_path: Path, board: Board) -> None:
    project = create_project(TINY, board, tmp_path / "p")
    with pytest.raises(UserError, match="lies in the project's folder"):
        create_project(project.library.folder, board, project.folder, force=True)
    assert project.library.files[0].is_file()


def test_unknown_platform_is_refused(tmp_path: Path, board: Board) -> None:
    with pytest.raises(UserError, match="does not support the platform 'cobol'") as caught:
        create_project(TINY, board, tmp_path / "p", platform="cobol")
    assert caught.value.hint == "it supports: baremetal"
    with pytest.raises(BoardError, match="platforms is empty"):
        create_project(TINY, dataclasses.replace(board, platforms=()), tmp_path / "p")


def test_unknown_driver_is_named(tmp_path: Path, board: Board) -> None:
    assert board.uart is not None
    other = dataclasses.replace(board, uart=dataclasses.replace(board.uart, driver="usart9"))
    with pytest.raises(
        BoardError, match=r"has no uart/usart9\.c, which board qemu-mps2-an386"
    ) as e:
        create_project(TINY, other, tmp_path / "p")
    assert "cmsdk, nrf51, ns16550, pl011" in e.value.hint
    assert not (tmp_path / "p").exists()


def test_template_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"the platform own has no .*template\.toml"):
        load_template("own", tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("colour = 1", r"template\.toml: unknown keys: colour"),
        ("files = 1", r"template\.toml: files must be a table of paths, found 1"),
        ("[folders]\na = 2", r"folders must be a table of paths, found {'a': 2}"),
    ],
)
def test_wrong_template_is_named(settings: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "template.toml").write_text(settings)
    with pytest.raises(ToolError, match=message):
        load_template("own", tmp_path)


def test_undefined_names_in_a_template_are_errors(tmp_path: Path, board: Board) -> None:
    (tmp_path / "template.toml").write_text('[files]\na = "a.j2"\n')
    (tmp_path / "a.j2").write_text("{{ board.colour }}")
    template = load_template("own", tmp_path)
    with pytest.raises(ToolError, match="template own: a can't be made for board qemu-mps2-an386"):
        template.render({"board": board}, board)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2, this version reads 1"),
        ({"prefix": None}, "prefix must be a non-empty string, found None"),
        ({"prefix": "../x"}, r"prefix '\.\./x' is not a C identifier"),
        ({"prefix": "other"}, r"lacks other\.h"),
        ({"arena_bytes": -1}, "arena_bytes must be a number of bytes, found -1"),
        ({"scratch_bytes": True}, "scratch_bytes must be a number of bytes, found True"),
    ],
)
def test_damaged_library_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_library(copy_of_tiny(tmp_path / "l", **changes))


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a model library: it has no metadata\.json"):
        read_library(tmp_path)
    (tmp_path / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=r"metadata\.json is not JSON"):
        read_library(tmp_path)
    (tmp_path / "metadata.json").write_text("[]")
    with pytest.raises(UserError, match="must hold an object, found list"):
        read_library(tmp_path)


def test_what_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a project: it has no project\.json"):
        load_project(tmp_path)
    note = tmp_path / "project.json"
    note.write_text("{")
    with pytest.raises(UserError, match=r"project\.json is not JSON"):
        load_project(tmp_path)
    note.write_text('{"format": 7}')
    with pytest.raises(UserError, match="was not written by this version"):
        load_project(tmp_path)
    note.write_text('{"format": 2}')
    with pytest.raises(UserError, match=r"project\.json is damaged: it has no key 'platform'"):
        load_project(tmp_path)
    note.write_text('{"format": 2, "platform": "host", "board": "host", "options": 7}')
    with pytest.raises(UserError, match=r"project\.json is damaged: TypeError"):
        load_project(tmp_path)


def test_missing_tools_are_named(
    tmp_path: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = create_project(TINY, board, tmp_path / "p")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="needs make, which is not on the PATH") as caught:
        build_project(project)
    assert "apt-get install make" in caught.value.hint
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    with pytest.raises(ToolError, match="needs arm-none-eabi-gcc") as caught:
        build_project(project)
    assert "apt-get install gcc-arm-none-eabi" in caught.value.hint


def test_compilers_complaint_is_shown(tmp_path: Path, board: Board) -> None:
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p")
    main = project.folder / "src" / "main.c"
    main.write_text(main.read_text() + "\nint broken(void)\n{\n    return undeclared;\n}\n")
    with pytest.raises(
        ToolError, match=r"src/main\.c:\d+:\d+: error: 'undeclared' undecl"
    ) as caught:
        build_project(project)
    assert "arm-none-eabi-gcc" not in caught.value.message
    assert (project.folder / "build" / "make.log").is_file()


def test_strict_makes_a_warning_an_error(tmp_path: Path, board: Board) -> None:
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p")
    main = project.folder / "src" / "main.c"
    main.write_text(main.read_text() + "\nint exported(void)\n{\n    return 1;\n}\n")
    build_project(project)
    main.touch()
    with pytest.raises(ToolError, match="no previous prototype"):
        build_project(project, strict=True)


def test_model_of_another_abi_does_not_compile(tmp_path: Path, board: Board) -> None:
    require_board_tools(board)
    project = create_project(TINY, board, tmp_path / "p")
    header = project.folder / "runtime" / "include" / "mtvm_model.h"
    header.write_text(header.read_text().replace("MTVM_MODEL_ABI 1", "MTVM_MODEL_ABI 99"))
    with pytest.raises(ToolError, match="tiny was made for MTVM_MODEL_ABI 1"):
        build_project(project)


def test_fit_is_refused_before_the_build(tmp_path: Path) -> None:
    library = copy_of_tiny(tmp_path / "l", arena_bytes=55_296)
    with pytest.raises(FitError) as caught:
        create_project(library, load_board("qemu-microbit"), tmp_path / "p")
    assert caught.value.message == (
        "the model does not fit board qemu-microbit: its memory ram has 16,384 bytes, at least "
        "41,088 too few for arena 55,296 + stack 2,048 + variables 128"
    )
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        (Demand(arena=0, weights=300_000, code=3000, static=0, stack=0), "flash has 262,144 bytes"),
        (
            Demand(arena=16_384, weights=0, code=0, static=0, stack=1),
            "at least 1 too few for arena",
        ),
        (
            Demand(arena=20_000, weights=300_000, code=0, static=0, stack=0),
            "memory ram has .*; its memory flash|memory flash has .*; its memory ram",
        ),
    ],
)
def test_every_memory_too_small_is_named(demand: Demand, message: str) -> None:
    with pytest.raises(FitError, match=message):
        check_fit(load_board("qemu-microbit"), demand)


def test_exact_fit_is_accepted() -> None:
    board = load_board("qemu-microbit")
    check_fit(board, Demand(arena=16_384, weights=262_144, code=0, static=0, stack=0))
    check_fit(load_board("host"), Demand(2**40, 2**40, 2**40, 2**40, 2**40))


def test_linkers_overflow_is_a_fit_error(tmp_path: Path) -> None:
    """The linker counts what was only bounded before, and is quoted in the same words."""
    board = load_board("qemu-microbit")
    require_board_tools(board)
    full = 16_384 - board.stack_bytes - 128
    project = create_project(copy_of_tiny(tmp_path / "l", arena_bytes=full), board, tmp_path / "p")
    header = project.folder / "model" / "tiny.h"
    header.write_text(header.read_text().replace("ARENA_BYTES 48", f"ARENA_BYTES {full}"))
    with pytest.raises(FitError, match=r"its memory ram is \d+ bytes too small"):
        build_project(project)


def test_weights_beyond_the_code_memory_go_where_the_board_wants_them(tmp_path: Path) -> None:
    """The M55 board's code memory has 512 KB; a megabyte of weights goes to the SRAM."""
    board = load_board("qemu-mps3-an547")
    require_board_tools(board)
    library = copy_of_tiny(tmp_path / "l", weights_bytes=1_067_000)
    source = library / "tiny.c"
    source.write_text(
        source.read_text().replace(
            "static const uint16_t input_shape",
            "MTVM_WEIGHTS const int8_t big[1067000] = {1};\nstatic const uint16_t input_shape",
        )
    )
    project = create_project(library, board, tmp_path / "p")
    built = build_project(project)
    flash = measure(built.elf, project.library).flash
    assert flash.weights >= 1_067_000
    assert flash.code + flash.constants < board.memory("code").size_bytes
    map_text = built.map_file.read_text()
    address = map_text.split("\n.mtvm_weights")[1].split()[0]
    assert int(address, 16) == board.memory("weights").start == 0x31000000


def test_rebuilding_changes_nothing(tmp_path: Path) -> None:
    first = build_tiny("host", tmp_path / "p")
    before = first.elf.stat().st_mtime_ns
    again = build_project(first.project)
    assert again.elf.stat().st_mtime_ns == before


def test_source_that_is_gone_is_noticed(tmp_path: Path) -> None:
    built = build_tiny("host", tmp_path / "p")
    (built.project.folder / "runtime" / "src" / "mtvm_tensor.c").unlink()
    with pytest.raises(ToolError, match="undefined reference"):
        build_project(built.project)
