"""The bridge to libsimavr: cycles that the manual says, the link, and what it refuses."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from microtvm.device.count import Activation, CountReader, build_simavr, simavr_argv
from microtvm.errors import ToolError, UserError
from tests.conftest import require_tool

IMAGE = Path(__file__).resolve().parent / "image" / "avr.S"
MCU = "atmega2560"
COMMAND = ("simavr", "-m", MCU, "-f", "16000000")
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("cc")
    require_tool("simavr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        built = build_simavr()
        assert built == build_simavr()
    assert built.path is not None, built.reason
    return built.path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    elf = tmp_path_factory.mktemp("image") / "avr.elf"
    argv = [require_tool("avr-gcc"), f"-mmcu={MCU}", str(IMAGE), "-o", str(elf)]
    subprocess.run(argv, check=True)
    return elf


def counted(bridge: Path, image: Path, functions: list[str], folder: Path) -> list[Activation]:
    """What is counted until the function `finished` has returned."""
    output = folder / "counts"
    labels = {name: name for name in (*functions, "finished")}
    argv = simavr_argv([*COMMAND, str(image)], image, labels, output, bridge=bridge)
    reader = CountReader(output)
    found: list[Activation] = []
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        until = time.monotonic() + PATIENCE_S
        while not found or found[-1].label != "finished":
            assert process.poll() is None
            assert time.monotonic() < until
            found += reader.new()
            time.sleep(0.01)
        assert process.communicate()[0] == b""
    assert process.returncode == 0
    return found[:-1]


@pytest.mark.qemu
def test_cycles_are_the_manuals(bridge: Path, image: Path, tmp_path: Path) -> None:
    found = counted(bridge, image, ["loop_of_ten", "memory"], tmp_path)
    assert found == [
        Activation("loop_of_ten", 22, loads=0, stores=0, cycles=35),
        Activation("memory", 10, loads=4, stores=3, cycles=23),
        Activation("loop_of_ten", 22, loads=0, stores=0, cycles=35),
    ]


@pytest.mark.qemu
def test_callers_include_what_they_call(bridge: Path, image: Path, tmp_path: Path) -> None:
    (outer,) = counted(bridge, image, ["outer"], tmp_path)
    assert (outer.instructions, outer.cycles) == (26, 5 + 35 + 1 + 2 + 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing argument"),
        (["-m", MCU, "-f", "16000000"], "missing argument"),
        (["-m", "z80", "-f", "16000000", "{image}"], "the library has no core: z80"),
        (["-m", MCU, "-f", "16000000", "/no/such/image"], "not an image: /no/such/image"),
        (["fn=12", "{image}"], "not ADDRESS:LABEL: 12"),
    ],
)
def test_what_the_bridge_refuses(
    bridge: Path, image: Path, arguments: list[str], message: str
) -> None:
    words = [word.replace("{image}", str(image)) for word in arguments]
    done = subprocess.run(
        [bridge, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"microtvm count: {message}" in done.stderr


def test_images_of_other_cores_are_refused(bridge: Path, tmp_path: Path) -> None:
    elf = tmp_path / "x.elf"
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run([require_tool("cc"), str(source), "-o", str(elf)], check=True)
    with pytest.raises(ToolError, match="32-bit AVR images can be counted"):
        simavr_argv(COMMAND, elf, {"main": "main"}, tmp_path / "n", bridge=bridge)


def test_unknown_functions_are_refused(bridge: Path, image: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no function 'nowhere'"):
        simavr_argv(COMMAND, image, {"x": "nowhere"}, tmp_path / "n", bridge=bridge)


def test_library_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'simavr/sim_avr.h: No such file' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = build_simavr()
    assert built.path is None
    assert "sim_avr.h: No such file" in built.reason
