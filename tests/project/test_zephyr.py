"""Zephyr's projects as they are written, for every board; and what a board's table may say."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import yaml

from microtvm.errors import BoardError, UserError
from microtvm.project import Project, create_project, load_project
from microtvm.project.zephyr import find_board, zephyr_board
from microtvm.target import Board, list_boards, load_board
from tests.project.image import TINY

BOARDS = [name for name in list_boards() if "zephyr" in load_board(name).platforms]
PROMISED = {
    "native-sim": "native_sim/native/64",
    "native-sim-32": "native_sim/native",
    "qemu-cortex-m3": "qemu_cortex_m3",
    "qemu-mps2-an385": "mps2/an385",
    "qemu-mps2-an521": "mps2/an521/cpu0",
    "qemu-mps3-an547": "mps3/an547",
    "qemu-riscv32": "qemu_riscv32",
}


def made(name: str, folder: Path, **options: str | int | bool) -> Project:
    return create_project(TINY, load_board(name), folder, platform="zephyr", options=options)


def with_table(**table: str | int) -> Board:
    return dataclasses.replace(load_board("qemu-cortex-m3"), settings={"zephyr": table})


def test_promised_boards() -> None:
    assert {n: zephyr_board(load_board(n)).board for n in PROMISED} == PROMISED
    assert set(PROMISED) <= set(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
def test_project_is_an_application_with_a_module(name: str, tmp_path: Path) -> None:
    project = made(name, tmp_path / "p")
    zephyr = zephyr_board(project.board)
    files = {
        str(file.relative_to(tmp_path / "p")) for file in tmp_path.rglob("*") if file.is_file()
    }
    assert {"CMakeLists.txt", "Kconfig", "prj.conf", "sample.yaml", "src/main.c"} <= files
    assert {"module/zephyr/module.yml", "module/Kconfig", "module/CMakeLists.txt"} <= files
    assert {"module/model/tiny.c", "module/runtime/src/mtvm_server.c"} <= files
    overlays = {file for file in files if file.endswith(".overlay")}
    if zephyr.renamed:
        assert overlays == {"app.overlay"}
    else:
        assert overlays == {f"boards/{zephyr.file}.overlay", f"boards/{zephyr.old}.overlay"}
    assert not [file for file in files if file.endswith((".j2", ".py", ".toml"))]
    assert load_project(tmp_path / "p") == project
    sample = yaml.safe_load((tmp_path / "p" / "sample.yaml").read_text())
    # twister stops at a platform that its tree doesn't have.
    named = sample["common"].get("platform_allow", "")
    assert named == ("" if zephyr.renamed else zephyr.board)
    module = yaml.safe_load((tmp_path / "p/module/zephyr/module.yml").read_text())
    assert (tmp_path / "p/module" / module["build"]["kconfig"]).is_file()


def test_modules_of_two_models_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, library and options; the server's options are those of the model that is served."""
    kconfiglib = pytest.importorskip("kconfiglib")
    first = made("qemu-cortex-m3", tmp_path / "first").folder / "module"
    second = tmp_path / "second"
    shutil.copytree(TINY, tmp_path / "other")
    for file in (tmp_path / "other").iterdir():
        text = file.read_text().replace("tiny", "other").replace("TINY", "OTHER")
        file.with_name(file.name.replace("tiny", "other")).write_text(text)
    create_project(
        tmp_path / "other", load_board("qemu-cortex-m3"), second, platform="zephyr", stack_bytes=512
    )
    names = [
        yaml.safe_load((folder / "zephyr/module.yml").read_text())["name"]
        for folder in (first, second / "module")
    ]
    assert names == ["microtvm_tiny", "microtvm_other"]
    for name, folder in zip(names, (first, second / "module"), strict=True):
        assert f"zephyr_library_named({name})" in (folder / "CMakeLists.txt").read_text()
    (tmp_path / "Kconfig").write_text(
        "config SERIAL\n\tbool\n\tdefault y\n"
        f'source "{first}/Kconfig"\nsource "{second}/module/Kconfig"\n'
    )
    monkeypatch.setenv("srctree", str(tmp_path))
    config = kconfiglib.Kconfig("Kconfig")
    for name in ("MICROTVM_TINY", "MICROTVM_OTHER", "MICROTVM_OTHER_SERVER"):
        config.syms[name].set_value("y")
    assert config.syms["MICROTVM_TINY_SERVER"].str_value == "n"
    assert config.syms["MICROTVM_STACK_BYTES"].str_value == "512"
    assert config.warnings == []


def test_board_without_the_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not support the platform 'zephyr'") as caught:
        made("qemu-mps2-an505", tmp_path / "p")
    assert caught.value.hint == "it supports: baremetal"


@pytest.mark.parametrize("name", BOARDS)
def test_options_that_are_set_exist(name: str, tmp_path: Path) -> None:
    """The module's in its Kconfig; Zephyr aborts at names that it doesn't know."""
    project = made(name, tmp_path / "p")
    defined = set(
        re.findall(r"^config (\w+)$", (project.folder / "module/Kconfig").read_text(), re.MULTILINE)
    )
    for file in project.folder.rglob("*.conf"):
        for line in file.read_text().splitlines():
            if line and not line.startswith("#"):
                option, value = line.split("=")
                assert re.fullmatch(r"y|n|\d+", value)
                own = option.removeprefix("CONFIG_")
                assert own in defined or not own.startswith("MICROTVM")


