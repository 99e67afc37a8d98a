"""Zephyr trees that have what is looked at before a build, and programs that play back a build."""

from __future__ import annotations

from pathlib import Path

from microtvm.project import Project, create_project
from microtvm.target import load_board
from tests.project.image import TINY

MPS2 = """\
board:
  name: mps2
  vendor: arm
  socs:
  - name: an385
  - name: an521
    variants:
    - name: ns
      cpucluster: cpu0
"""

MPS3 = "board:\n  name: mps3\n  vendor: arm\n  socs:\n  - name: 'an547'\n"

# Since 4.0.
MPS3_LATER = """\
board:
  name: mps3
  socs:
  - name: 'corstone300'
    variants:
    - name: 'an547'
  - name: 'corstone310'
"""

BOTH = """\
boards:
- name: qemu_cortex_m3
  vendor: ti
  socs:
  - name: ti_lm3s6965
- name: native_sim
  vendor: zephyr
  socs:
  - name: native
    variants:
    - name: "64"
"""

MANIFEST = """\
manifest:
  projects:
    - name: cmsis
      url: https://example.com/cmsis
      path: modules/hal/cmsis
    - name: cmsis_6
      url: https://example.com/cmsis_6
      path: modules/hal/cmsis_6
  self:
    path: zephyr
"""


def write(file: Path, text: str) -> None:
    """The file with its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def tree(folder: Path, version: str) -> Path:
    """A tree of that version, as it would be in its workspace."""
    major, minor, patch = (int(part) for part in version.split("."))
    write(
        folder / "VERSION",
        f"VERSION_MAJOR = {major}\nVERSION_MINOR = {minor}\nPATCHLEVEL = {patch}\n"
        "VERSION_TWEAK = 0\nEXTRAVERSION =\n",
    )
    if (major, minor) >= (3, 7):
        write(folder / "boards/arm/mps2/board.yml", MPS2)
        write(folder / "boards/arm/mps3/board.yml", MPS3_LATER if major > 3 else MPS3)
        write(folder / "boards/some/others/board.yml", BOTH)
    else:
        for name in ("mps2_an385", "mps2_an521", "qemu_cortex_m3"):
            write(folder / f"boards/arm/{name}/{name}_defconfig", "CONFIG_SERIAL=y\n")
    write(
        folder / "Kconfig.zephyr",
        "config COMPILER_WARNINGS_AS_ERRORS\n\tbool\n" if (major, minor) >= (3, 3) else "",
    )
    write(folder / "modules/cmsis/Kconfig", "config HAS_CMSIS_CORE_M\n\tbool\n")
    if (major, minor) >= (4, 1):
        wanted = "HAS_CMSIS_CORE_M" if (major, minor) >= (4, 2) else "ZEPHYR_CMSIS_6_MODULE"
        write(folder / "modules/cmsis_6/Kconfig", f"config {wanted}\n\tbool\n")
    write(folder / "west.yml", MANIFEST)
    return folder


def workspace(folder: Path, version: str) -> Path:
    """A workspace with a tree, and with the modules; returns the tree."""
    write(folder / ".west" / "config", "[manifest]\npath = zephyr\nfile = west.yml\n")
    for module in ("cmsis", "cmsis_6"):
        (folder / "modules" / "hal" / module).mkdir(parents=True)
    return tree(folder / "zephyr", version)


def program(folder: Path, name: str, script: str) -> Path:
    """A program of the shell."""
    write(folder / name, f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder / name


def zephyr_project(tmp_path: Path, name: str = "qemu-cortex-m3") -> Project:
    """Of the model `tiny`, in the folder `p`."""
    return create_project(TINY, load_board(name), tmp_path / "p", platform="zephyr")


def fake_west(folder: Path, build: str, modules: str = "cmsis cmsis_6") -> Path:
    """A west whose workspace has the modules, and whose build does what the script says."""
    lines = "\n".join(rf"printf '%s\t%s\n' {name} /" for name in modules.split())
    return program(folder, "west", f'if [ "$1" = list ]; then\n{lines}\nexit 0\nfi\n{build}')
