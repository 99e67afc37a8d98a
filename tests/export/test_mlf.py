"""An archive in Model Library Format is what the tools that read TVM v0.18's look for.

What they read is stated here from their own code: `tvmc run`, which opens the module, its executor
and its parameters, and the project generators for Arduino and Zephyr, which take every C file
below `codegen/host/src`, `style`, and the size of the workspace.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from microtvm.export.mlf import content_hash
from microtvm.util import Array
from tests.codegen.c_library import WARNINGS
from tests.conftest import ROOT, require_tool
from tests.export.conftest import DIGITS, NAME, export, run


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mlf") / "model.tar"
    export(DIGITS, "--format", "mlf", "-o", file, "--cpu", "cortex-m4")
    return file


@pytest.fixture(scope="module")
def unpacked(archive: Path) -> Path:
    folder = archive.with_suffix("")
    with tarfile.open(archive, "r:") as tar:
        tar.extractall(folder, filter="data")
    return folder


def module_of(folder: Path) -> dict[str, Any]:
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["version"] == 7
    (module,) = metadata["modules"].values()
    assert isinstance(module, dict)
    return module


def test_entries(archive: Path) -> None:
    """Of one owner and one time, in order, below `.`; folders come before what is in them."""
    with tarfile.open(archive, "r:") as tar:
        members = tar.getmembers()
    assert members[0].name == "."
    assert all(m.name == "." or m.name.startswith("./") for m in members)
    assert [m.name for m in members] == sorted(m.name for m in members)
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {
        (0, 0, 0, "root", "root")
    }
    assert {m.mode for m in members if m.isdir()} == {0o755}
    assert {m.mode for m in members if m.isfile()} == {0o644}


def test_what_tvmc_reads(unpacked: Path) -> None:
    metadata = json.loads((unpacked / "metadata.json").read_text())
    (name,) = metadata["modules"]
    module = metadata["modules"][name]
    assert (name, module["model_name"]) == (NAME, NAME)
    # One executor, and no graph: executor-config/ is of a graph executor.
    assert module["executors"] == ["aot"]
    assert not (unpacked / "executor-config").exists()
    magic, reserved, names, arrays = struct.unpack(
        "<QQQQ", (unpacked / "parameters" / f"{name}.params").read_bytes()
    )
    assert (magic, reserved, names, arrays) == (0xF7E58D4F05049CB7, 0, 0, 0)
    assert (unpacked / "src" / f"{name}.relay").read_text().startswith('#[version = "0.0.5"]\n')


def test_what_project_generators_read(unpacked: Path) -> None:
    module = module_of(unpacked)
    assert module["style"] == "full-model"
    assert module["target"] == ["c -keys=arm_cpu,cpu -mcpu=cortex-m4"]
    own = module["microtvm"]
    (main,) = module["memory"]["functions"]["main"]
    assert main == {
        "device": 1,
        "workspace_size_bytes": own["arena_bytes"],
        "constants_size_bytes": own["weights_bytes"],
        "io_size_bytes": 74,
        "inputs": {"image": {"dtype": "int8", "size": 64}},
        "outputs": {"scores": {"dtype": "int8", "size": 10}},
    }
    functions = module["memory"]["functions"]["operator_functions"]
    assert [f["function_name"] for f in functions] == [o["function"] for o in own["operators"]]
    assert all(f["workspace"] == [{"device": 1, "workspace_size_bytes": 0}] for f in functions)
    sources = sorted((unpacked / "codegen" / "host" / "src").rglob("*.c"))
    assert [file.name for file in sources] == [f"{NAME}_lib0.c", f"{NAME}_lib1.c"]
    assert (unpacked / "codegen" / "host" / "include" / f"tvmgen_{NAME}.h").is_file()


def test_relay_names_what_there_is(unpacked: Path) -> None:
    """Every value is made before it is read, and every call is a kernel."""
    text = (unpacked / "src" / f"{NAME}.relay").read_text()
    known = {"%image"}
    kernels = [o["function"] for o in module_of(unpacked)["microtvm"]["operators"]]
    for line in (each.strip() for each in text.splitlines()):
        if line.startswith("let "):
            made, call = line.removeprefix("let ").split(" = ")
            function, arguments = call.removesuffix(");").split("(")
            assert function == f"@{kernels.pop(0)}"
            assert set(arguments.split(", ")) <= known
            known.add(made)
    assert kernels == []
    assert "%scores" in known


def test_the_content_hash(unpacked: Path) -> None:
    """As metadata.json's documentation says, with another program's sums."""
    listed = "find . -type f ! -name metadata.json | sed 's|^./||' | LC_ALL=C sort"
    lines = run("sh", "-c", f"{listed} | xargs sha256sum", cwd=unpacked)
    found = json.loads((unpacked / "metadata.json").read_text())["content_sha256"]
    assert found == hashlib.sha256(lines).hexdigest()
    assert content_hash({"a": b"b"}) != content_hash({"a": b"c"}) != content_hash({"b": b"c"})


def test_inference_through_the_c_interface(
    packages: Mapping[str, Path], images: Array, scores: bytes, tmp_path: Path
) -> None:
    host = packages["mlf"] / "codegen" / "host"
    run(require_tool("cc"), *WARNINGS, "-I", host / "include", *sorted((host / "src").glob("*.c")),
        ROOT / "tests/export/tvmgen_consumer.c", "-lm", "-o", tmp_path / "x")  # fmt: skip
    assert run(tmp_path / "x", stdin=images.tobytes()) == scores


def test_with_the_runtime(tmp_path: Path) -> None:
    """It is a dependency inside the archive, as TVM's was, with a template of a platform."""
    export(DIGITS, "--format", "mlf", "-o", tmp_path / "x", "--runtime")
    (dependency,) = module_of(tmp_path / "x")["external_dependencies"]
    assert dependency["url_type"] == "mlf_path"
    assert (tmp_path / "x" / dependency["url"] / "include" / "mtvm_rpc.h").is_file()
    assert (tmp_path / "x" / dependency["url"] / "src" / "mtvm_server.c").is_file()
    host = tmp_path / "x" / "codegen" / "host"
    includes = ["-I", host / "include", "-I", tmp_path / "x" / "runtime" / "include"]
    run(require_tool("cc"), *WARNINGS, *includes, "-xc",
        tmp_path / "x" / "templates" / "platform.c.template", *(host / "src").glob("*.c"),
        *(tmp_path / "x" / "runtime" / "src").glob("*.c"), "-lm", "-o", tmp_path / "y")  # fmt: skip


def test_no_executable_without_it(unpacked: Path) -> None:
    assert not (unpacked / "runtime").exists()
    assert not (unpacked / "templates").exists()
    assert "external_dependencies" not in module_of(unpacked)
