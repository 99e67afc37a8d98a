"""What is looked at before Zephyr builds: the tree, its version, boards, modules and tools."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from microtvm.cli import main
from microtvm.errors import BoardError, FitError, MicrotvmWarning, ToolError, UserError
from microtvm.project import Project, build_project, create_project, load_project
from microtvm.project.zephyr import zephyr_board
from microtvm.project.zephyr_tree import find_tree, versions
from microtvm.target import load_board
from tests.project.image import TINY
from tests.zephyr.fake import program, tree, workspace, write

CHOSEN = (
    "BOARD_ROOT",
    "CROSS_COMPILE",
    "GNUARMEMB_TOOLCHAIN_PATH",
    "ZEPHYR_BASE",
    "ZEPHYR_EXTRA_MODULES",
    "ZEPHYR_MODULES",
    "ZEPHYR_SDK_INSTALL_DIR",
    "ZEPHYR_TOOLCHAIN_VARIANT",
)


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No tree, no toolchain, no SDK of this machine; the working directory is in no workspace."""
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("microtvm.project.zephyr_tools._SDK_FOLDERS", (Path("~"),))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has stand-ins for what builds, and nothing else."""
    folder = tmp_path / "bin"
    for name in ("cmake", "ninja", "arm-none-eabi-gcc", "cc"):
        program(folder, name, "exit 0")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def project(tmp_path: Path, name: str = "qemu-cortex-m3") -> Project:
    return create_project(TINY, load_board(name), tmp_path / "p", platform="zephyr")


def fake_west(folder: Path, build: str, modules: str = "cmsis cmsis_6") -> Path:
    """A west whose workspace has the modules, and whose build does what the script says."""
    lines = "\n".join(rf"printf '%s\t%s\n' {name} /" for name in modules.split())
    return program(folder, "west", f'if [ "$1" = list ]; then\n{lines}\nexit 0\nfi\n{build}')


@pytest.mark.parametrize(
    ("version", "board", "module"),
    [
        ("3.0.0", "mps2_an521", "cmsis"),
        ("3.6.1", "mps2_an385", "cmsis"),
        ("3.7.1", "mps2/an521/cpu0", "cmsis"),
        ("4.1.0", "native_sim/native/64", "cmsis"),
        ("4.2.0", "mps2/an385", "cmsis_6"),
    ],
)
def test_versions(
    version: str, board: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    found = find_tree(tmp_path)
    assert found.version_text == version
    found.require_board(board)
    assert found.modules_of("cortex-m") == (module,)
    assert found.modules_of("riscv") == ()


@pytest.mark.parametrize(
    ("version", "name", "board"),
    [
        ("3.6.1", "qemu-mps2-an521", "mps2_an521"),
        ("3.7.1", "qemu-mps2-an521", "mps2/an521/cpu0"),
        ("3.7.1", "qemu-mps3-an547", "mps3/an547"),
        ("4.0.0", "qemu-mps3-an547", "mps3/corstone300/an547"),
        ("4.2.0", "native-sim", "native_sim/native/64"),
    ],
)
def test_boards_have_the_trees_names(
    version: str, name: str, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    assert zephyr_board(load_board(name)).name(find_tree(tmp_path)) == board


@pytest.mark.parametrize(
    ("version", "board", "message", "near"),
    [
        ("3.6.1", "mps2/an385", "has no board 'mps2/an385'", ""),
        ("3.6.1", "mps2_an386", r"Zephyr 3\.6\.1 in .* has no board 'mps2_an386'", "mps2_an385"),
        ("3.7.1", "mps4/an999", "has no board 'mps4/an999'", "mps3"),
        ("4.2.0", "mps2/an386", "has the board 'mps2', but not with 'an386'", "an385"),
    ],
)
def test_missing_boards(
    version: str,
    board: str,
    message: str,
    near: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", version)))
    with pytest.raises(BoardError, match=message) as caught:
        find_tree(tmp_path).require_board(board)
    assert near in caught.value.hint
    monkeypatch.setenv("BOARD_ROOT", str(tmp_path))
    find_tree(tmp_path).require_board(board)


def test_descriptions_of_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SoC is no board, however often it is named; what extends a board is part of it."""
    folder = workspace(tmp_path, "4.2.0")
    maker = folder / "boards" / "maker"
    for name in ("one", "two"):
        write(maker / name / "board.yml", f"board:\n  name: {name}\n  socs:\n  - name: chip\n")
    write(maker / "more" / "board.yml", "board:\n  extend: one\n  variants:\n  - name: large\n")
    write(
        maker / "list" / "board.yml",
        "boards:\n\n  - name: three\n    socs:\n      - name: chip\n"
        "  - name: four\n    socs:\n    - name: four\n",
    )
    monkeypatch.setenv("ZEPHYR_BASE", str(folder))
    found = find_tree(tmp_path)
    for name in ("one/chip", "two/chip", "one/large", "three/chip", "four/four", "four@B/four"):
        found.require_board(name)
    for name in ("chip", "large", "chip/chip", "other@B"):
        with pytest.raises(BoardError, match=f"has no board '{name}'"):
            found.require_board(name)
    with pytest.raises(BoardError, match="the board 'three', but not with 'other'"):
        found.require_board("three/other")