@pytest.mark.parametrize(
    ("board", "old", "file"),
    [
        ("mps2/an385", "mps2_an385", "mps2_an385"),
        ("mps2/an521/cpu0", "mps2_an521", "mps2_an521_cpu0"),
        ("native_sim/native", "native_sim", "native_sim"),
        ("native_sim/native/64", "native_sim_64", "native_sim_64"),
        ("nucleo_f746zg", "nucleo_f746zg", "nucleo_f746zg"),
        ("nucleo_h745zi_q/stm32h745xx/m7", "nucleo_h745zi_q_m7", "nucleo_h745zi_q_m7"),
    ],
)
def test_boards_files_are_found_by_every_version(board: str, old: str, file: str) -> None:
    zephyr = zephyr_board(with_table(board=board, old=old))
    assert zephyr.file == file


def test_link_takes_the_consoles_uart(tmp_path: Path) -> None:
    project = made("qemu-mps2-an385", tmp_path / "p")
    assert "CONFIG_UART_CONSOLE=n" in (project.folder / "prj.conf").read_text()
    overlay = (project.folder / "boards/mps2_an385.overlay").read_text()
    assert "microtvm,rpc-uart =" not in overlay
    argv = project.platform.emulator_argv(project, "{serial}")
    assert argv.count("-serial") == 1
    assert argv[argv.index("-kernel") + 1] == str(tmp_path / "p/build/zephyr/zephyr.elf")


def test_link_beside_the_console(tmp_path: Path) -> None:
    project = made("qemu-mps2-an385", tmp_path / "p", console=True)
    assert "CONSOLE=n" not in (project.folder / "prj.conf").read_text()
    overlay = (project.folder / "boards/mps2_an385.overlay").read_text()
    assert "microtvm,rpc-uart = &uart1;" in overlay
    assert '&uart1 {\n\tstatus = "okay";\n};' in overlay
    argv = project.platform.emulator_argv(project, "X")
    first = argv.index("-serial")
    console = f"file:{tmp_path / 'p/build/console.log'}"
    assert argv[first : first + 4] == ["-serial", console, "-serial", "X"]


def test_memories_are_chosen(tmp_path: Path) -> None:
    overlay = "app.overlay"
    project = made("qemu-mps3-an547", tmp_path / "p")
    text = (project.folder / overlay).read_text()
    assert "microtvm,weights = &sram;" in text
    assert "microtvm,arena =" not in text
    project = made("qemu-mps3-an547", tmp_path / "q", arena="sram", weights="itcm")
    text = (project.folder / overlay).read_text()
    assert "microtvm,arena = &sram;" in text
    assert "microtvm,weights = &itcm;" in text


def test_memory_is_a_region_in_every_tree(tmp_path: Path) -> None:
    """Early trees have the AN547's SRAM as a memory that no linker knows."""
    text = (made("qemu-mps3-an547", tmp_path / "p").folder / "app.overlay").read_text()
    assert '&sram {\n\tcompatible = "zephyr,memory-region", "mmio-sram";' in text
    assert '\tzephyr,memory-region = "SSRAM";\n};' in text
    other = made("qemu-cortex-m3", tmp_path / "q").folder / "boards/qemu_cortex_m3.overlay"
    assert "memory-region =" not in other.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"console": True}, "board qemu-riscv32 has no second UART for a link beside"),
        ({"window_bytes": 39}, "window_bytes of platform zephyr must be 40 to 32767, found 39"),
        ({"arena": "&sram"}, "option arena of platform zephyr must be a devicetree label"),
        ({"weights": "a b"}, "option weights of platform zephyr must be a devicetree label"),
        ({"colour": "red"}, "platform zephyr has no option 'colour'"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, str | int | bool], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        made("qemu-riscv32", tmp_path / "p", **options)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"platform\.zephyr\.board must be a string, found None"),
        ({"board": "a", "uarts": "b"}, r"platform\.zephyr\.uarts is unknown"),
        ({"board": "a b"}, r"platform\.zephyr\.board must be a name such as"),
        ({"board": "a", "serial": "1"}, r"platform\.zephyr\.serial must be 0 to 15, found '1'"),
        ({"board": "a", "weights": "&b"}, r"platform\.zephyr\.weights must be a devicetree label"),
        (
            {"board": "a", "weights": "b", "region": "c d"},
            r"platform\.zephyr\.region must be a dev",
        ),
        ({"board": "a", "region": "C"}, r"region names the memory of .*weights, which is missing"),
        ({"board": "a", "modules": 1}, r"platform\.zephyr\.modules must be a string, found 1"),
    ],
)
def test_mistakes_of_a_boards_table(
    table: dict[str, str | int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BoardError, match=message):
        create_project(TINY, with_table(**table), tmp_path / "p", platform="zephyr")


def test_boards_by_zephyrs_names() -> None:
    assert find_board("qemu-mps2-an385") == find_board("mps2_an385") == "qemu-mps2-an385"
    assert find_board("mps3/corstone300/an547") == find_board("mps3/an547") == "qemu-mps3-an547"
    assert find_board("mps2/an521/cpu0") == "qemu-mps2-an521"
    assert find_board("own.toml") == "own.toml"
    with pytest.raises(BoardError, match="there is no board 'mps2/an368'") as caught:
        find_board("mps2/an368")
    assert "mps2/an385" in caught.value.hint


def test_two_boards_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    same = load_board("qemu-cortex-m3")
    boards = {n: dataclasses.replace(same, name=n) for n in ("a", "b")}
    monkeypatch.setattr("microtvm.project.zephyr.list_boards", lambda: sorted(boards))
    monkeypatch.setattr("microtvm.project.zephyr.load_board", boards.__getitem__)
    with pytest.raises(BoardError, match="several boards are 'qemu_cortex_m3'") as caught:
        find_board("qemu_cortex_m3")
    assert caught.value.hint == "choose one: a, b"
