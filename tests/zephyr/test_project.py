"""A project in the hands of its owner: moved, changed, taken apart, too large."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from microtvm.errors import FitError, ToolError
from microtvm.inference import boot, run_project
from microtvm.project import Built, build_project, create_project, load_project
from microtvm.project.zephyr_tools import find_west
from microtvm.target import load_board
from tests.golden.mlperf import goldens
from tests.project.image import TINY
from tests.zephyr.conftest import Builders
from tests.zephyr.fake import write
from tests.zephyr.test_run import SMALL, check_goldens

APPLICATION = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strww_int8.h"

static uint8_t arena[STRWW_INT8_ARENA_BYTES] __attribute__((aligned(STRWW_INT8_ARENA_ALIGN)));
static const int8_t input[] = {%s};

int main(void)
{
	const struct mtvm_model *model = &strww_int8_model;
	const struct mtvm_tensor *x = &model->tensors[model->inputs[0]];
	const struct mtvm_tensor *y = &model->tensors[model->outputs[0]];

	memcpy(arena + x->offset, input, sizeof(input));
	model->run(arena);
	for (uint32_t i = 0; i < y->size; i++) {
		printf("%%d\\n", ((int8_t *)arena)[y->offset + i]);
	}
	exit(0);
}
"""


def west(folder: Path, *words: object, **variables: str) -> str:
    """What the real west prints; it must succeed, and can't import microtvm."""
    poison = folder / "poison"
    write(poison / "microtvm" / "__init__.py", "raise ImportError('microtvm is not installed')\n")
    done = subprocess.run(
        [find_west(folder), *map(str, words)],
        cwd=os.environ["ZEPHYR_BASE"],
        env={**os.environ, "PYTHONPATH": str(poison), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@contextmanager
def changed(file: Path, text: str) -> Iterator[None]:
    """Another text for a while."""
    before = file.read_text()
    file.write_text(text)
    try:
        yield
    finally:
        file.write_text(before)


def addresses(built: Built) -> dict[str, int]:
    with built.elf.open("rb") as stream:
        return {
            symbol.name: symbol["st_value"]
            for section in ELFFile(stream).iter_sections()
            if isinstance(section, SymbolTableSection)
            for symbol in section.iter_symbols()
        }


def host_toolchain() -> dict[str, str]:
    chosen = os.environ.get("ZEPHYR_TOOLCHAIN_VARIANT")
    return {} if chosen else {"ZEPHYR_TOOLCHAIN_VARIANT": "host"}


@pytest.mark.qemu
def test_moved_project_builds_with_west_alone(builders: Builders, tmp_path: Path) -> None:
    project = builders("native-sim").build(SMALL).project
    moved = tmp_path / "taken-away"
    shutil.copytree(project.folder, moved, ignore=shutil.ignore_patterns("build"))
    build = tmp_path / "b"
    name = project.board.settings["zephyr"]["board"]
    west(tmp_path, "build", "-b", name, "-d", build, moved, **host_toolchain())
    image = moved / "build" / "zephyr" / "zephyr.exe"
    image.parent.mkdir(parents=True)
    shutil.move(build / "zephyr" / "zephyr.exe", image)
    with boot(load_project(moved), tmp_path).session as session:
        check_goldens(session, SMALL, 2)


@pytest.mark.qemu
def test_existing_application_takes_the_module(builders: Builders, tmp_path: Path) -> None:
    project = builders("native-sim").build(SMALL).project
    x, y = goldens(SMALL)
    application = tmp_path / "application"
    numbers = ", ".join(str(value) for value in x[0].ravel())
    write(application / "main.c", APPLICATION % numbers)
    write(application / "prj.conf", "CONFIG_STDOUT_CONSOLE=y\n")
    write(
        application / "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20.0)\n"
        "find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})\n"
        "project(own)\ntarget_sources(app PRIVATE main.c)\n",
    )
    name = project.board.settings["zephyr"]["board"]
    build = tmp_path / "b"
    options = [
        f"-DEXTRA_ZEPHYR_MODULES={project.folder / 'module'}",
        "-DCONFIG_MICROTVM_STRWW_INT8=y",
    ]
    west(
        tmp_path, "build", "-b", name, "-d", build, application, "--", *options, **host_toolchain()
    )
    image = build / "zephyr" / "zephyr.exe"
    said = subprocess.run([image], capture_output=True, text=True, timeout=60, check=True).stdout
    numbers_said = [int(line) for line in said.split() if line.lstrip("-").isdigit()]
    np.testing.assert_array_equal(numbers_said[-y[0].size :], y[0].ravel())


TWO = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ad01_int8.h"
#include "strww_int8.h"

static void show(const struct mtvm_model *model, uint8_t *arena, int value)
{
	const struct mtvm_tensor *x = &model->tensors[model->inputs[0]];
	const struct mtvm_tensor *y = &model->tensors[model->outputs[0]];

	memset(arena + x->offset, value, x->size);
	model->run(arena);
	for (uint32_t i = 0; i < y->size; i++) {
		printf("%d\\n", ((int8_t *)arena)[y->offset + i]);
	}
}

static uint8_t first[AD01_INT8_ARENA_BYTES] __attribute__((aligned(AD01_INT8_ARENA_ALIGN)));
static uint8_t second[STRWW_INT8_ARENA_BYTES] __attribute__((aligned(STRWW_INT8_ARENA_ALIGN)));

int main(void)
{
	show(&ad01_int8_model, first, 5);
	show(&strww_int8_model, second, 5);
	exit(0);
}
"""


@pytest.mark.qemu
def test_application_takes_the_modules_of_two_models(builders: Builders, tmp_path: Path) -> None:
    """Both models run; that both be served is refused, for there is one server."""
    builder = builders("native-sim")
    models = ("ad01_int8", SMALL)
    modules, wanted = [], []
    for model in models:
        project = builder.build(model).project
        modules.append(tmp_path / model)
        shutil.copytree(project.folder / "module", modules[-1])
        with boot(project, tmp_path).session as session:
            (x,) = session.model.inputs
            (y,) = session.run({x.name: np.full(x.shape, 5, np.int8)}).values()
        wanted += y.ravel().tolist()
    application = tmp_path / "application"
    write(application / "main.c", TWO)
    write(application / "prj.conf", "".join(f"CONFIG_MICROTVM_{m.upper()}=y\n" for m in models))
    write(
        application / "CMakeLists.txt",
        "cmake_minimum_required(VERSION 3.20.0)\n"
        f"list(APPEND EXTRA_ZEPHYR_MODULES {modules[0]} {modules[1]})\n"
        f"list(APPEND ZEPHYR_EXTRA_MODULES {modules[0]} {modules[1]})\n"
        "find_package(Zephyr REQUIRED HINTS $ENV{ZEPHYR_BASE})\n"
        "project(own)\ntarget_sources(app PRIVATE main.c)\n",
    )
    name = project.board.settings["zephyr"]["board"]
    build = tmp_path / "b"
    west(tmp_path, "build", "-b", name, "-d", build, application, **host_toolchain())
    image = build / "zephyr" / "zephyr.exe"
    said = subprocess.run([image], capture_output=True, text=True, timeout=60, check=True).stdout
    found = [int(line) for line in said.split() if line.lstrip("-").isdigit()]
    assert found[-len(wanted) :] == wanted
    options = ["-DCONFIG_SERIAL=y"]
    options += [f"-DCONFIG_MICROTVM_{model.upper()}_SERVER=y" for model in models]
    with pytest.raises(AssertionError, match="ad01_int8 and strww_int8 are both to be served"):
        west(tmp_path, "build", "-c", "-d", build, application, "--", *options, **host_toolchain())


@pytest.mark.qemu
def test_memories_come_from_the_devicetree(builders: Builders) -> None:
    """Weights by the board's setting, the arena by the option: both in the SRAM of the AN547, or,
    where that can't be, refused before they overlap."""
    builder = builders("qemu-mps3-an547")
    found = addresses(builder.build(SMALL))
    sram = range(0x11000000, 0x11200000)
    assert found["mtvm_weights_start"] in sram
    assert found["mtvm_stack"] not in sram
    if "arena" in builder.options:
        assert found["arena"] in sram
        return
    with pytest.raises(ToolError, match="microtvm,arena and microtvm,weights overlap"):
        dataclasses.replace(builder, options={"arena": "sram"}).build(SMALL)


@pytest.mark.qemu
def test_console_is_kept_beside_the_link(builders: Builders, tmp_path: Path) -> None:
    built = builders("qemu-mps2-an385").build(SMALL)
    run_project(built.project)
    said = (built.project.folder / "build" / "console.log").read_text(errors="replace")
    assert "Booting Zephyr" in said


@pytest.mark.qemu
def test_board_restarts_when_asked(builders: Builders, tmp_path: Path) -> None:
    built = builders("qemu-mps2-an385").build(SMALL)
    with boot(built.project, tmp_path).session as session:
        session.reset()
        check_goldens(session, SMALL, 1)


@pytest.mark.qemu
def test_what_the_linker_finds_too_large(builders: Builders) -> None:
    built = builders("qemu-cortex-m3").build(SMALL)
    main = built.project.folder / "src" / "main.c"
    text = "char large[70000];\n" + main.read_text().replace("return 0;", "return large[1];")
    with (
        changed(main, text),
        pytest.raises(FitError, match=r"its memory RAM is [\d,]+ bytes too small"),
    ):
        build_project(built.project)


@pytest.mark.qemu
def test_compilers_complaint_is_shown(builders: Builders) -> None:
    built = builders("qemu-cortex-m3").build(SMALL)
    main = built.project.folder / "src" / "main.c"
    with (
        changed(main, main.read_text() + "\nint broken(void) { return undeclared; }\n"),
        pytest.raises(ToolError, match=r"src/main\.c:\d+:\d+: error: 'undeclared' undecl"),
    ):
        build_project(built.project)


@pytest.mark.qemu
def test_model_that_does_not_fit_is_refused_before_the_build(
    builders: Builders, tmp_path: Path
) -> None:
    with pytest.raises(FitError, match="its memory flash has 262,144 bytes"):
        builders("qemu-cortex-m3").build("ad01_int8")


def test_sample_is_as_twister_wants_it(zephyr_base: Path, tmp_path: Path) -> None:
    pykwalify = pytest.importorskip("pykwalify.core")
    board = load_board("qemu-mps2-an385")
    create_project(TINY, board, tmp_path / "p", platform="zephyr")
    (schema,) = (zephyr_base / "scripts" / "schemas" / "twister").glob("testsuite-schema.y*ml")
    pykwalify.Core(
        source_data=yaml.safe_load((tmp_path / "p" / "sample.yaml").read_text()),
        schema_data=yaml.safe_load(schema.read_text()),
    ).validate(raise_exception=True)
