"""Projects that are really built: only where ZEPHYR_BASE names a tree with what its boards need."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from microtvm.inference import prefix_of
from microtvm.pipeline import compile_model
from microtvm.project import Built, Value, build_project, create_project
from microtvm.project.zephyr import zephyr_board
from microtvm.project.zephyr_tree import find_tree
from microtvm.target import load_board
from tests.conftest import lacking, require_tool
from tests.golden.mlperf import model_file
from tests.zephyr.fake import program

WRAPPER = """\
for word; do
    shift
    case $word in -march=*) word=$(echo "$word" | sed 's/_zicsr_zifencei//') ;; esac
    set -- "$@" "$word"
done
exec {compiler} -misa-spec=2.2 "$@"
"""
"""GCC 12 of Debian has no libraries for the names that the base set's two parts got later."""


@pytest.fixture(scope="session")
def zephyr_base() -> Path:
    """The tree of ZEPHYR_BASE; without it nothing here can be built."""
    named = os.environ.get("ZEPHYR_BASE")
    if not named:
        pytest.skip("ZEPHYR_BASE is not set: no Zephyr tree to build with")
    for name in ("cmake", "ninja"):
        require_tool(name)
    return Path(named)


@dataclass
class Builder:
    """Builds models for one board in one folder: what is Zephyr's is compiled once."""

    board: str
    folder: Path
    options: Mapping[str, Value]

    @property
    def project(self) -> Path:
        """Where the project is."""
        return self.folder / "project"

    def build(self, model: str) -> Built:
        """The image of a shared model, with no warning where Zephyr itself has none: its images
        for RISC-V have a segment that can be written and executed."""
        board = load_board(self.board)
        file = model_file(model)
        library = self.folder / "library" / model
        if not library.is_dir():
            compile_model(file, board.cpu, prefix=prefix_of(file)).library.write(library)
        kept = self.folder / "kept"
        if (self.project / "build").is_dir():
            shutil.move(self.project / "build", kept)
        project = create_project(
            library, board, self.project, platform="zephyr", options=self.options, force=True
        )
        if kept.is_dir():
            shutil.move(kept, self.project / "build")
        return build_project(project, strict=board.cpu.family != "riscv")


OPTIONS: Mapping[str, Mapping[str, Value]] = {
    "qemu-mps2-an385": {"console": True},
    "qemu-mps3-an547": {"arena": "sram"},
}
"""So that every option is built on some board."""

EARLY: Mapping[str, Mapping[str, Value]] = {"qemu-mps3-an547": {}}
"""Before Zephyr 3.7 a region can't have both the arena and the weights."""

_BUILDERS: dict[str, Builder] = {}


@pytest.fixture
def builders(
    zephyr_base: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Builders:
    """The builder of a board; for RISC-V with a compiler that this board can be built with."""
    return Builders(tmp_path_factory, monkeypatch)


@dataclass(frozen=True)
class Builders:
    """Makes builders, one a board for the whole run."""

    folders: pytest.TempPathFactory
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, board: str) -> Builder:
        """The board's; sets what its toolchain needs for this test. Skips it where the tree is
        older than the board."""
        tree = find_tree(Path.cwd())
        early = tree.version < (3, 7, 0)
        if early and not tree.has_board(zephyr_board(load_board(board)).old):
            pytest.skip(f"Zephyr {tree.version_text} is older than the board {board}")
        if board == "native-sim-32":
            require_32_bits(self.folders.mktemp("bits"))
        if board not in _BUILDERS:
            folder = self.folders.mktemp(board)
            options = OPTIONS.get(board, {})
            options = EARLY.get(board, options) if early else options
            _BUILDERS[board] = Builder(board, folder, options)
        if board == "qemu-riscv32" and not os.environ.get("ZEPHYR_SDK_INSTALL_DIR"):
            prefix = cross_compiler(_BUILDERS[board].folder / "toolchain")
            self.monkeypatch.setenv("ZEPHYR_TOOLCHAIN_VARIANT", "cross-compile")
            self.monkeypatch.setenv("CROSS_COMPILE", prefix)
        return _BUILDERS[board]


def require_32_bits(folder: Path) -> None:
    """Libraries of 32 bits for the host's compiler."""
    source = folder / "main.c"
    source.write_text("#include <stdint.h>\nint main(void) { return 0; }\n")
    argv = [require_tool("gcc"), "-m32", source, "-o", folder / "main"]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        lacking("gcc -m32 finds no libraries: apt-get install gcc-multilib")


def cross_compiler(folder: Path) -> str:
    """The RISC-V toolchain of the PATH, its compiler behind the wrapper; what CROSS_COMPILE is."""
    prefix = "riscv64-unknown-elf-"
    compiler = Path(require_tool(f"{prefix}gcc"))
    if not folder.is_dir():
        folder.mkdir()
        for tool in compiler.parent.glob(f"{prefix}*"):
            (folder / tool.name).symlink_to(tool)
        (folder / compiler.name).unlink()
        program(folder, compiler.name, WRAPPER.format(compiler=compiler))
    return str(folder / prefix)
