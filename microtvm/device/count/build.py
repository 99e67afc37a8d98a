"""Builds the counting plugin with the host's C compiler, once per content of its source."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCES = (
    "plugin.c",
    "activation.c",
    "block.c",
    "decode.c",
    "timing.c",
    "timing_rv32.c",
    "timing_thumb.c",
)
HEADERS = ("activation.h", "block.h", "decode.h", "qemu_api.h", "timing.h")
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
# QEMU provides its functions when it loads the plugin; ELF linkers allow that anyway.
DARWIN_FLAGS = ("-Wl,-undefined,dynamic_lookup",)
SIMAVR_SOURCES = ("simavr.c", "activation.c")
SIMAVR_FLAGS = ("-std=c99", "-O2")
BUILD_TIMEOUT_S = 120.0
LOAD_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class PluginBuild:
    """The plugin's path, or None and the reason why there is none."""

    path: Path | None
    reason: str = ""


def build_plugin() -> PluginBuild:
    """The plugin for this host, compiled if the cache has none for this source and compiler.

    The compiler is $CC, else the first of cc, gcc, clang; the cache is $XDG_CACHE_HOME/microtvm or
    ~/.cache/microtvm. Any number of processes may build at once: each compiles into a file of its
    own and renames it into place. Never raises for a missing compiler or an unwritable cache:
    counts are then simply not to be had, and the reason says why.
    """
    flags = FLAGS + (DARWIN_FLAGS if sys.platform == "darwin" else ())
    return _build("count-{}.so", "the counting plugin", flags, SOURCES)


def build_simavr() -> PluginBuild:
    """The program that runs AVR images on libsimavr, built as `build_plugin` does; the library and
    its headers must be installed."""
    return _build("simavr-{}", "the bridge to simavr", SIMAVR_FLAGS, SIMAVR_SOURCES, ("-lsimavr",))


def _build(
    name: str,
    what: str,
    flags: tuple[str, ...],
    sources: tuple[str, ...],
    libraries: tuple[str, ...] = (),
) -> PluginBuild:
    compiler = _host_compiler()
    if compiler is None:
        return PluginBuild(None, "no host C compiler: set CC, or install cc, gcc or clang")
    try:
        digest = _digest((compiler, *flags, *libraries), (*sources, *HEADERS))
        target = _cache_folder() / name.format(digest)
        if not target.is_file():
            return _compile(compiler, flags, target, sources, libraries)
    except OSError as error:
        return PluginBuild(None, f"can't build {what}: {error}")
    return PluginBuild(target)


def load_problem(qemu: str, plugin: Path) -> str | None:
    """Why this QEMU can't load the plugin, or None if it can: tried, in well under a second.

    `qemu` is a program's name or path, such as qemu-system-arm. Reasons are QEMU's own words: built
    without plugins, an interface that is too new, a target without a decoder.
    """
    with tempfile.TemporaryDirectory(prefix="microtvm-count-") as folder:
        witness = Path(folder) / "witness"
        argv = [qemu, "-machine", "none", "-display", "none", "-plugin"]
        argv.append(plugin_option(plugin, [f"probe={witness}"]))
        try:
            result = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=LOAD_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            return f"can't start {qemu}: {error.strerror}"
        except subprocess.TimeoutExpired:
            return f"{qemu} did not answer within {LOAD_TIMEOUT_S:.0f} s"
        if witness.is_file() and witness.read_text() == "loaded\n":
            return None
        return result.stderr.strip() or f"{qemu} did not load {plugin}"


def plugin_option(plugin: Path, arguments: list[str]) -> str:
    """The value of QEMU's -plugin option: in QEMU's options a comma within a value is doubled."""
    values = [f"file={plugin.absolute()}", *arguments]
    return ",".join(value.replace(",", ",,") for value in values)


def _host_compiler() -> str | None:
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found is not None:
            return found
    return None


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "microtvm"


def _source_folder() -> Path:
    return Path(__file__).resolve().parent


def _digest(words: tuple[str, ...], files: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for part in (*words, sys.platform, platform.machine()):
        digest.update(part.encode() + b"\0")
    for name in files:
        digest.update((_source_folder() / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(
    compiler: str,
    flags: tuple[str, ...],
    target: Path,
    names: tuple[str, ...],
    libraries: tuple[str, ...],
) -> PluginBuild:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=target.stem, suffix=".tmp", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        sources = [str(_source_folder() / name) for name in names]
        result = subprocess.run(
            [compiler, *flags, "-o", str(partial), *sources, *libraries],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
        if result.returncode != 0:
            return PluginBuild(None, f"{compiler} failed: {result.stderr.strip()}")
        # What mkstemp makes can't be run.
        partial.chmod(0o755)
        partial.replace(target)
    except subprocess.TimeoutExpired:
        return PluginBuild(None, f"{compiler} took more than {BUILD_TIMEOUT_S:.0f} s")
    finally:
        partial.unlink(missing_ok=True)
    return PluginBuild(target)
