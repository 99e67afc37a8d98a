"""The C runtime is clean under cppcheck and under the checks of `.clang-tidy`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_tool
from tests.device.harness import HOST_DEFINES, RUNTIME

Check = Callable[..., subprocess.CompletedProcess[str]]

SOURCES = [*sorted((RUNTIME / "src").glob("*.c")), RUNTIME / "port" / "host" / "main.c"]
OPTIONS = ("-std=c99", f"-I{RUNTIME / 'include'}", *HOST_DEFINES)

FAULTY = """\
int main(void);

int main(void)
{
    const int *nowhere = 0;

    return *nowhere;
}
"""


def cppcheck(*sources: Path) -> subprocess.CompletedProcess[str]:
    """With everything that it can check in one file."""
    command = [
        *(require_tool("cppcheck"), "--quiet", "--error-exitcode=1", "--inconclusive"),
        *("--enable=warning,style,performance,portability", "--std=c99", "--inline-suppr"),
        *(f"-I{RUNTIME / 'include'}", *HOST_DEFINES, *map(str, sources)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def clang_tidy(*sources: Path) -> subprocess.CompletedProcess[str]:
    """By the checks of this folder's `.clang-tidy`, each a failure."""
    config = f"--config-file={ROOT / '.clang-tidy'}"
    command = [require_tool("clang-tidy"), "--quiet", config, *map(str, sources), "--", *OPTIONS]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("check", [cppcheck, clang_tidy])
def test_clean(check: Check) -> None:
    done = check(*SOURCES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("check", [cppcheck, clang_tidy])
def test_a_fault_is_found(check: Check, tmp_path: Path) -> None:
    source = tmp_path / "faulty.c"
    source.write_text(FAULTY)
    done = check(source)
    assert done.returncode != 0
    assert "faulty.c:7" in done.stdout + done.stderr
