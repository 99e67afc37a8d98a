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

ASSERTION = "assertion in main.c"


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    """The one project of this file, once it is made, and its options as they were."""
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
        kept["options"] = kept["project"] / "prj.conf.without"
        shutil.copy(kept["project"] / "prj.conf", kept["options"])
    options = kept["options"].read_text() + "CONFIG_ASSERT=y\n"
    if (kept["project"] / "prj.conf").read_text() != options:
        (kept["project"] / "prj.conf").write_text(options)
    return load_project(kept["project"])


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("statement", "cause", "registers"),
    [
        ('__asm__ volatile("udf #0")', "fault", ["pc", "lr", "psr"]),
        ("k_panic()", "kernel panic", ["pc", "lr", "psr"]),
        ("__ASSERT_NO_MSG(failed == 0)", ASSERTION, ["pc", "line"]),
        ("return overflow(start)", "stack overflow", []),
    ],
)
def test_crash_is_told_and_kept(
    statement: str, cause: str, registers: list[str], project: Project, tmp_path: Path
) -> None:
    text = MAIN % statement
    (project.folder / "src" / "main.c").write_text(text)
    built = build_project(project)
    with boot(project, tmp_path).session as session:
        with pytest.raises(DeviceError, match=f"the device crashed .*: {cause}"):
            run_on(session)
        assert session._client.hello().has_crashed
        crash = read_crash(session._client, session.operators, built.elf)
        assert (crash.cause, list(crash.registers)) == (cause, registers)
        if cause in ("fault", ASSERTION):
            assert crash.location is not None
            assert crash.location.function == "main"
            line = text.splitlines().index(f"\t\t{{{statement};}}") + 1
            assert (crash.location.file, crash.location.line) == ("main.c", line)
            assert crash.registers.get("line", line) == line
        assert not session._client.hello().has_crashed


OWN = """
void assert_post_action(const char *file, unsigned int line)
{
	k_oops();
}
"""


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("option", "definition", "cause", "registers"),
    [
        ("CONFIG_ASSERT_NO_FILE_INFO=y", "", "assertion", ["pc"]),
        ("CONFIG_MICROTVM_SERVER_ASSERT=n", OWN, "kernel oops", ["pc", "lr", "psr"]),
    ],
    ids=["no file", "its own action"],
)
def test_assertion_as_the_application_wants_it(
    option: str, definition: str, cause: str, registers: list[str], project: Project, tmp_path: Path
) -> None:
    with (project.folder / "prj.conf").open("a") as file:
        file.write(f"{option}\n")
    text = MAIN % "__ASSERT_NO_MSG(failed == 0)" + definition
    (project.folder / "src" / "main.c").write_text(text)
    built = build_project(project)
    with boot(project, tmp_path).session as session:
        with pytest.raises(DeviceError, match="the device crashed"):
            run_on(session)
        assert session._client.hello().has_crashed
        crash = read_crash(session._client, session.operators, built.elf)
    assert (crash.cause, list(crash.registers)) == (cause, registers)
    assert crash.location is not None
    assert crash.location.function == ("assert_post_action" if definition else "main")


def run_on(session: Session) -> None:
    """Until the device has had its fault, and far beyond."""
    for _ in range(1000):
        check_goldens(session, SMALL, 1)
