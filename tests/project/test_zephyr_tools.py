"""What builds a Zephyr application: west or CMake, its modules, the toolchain."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.errors import FitError, ToolError
from microtvm.project import build_project, load_project
from microtvm.project.zephyr import zephyr_board
from microtvm.target import load_board
from tests.zephyr.fake import fake_west, program, tree, workspace, write, zephyr_project

pytestmark = pytest.mark.usefixtures("nothing_chosen")


def test_west_is_driven(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "$PWD $ZEPHYR_BASE $ZEPHYR_TOOLCHAIN_VARIANT" "$@"')
    built = build_project(zephyr_project(tmp_path), strict=True)
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
    said = build_project(zephyr_project(tmp_path), strict=True).log.read_text()
    assert "-- -DEXTRA_CFLAGS=-Werror" in said


def test_failed_configuration_is_not_taken_for_a_build(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """west configures where there is no cache: CMake leaves one also where it fails."""
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "$@"')
    made = zephyr_project(tmp_path)
    write(made.folder / "build" / "CMakeCache.txt", "")
    assert " --cmake " in build_project(made).log.read_text()
    write(made.folder / "build" / "build.ninja", "")
    assert " --cmake " not in build_project(made).log.read_text()


def test_cmake_where_there_is_no_workspace(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(tree(tmp_path / "zephyr", "3.7.1")))
    with pytest.raises(ToolError, match=r"needs Zephyr's module cmsis; .* in no west work") as e:
        build_project(zephyr_project(tmp_path))
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
    made = zephyr_project(tmp_path)
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
    made = zephyr_project(tmp_path, name)
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
        build_project(zephyr_project(tmp_path))
    assert caught.value.hint == "things to try: pip install west"


@pytest.mark.parametrize("name", ["cmake", "ninja"])
def test_missing_cmake(
    name: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    (programs / name).unlink()
    with pytest.raises(ToolError, match=f"needs {name}, which is not on the PATH") as caught:
        build_project(zephyr_project(tmp_path))
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
        build_project(zephyr_project(tmp_path, board))
    assert hint in caught.value.hint


def test_sdk_is_taken_where_it_is(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "variant=$ZEPHYR_TOOLCHAIN_VARIANT"')
    sdk = tmp_path / "home" / "zephyr-sdk-0.16.8"
    sdk.mkdir(parents=True)
    (sdk / "sdk_version").write_text("0.16.8\n")
    assert "variant=\n" in build_project(zephyr_project(tmp_path)).log.read_text()


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
        build_project(zephyr_project(tmp_path))
    assert shown in caught.value.message
    assert hint in caught.value.hint
    assert "build.log" in caught.value.hint


def test_image_that_does_not_fit(
    tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEPHYR_BASE", str(workspace(tmp_path / "w", "3.7.1")))
    fake_west(programs, 'echo "ld: region \\`RAM\' overflowed by 1234 bytes"; exit 1')
    with pytest.raises(FitError, match="its memory RAM is 1,234 bytes too small"):
        build_project(zephyr_project(tmp_path))
