"""What the host side makes of images, compilers and output files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from microtvm.device.count import Activation, CountReader, build_plugin, plugin_argv
from microtvm.device.count.build import HEADERS, SOURCES
from microtvm.errors import ToolError, UserError
from tests.conftest import ROOT, require_tool

SOURCE = """
void first(void) {}
static __attribute__((noinline)) void second(void) { __asm__ volatile(""); }
void third(void) { second(); }
"""


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    return link(tmp_path, "image.elf", "arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb")


def link(folder: Path, name: str, compiler: str, *flags: str) -> Path:
    source = folder / "image.c"
    source.write_text(SOURCE)
    elf = folder / name
    argv = [require_tool(compiler), *flags, "-O2", "-nostdlib", "-Wl,-e,first", str(source)]
    subprocess.run([*argv, "-o", str(elf)], check=True, timeout=60)
    return elf


def nm(elf: Path) -> dict[str, int]:
    text = subprocess.run(
        [require_tool("arm-none-eabi-nm"), str(elf)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    return {line.split()[-1]: int(line.split()[0], 16) for line in text.splitlines()}


def test_entries_are_the_symbols_without_the_thumb_bit(elf: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "a,b.so"
    output = tmp_path / "counts"
    labels = {"conv 1,x": "first", "b": "second", "c": "first"}
    option, value = plugin_argv(elf, labels, output, plugin=plugin)
    addresses = nm(elf)
    assert option == "-plugin"
    assert value == (
        f"file={tmp_path}/a,,b.so,out={output},"
        f"fn={addresses['first']:x}:conv%201%2Cx,fn={addresses['second']:x}:b,"
        f"fn={addresses['first']:x}:c"
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a": "fourth"}, "image.elf has no function 'fourth'"),
        ({"": "first"}, "label '' has 0 bytes when quoted; 1 to 200 are possible"),
        ({"é" * 34: "first"}, "has 204 bytes when quoted; 1 to 200 are possible"),
    ],
)
def test_labels_that_cannot_be_counted(
    elf: Path, labels: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        plugin_argv(elf, labels, tmp_path / "counts", plugin=tmp_path / "p.so")


def test_near_names_are_offered(elf: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        plugin_argv(elf, {"a": "firts"}, tmp_path / "counts", plugin=tmp_path / "p.so")
    assert caught.value.hint == "similar: first"


def test_local_functions_of_one_name_are_ambiguous(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    source = folder / "more.c"
    source.write_text(SOURCE.replace("first", "fourth").replace("third", "fifth"))
    elf = link(tmp_path, "two.elf", "arm-none-eabi-gcc", "-mcpu=cortex-m4", str(source))
    with pytest.raises(UserError, match="has several functions 'second', at 0x"):
        plugin_argv(elf, {"a": "second"}, tmp_path / "counts", plugin=tmp_path / "p.so")


def test_images_that_cannot_be_counted(elf: Path, tmp_path: Path) -> None:
    def attempt(path: Path) -> None:
        plugin_argv(path, {"a": "first"}, tmp_path / "counts", plugin=tmp_path / "p.so")

    host = link(tmp_path, "host.elf", "cc")
    with pytest.raises(ToolError, match=r"can't count in .*host.elf: EM_\w+ with 64 bits"):
        attempt(host)
    with pytest.raises(UserError, match=r"can't read .*none\.elf: No such file"):
        attempt(tmp_path / "none.elf")
    (tmp_path / "text").write_text("no image")
    with pytest.raises(UserError, match="text is not an ELF image"):
        attempt(tmp_path / "text")
    subprocess.run([require_tool("arm-none-eabi-strip"), str(elf)], check=True, timeout=60)
    with pytest.raises(UserError, match=r"image\.elf has no symbols"):
        attempt(elf)


def test_the_reader_gives_complete_lines_once(tmp_path: Path) -> None:
    output = tmp_path / "counts"
    reader = CountReader(output)
    assert reader.new() == []
    output.write_text("conv%201 10 2 1\nrun 25 ")
    assert reader.new() == [Activation("conv 1", 10, 2, 1)]
    with output.open("a") as stream:
        stream.write("4 3\n")
        stream.write("run 26 4 3 40\n")
    assert reader.new() == [Activation("run", 25, 4, 3), Activation("run", 26, 4, 3, 40)]
    assert reader.new() == []


@pytest.mark.parametrize("line", ["run 1 2", "run 1 2 3 4 5", "run 1 2 -3", "run 1 2 x", ""])
def test_the_reader_refuses_other_lines(line: str, tmp_path: Path) -> None:
    output = tmp_path / "counts"
    output.write_text(f"{line}\n")
    with pytest.raises(ToolError, match="counts: not a line of counts: "):
        CountReader(output).new()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_source_is_clean(compiler: str) -> None:
    folder = ROOT / "microtvm" / "device" / "count"
    flags = "-std=c99 -O2 -fPIC -Wall -Wextra -pedantic -Wconversion -Wshadow -Wmissing-prototypes"
    argv = [require_tool(compiler), *flags.split(), "-Werror", "-fsyntax-only"]
    argv += [str(folder / name) for name in (*SOURCES, *HEADERS)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_plugin_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("cc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = build_plugin().path
    assert path is not None
    assert path.parent == tmp_path / "microtvm"
    changed = path.stat().st_mtime_ns
    assert build_plugin().path == path
    assert path.stat().st_mtime_ns == changed
    assert list(path.parent.iterdir()) == [path]


def test_processes_may_build_at_once(tmp_path: Path) -> None:
    require_tool("cc")
    code = "from microtvm.device.count import build_plugin; print(build_plugin().path)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    paths = {builder.communicate(timeout=120)[0].strip() for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0, 0]
    (path,) = paths
    assert list((tmp_path / "microtvm").iterdir()) == [Path(path)]


def test_reasons_for_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "broken-cc"
    failing.write_text("#!/bin/sh\necho out of ideas >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("CC", str(failing))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = build_plugin()
    assert built.path is None
    assert built.reason == f"{failing} failed: out of ideas"
    assert list((tmp_path / "cache" / "microtvm").iterdir()) == []

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "can't build the counting plugin: " in build_plugin().reason

    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.delenv("CC")
    assert build_plugin().reason.startswith("no host C compiler: ")
