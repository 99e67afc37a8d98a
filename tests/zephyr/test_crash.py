"""An application that fails: the host hears of it, and the board still knows after its restart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from microtvm.device import Session
from microtvm.device.crash import read_crash
from microtvm.errors import DeviceError
from microtvm.inference import boot
from microtvm.project import Project, build_project, load_project
from tests.zephyr.conftest import Builders
from tests.zephyr.test_run import SMALL, check_goldens

MAIN = """\
#include <zephyr/kernel.h>
#include <zephyr/sys/__assert.h>

#include "mtvm_zephyr.h"

static uint32_t failed __noinit;

int overflow(volatile char *above)
{
	volatile char here[64];

	here[0] = above[0];
	return overflow(here) + here[0];
}

int main(void)
{
	volatile char start[1] = {0};

	mtvm_server_start();
	if (failed != 0x600dcafe) {
		failed = 0x600dcafe;
		k_sleep(K_MSEC(500));
		{%s;}
	}
	return start[0];
}
"""


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    """The one project of this file, once it is made."""
    return {}


@pytest.fixture
def project(
    builders: Builders, kept: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """With assertions, which are off by default."""
    if "project" not in kept:
        built = builders("qemu-mps2-an385").build(SMALL)
        kept["project"] = tmp_path_factory.mktemp("crash") / "project"
        ignore = shutil.ignore_patterns("build")
        shutil.copytree(built.project.folder, kept["project"], ignore=ignore)
        with (kept["project"] / "prj.conf").open("a") as file:
            file.write("CONFIG_ASSERT=y\n")
    return load_project(kept["project"])


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("statement", "cause", "registers"),
    [
        ('__asm__ volatile("udf #0")', "fault", ["pc", "lr", "psr"]),
        ("k_panic()", "kernel panic", ["pc", "lr", "psr"]),
        ("__ASSERT_NO_MSG(failed == 0)", "kernel panic", ["pc", "lr", "psr"]),
        ("return overflow(start)", "stack overflow", []),
    ],
)
def test_crash_is_told_and_kept(
    statement: str, cause: str, registers: list[str], project: Project, tmp_path: Path
) -> None:
    (project.folder / "src" / "main.c").write_text(MAIN % statement)
    built = build_project(project)
    with boot(project, tmp_path).session as session:
        with pytest.raises(DeviceError, match=f"the device crashed .*: {cause}"):
            run_on(session)
        assert session._client.hello().has_crashed
        crash = read_crash(session._client, session.operators, built.elf)
        assert (crash.cause, list(crash.registers)) == (cause, registers)
        if cause == "fault":
            assert crash.location is not None
            assert crash.location.function == "main"
        assert not session._client.hello().has_crashed


def run_on(session: Session) -> None:
    """Until the device has had its fault, and far beyond."""
    for _ in range(1000):
        check_goldens(session, SMALL, 1)