def test_no_tree(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="there is no Zephyr tree: ZEPHYR_BASE is not set") as e:
        build_project(project(tmp_path))
    assert "export ZEPHYR_BASE=FOLDER" in e.value.hint
    assert "west init" in e.value.hint
    assert "pip install 'microtvm[zephyr]'" in e.value.hint


def test_what_is_no_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tmp_path))
    with pytest.raises(ToolError, match=r"ZEPHYR_BASE says .* which is no Zephyr tree"):
        find_tree(tmp_path)
    (tmp_path / "VERSION").write_text("1.2.3\n")
    with pytest.raises(ToolError, match="it has no VERSION that can be read"):
        find_tree(tmp_path)


def test_blanks_in_the_projects_path(tmp_path: Path) -> None:
    """Zephyr's CMake splits lists of files at them."""
    (tmp_path / "a folder").mkdir()
    with pytest.raises(UserError, match=r"can't build in .*a folder/p: the path has a blank"):
        build_project(project(tmp_path / "a folder"))


def test_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "2.7.4")))
    with pytest.raises(ToolError, match=r"is Zephyr 2\.7\.4; 3\.0 to 4\.2 are supported"):
        build_project(project(tmp_path))


def test_unknown_major_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "5.0.0")))
    with pytest.raises(ToolError, match=r"is Zephyr 5\.0\.0; 3\.0 to 4\.2 are supported") as e:
        build_project(project(tmp_path))
    assert "a newer microtvm" in e.value.hint


def test_version_that_nobody_tried(
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said, and built: by the command as one line, without a place in the source."""
    found = workspace(tmp_path / "w", "4.3.0")
    monkeypatch.setenv("ZEPHYR_BASE", str(found))
    fake_west(programs, "exit 1")
    folder = project(tmp_path).folder
    with pytest.warns(
        MicrotvmWarning, match=r"is Zephyr 4\.3\.0; projects were tried with 3\.0 to"
    ):
        find_tree(tmp_path)
    with pytest.raises(SystemExit):
        main(["build", str(folder)])
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {found} is Zephyr 4.3.0; projects were tried with 3.0 to 4.2")
    assert ".py" not in said
    tree(found, "4.2.99")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_tree(tmp_path).version == versions()[1]


def test_workspace_around_the_project(tmp_path: Path) -> None:
    found = workspace(tmp_path / "w", "3.7.0")
    (tmp_path / "w" / "apps" / "p").mkdir(parents=True)
    assert find_tree(tmp_path / "w" / "apps" / "p").folder == found
    assert find_tree(tmp_path / "w" / "apps" / "p").workspace == tmp_path / "w"
    config = tmp_path / "w" / ".west" / "config"
    config.write_text("[manifest]\npath = own\n[zephyr]\nbase = elsewhere\n")
    with pytest.raises(ToolError, match=r"the workspace .*w says that Zephyr is in .*elsewhere"):
        find_tree(tmp_path / "w" / "apps" / "p")


def test_workspace_around_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(tmp_path / "w", "3.7.0")
    monkeypatch.chdir(found)
    assert find_tree(tmp_path / "p").folder == found


def test_west_is_driven(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "$PWD $ZEPHYR_BASE $ZEPHYR_TOOLCHAIN_VARIANT" "$@"')
    built = build_project(project(tmp_path), strict=True)
    said = built.log.read_text()
    base = tmp_path / "w" / "zephyr"
    assert f"{base} {base} gnuarmemb build --pristine=auto --board=qemu_cortex_m3" in said
    folder = tmp_path / "p" / "build"
    assert f"--build-dir={folder} --cmake --build-opt=-j2 {tmp_path / 'p'}" in said
    assert "-- -DCONFIG_COMPILER_WARNINGS_AS_ERRORS=y" in said
    assert built.elf == folder / "zephyr" / "zephyr.elf"


def test_warnings_are_errors_in_every_version(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.2.0")))
    fake_west(programs, 'echo "$@"')
    said = build_project(project(tmp_path), strict=True).log.read_text()
    assert "-- -DEXTRA_CFLAGS=-Werror" in said


def test_failed_configuration_is_not_taken_for_a_build(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """west configures where there is no cache: CMake leaves one also where it fails."""
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "$@"')
    made = project(tmp_path)
    write(made.folder / "build" / "CMakeCache.txt", "")
    assert " --cmake " in build_project(made).log.read_text()
    write(made.folder / "build" / "build.ninja", "")
    assert " --cmake " not in build_project(made).log.read_text()


def test_cmake_where_there_is_no_workspace(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "3.7.1")))
    with pytest.raises(ToolError, match=r"needs Zephyr's module cmsis; .* in no west work") as e:
        build_project(project(tmp_path))
    assert "west init -l" in e.value.hint
    (tmp_path / "cmsis").mkdir()
    monkeypatch.setenv("ZEPHYR_MODULES", f"{tmp_path}/none;{tmp_path}/cmsis")
    program(programs, "cmake", f'echo "$@" >> {tmp_path}/calls')
    build_project(load_project(tmp_path / "p"))
    configured, built = (tmp_path / "calls").read_text().splitlines()
    assert configured.startswith("-GNinja -B ")
    assert configured.endswith("-DBOARD=qemu_cortex_m3")
    assert built == f"--build {tmp_path / 'p' / 'build'} --parallel 2"


def test_missing_module_is_told_by_west_itself(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real west lists what its manifest has."""
    found = workspace(tmp_path / "w", "3.7.1")
    monkeypatch.setenv("ZEPHYR_BASE", str(found))
    made = project(tmp_path)
    config = tmp_path / "w" / ".west" / "config"
    text = config.read_text()
    config.write_text(f"{text}project-filter = -cmsis\n")
    with pytest.raises(ToolError, match="needs Zephyr's module cmsis, which the workspace") as e:
        build_project(made)
    assert "west config manifest.project-filter -- +cmsis; west update cmsis" in e.value.hint
    config.write_text(text)
    (tmp_path / "w" / "modules" / "hal" / "cmsis").rmdir()
    with pytest.raises(ToolError, match="needs Zephyr's module cmsis") as e:
        build_project(made)
    assert e.value.hint == "things to try: west update cmsis"
    (found / "west.yml").write_text("manifest: nothing\n")
    with pytest.raises(ToolError, match="west can't list the projects"):
        build_project(made)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("nucleo_f411re", "hal_stm32"),
        ("nrf52dk", "hal_nordic"),
        ("rpi_pico", "hal_rpi_pico"),
        ("mimxrt1060_evk", "hal_nxp"),
        ("arduino_zero", "hal_atmel"),
    ],
)
def test_chips_module_is_missing(
    name: str, module: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each maker's chips need its drivers, which a manifest may leave out."""
    base = workspace(tmp_path / "w", "3.7.1")
    zephyr = zephyr_board(load_board(name))
    stem, _, soc = zephyr.board.partition("/")
    described = base / "boards" / "maker" / stem / "board.yml"
    described.parent.mkdir(parents=True)
    described.write_text(f"board:\n  name: {stem}\n  socs:\n  - name: {soc or 'chip'}\n")
    monkeypatch.setenv("ZEPHYR_BASE", str(base))
    fake_west(programs, "exit 0", modules="cmsis")
    made = project(tmp_path, name)
    with pytest.raises(ToolError, match=f"needs Zephyr's module {module}, which") as caught:
        build_project(made)
    filtered = f"west config manifest.project-filter -- +{module}; west update {module}"
    assert filtered in caught.value.hint
    fake_west(programs, "exit 0", modules=f"cmsis {module}")
    build_project(made)


def test_missing_west(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ToolError, match=r"in the workspace .*w needs west") as caught:
        build_project(project(tmp_path))
    assert caught.value.hint == "things to try: pip install west"


@pytest.mark.parametrize("name", ["cmake", "ninja"])
def test_missing_cmake(
    name: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    (programs / name).unlink()
    with pytest.raises(ToolError, match=f"needs {name}, which is not on the PATH") as caught:
        build_project(project(tmp_path))
    assert f"apt-get install {name}" in caught.value.hint


@pytest.mark.parametrize(
    ("chosen", "board", "message", "hint"),
    [
        ({}, "qemu-riscv32", "needs a toolchain, and Zephyr's SDK is not", "cross-compile"),
        ({}, "qemu-cortex-m3", "needs a toolchain", "apt-get install gcc-arm-none-eabi"),
        ({}, "native-sim", "needs cc, which is not on the PATH", "apt-get install gcc"),
        (
            {"ZEPHYR_TOOLCHAIN_VARIANT": "zephyr"},
            "qemu-cortex-m3",
            "needs a toolchain",
            "ZEPHYR_SDK_INSTALL_DIR",
        ),
        (
            {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb"},
            "qemu-cortex-m3",
            "is gnuarmemb, but GNUARMEMB_TOOLCHAIN_PATH is not set",
            "export GNUARMEMB_TOOLCHAIN_PATH=/usr",
        ),
        (
            {"ZEPHYR_TOOLCHAIN_VARIANT": "gnuarmemb", "GNUARMEMB_TOOLCHAIN_PATH": "/nowhere"},
            "qemu-cortex-m3",
            "GNUARMEMB_TOOLCHAIN_PATH is '/nowhere': there must be bin/arm-none-eabi-gcc",
            "/usr",
        ),
        (
            {"ZEPHYR_TOOLCHAIN_VARIANT": "cross-compile", "CROSS_COMPILE": "/nowhere/rv-"},
            "qemu-riscv32",
            "CROSS_COMPILE is '/nowhere/rv-', but there is no /nowhere/rv-gcc",
            "without gcc",
        ),
    ],
)
def test_missing_toolchains(
    chosen: dict[str, str],
    board: str,
    message: str,
    hint: str,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("arm-none-eabi-gcc", "cc"):
        (programs / name).unlink()
    found = workspace(tmp_path / "w", "3.7.1")
    (found / "boards/qemu/riscv32").mkdir(parents=True)
    (found / "boards/qemu/riscv32/board.yml").write_text("board:\n  name: qemu_riscv32\n")
    for name, value in {"ZEPHYR_BASE": str(found), **chosen}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ToolError, match=message) as caught:
        build_project(project(tmp_path, board))
    assert hint in caught.value.hint


def test_sdk_is_taken_where_it_is(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "variant=$ZEPHYR_TOOLCHAIN_VARIANT"')
    sdk = tmp_path / "home" / "zephyr-sdk-0.16.8"
    sdk.mkdir(parents=True)
    (sdk / "sdk_version").write_text("0.16.8\n")
    assert "variant=\n" in build_project(project(tmp_path)).log.read_text()


KCONFIG = """
Parsing /tmp/p/Kconfig
warning: attempt to assign the value 'y' to the undefined symbol COLOUR
error: Aborting due to Kconfig warnings
CMake Error at kconfig.cmake:389 (message):
  command failed with return code: 1
"""

OLD_KCONFIG = """
/tmp/p/prj.conf:2: warning: attempt to assign the value 'y' to the undefined symbol COLOUR

error: Aborting due to Kconfig warnings
"""

CMAKE = """
-- Board: mps2
CMake Error at cmake/extensions.cmake:2960 (message):
  Multiple files found.

  Please choose one.
FATAL ERROR: command exited with status 1: cmake
"""

COMPILER = """
[7/9] Building C object main.c.obj
FAILED: CMakeFiles/app.dir/src/main.c.obj
/tmp/p/src/main.c:12:9: error: 'undeclared' undeclared (first use in this function)
ninja: build stopped: subcommand failed.
FATAL ERROR: command exited with status 1: cmake --build
"""

NEWLIB = """
toolchain/gcc.h:87:36: error: static assertion failed: "Retargetable locking must be enabled"
"""

SCRIPTS = """
-- Found west
Traceback (most recent call last):
  File "edtlib.py", line 7, in <module>
ModuleNotFoundError: No module named 'yaml'
"""

BITS = """
/usr/include/features.h:5:10: fatal error: bits/libc-header-start.h: No such file or directory
"""

REGION = """
CMake Error at module/CMakeLists.txt:25 (message):
  microtvm,weights is /sram@11000000, which has no property
  zephyr,memory-region
"""

OVERLAP = """
ld.bfd: error: microtvm,arena and microtvm,weights overlap in one memory region
"""

ARENA = """
server.c:27:2: error: #error "microtvm,arena must be a node with the property zephyr,memory-region"
"""

HEADER = """
main.c:1:10: fatal error: stm32f4xx.h: No such file or directory
"""


@pytest.mark.parametrize(
    ("output", "shown", "hint"),
    [
        (KCONFIG, "failed:\nwarning: attempt to assign the value 'y' to the undefined", ""),
        (OLD_KCONFIG, "failed:\n/tmp/p/prj.conf:2: warning: attempt to assign", ""),
        (CMAKE, "failed:\nCMake Error at cmake/extensions.cmake:2960 (message):\n  Multiple", ""),
        (COMPILER, "failed:\n/tmp/p/src/main.c:12:9: error: 'undeclared' undeclared", ""),
        (NEWLIB, "Retargetable locking", "Debian's newlib is built without the locks"),
        (SCRIPTS, "No module named 'yaml'", "pip install -r $ZEPHYR_BASE/scripts/requirements"),
        (BITS, "fatal error: bits/", "apt-get install gcc-multilib"),
        (REGION, "microtvm,weights is /sram@1", "--option weights=LABEL of one that it does"),
        (OVERLAP, "and microtvm,weights overlap", "create the project again with --option arena="),
        (ARENA, "error: #error", "--option arena=LABEL of one that it does"),
        (HEADER, "fatal error: stm32f4xx.h", "west config manifest.project-filter -- +MODULE"),
    ],
)
def test_telling_lines_of_a_failed_build(
    output: str,
    shown: str,
    hint: str,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    (tmp_path / "output").write_text(output)
    fake_west(programs, f"/bin/cat {tmp_path / 'output'}; exit 1")
    with pytest.raises(ToolError) as caught:
        build_project(project(tmp_path))
    assert shown in caught.value.message
    assert hint in caught.value.hint
    assert "build.log" in caught.value.hint


def test_image_that_does_not_fit(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "ld: region \\`RAM\' overflowed by 1234 bytes"; exit 1')
    with pytest.raises(FitError, match="its memory RAM is 1,234 bytes too small"):
        build_project(project(tmp_path))
