"""What holds for a package of any format, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from microtvm.errors import MicrotvmError, ToolError, UserError
from microtvm.export import (
    Details,
    array_package,
    library_package,
    list_formats,
    load_format,
    write_package,
)
from microtvm.export.package import GENERIC_CPU
from microtvm.project import read_library
from microtvm.target import data_folder, load_cpu
from tests.cli.conftest import CommandLine, cli, pair  # noqa: F401
from tests.codegen.c_library import CROSS, WARNINGS
from tests.conftest import ROOT, require_tool
from tests.export.conftest import DIGITS, NAME, export, made_from, run

COMPILED = [name for name in list_formats() if not load_format(name).array]
ZIPPED = [name for name in COMPILED if load_format(name).archive in (".pack", ".zip")]


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# ---- every format ----


def test_the_formats() -> None:
    assert list_formats() == [
        "arduino", "c-array", "c-single-file", "cmake", "cmsis-pack", "esp-idf", "mlf",
        "platformio", "zephyr-module",
    ]  # fmt: skip
    assert all(load_format(name).description for name in list_formats())


@pytest.mark.parametrize("name", COMPILED)
def test_a_package_has_all_that_it_needs(name: str, packages: Mapping[str, Path]) -> None:
    files = files_below(packages[name])
    texts = {path: data.decode() for path, data in files.items() if not path.endswith(".params")}
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert "any processor with a C99 compiler" in texts["README.md"]
    assert any("static MTVM_ALIGN(DIGITS_INT8_ARENA_ALIGN)" in t for t in texts.values())
    headers = "".join(text for path, text in texts.items() if path.endswith(".h"))
    assert "#define MTVM_MODEL_ABI" in headers
    assert f"void {NAME}_run(uint8_t *arena);" in headers
    assert not any(str(ROOT) in text or "{{" in text or "{%" in text for text in texts.values())
    for path, text in texts.items():
        assert path == "LICENSE" or not text.startswith("\n"), path
        assert "mtvm_rpc.h" not in path


def test_the_same_model_gives_the_same_bytes(
    packages: Mapping[str, Path], library: Path, tmp_path: Path
) -> None:
    """In another process with other hashes, and in archives as well."""
    script = (
        "import sys; from microtvm.cli import main\n"
        "for model, name, output in zip(*(sys.argv[i::3] for i in (1, 2, 3))):\n"
        "    try: main(['export', model, '--format', name, '-o', output])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
    )
    words = [w for n in packages for w in (str(made_from(n, library)), n, str(tmp_path / n))]
    kinds = {name: load_format(name).archive for name in packages}
    kinds = {name: kind for name, kind in kinds.items() if kind}
    assert {"cmake": ".zip", "cmsis-pack": ".pack", "mlf": ".tar"}.items() <= kinds.items()
    for name, kind in kinds.items():
        words += [str(library), name, str(tmp_path / f"{name}{kind}")]
        export(library, "--format", name, "-o", tmp_path / f"again-{name}{kind}")
    environment = {**os.environ, "PYTHONHASHSEED": "11", "TZ": "Asia/Tokyo"}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run(
        [sys.executable, "-c", script, *words], check=True, env=environment, cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for name, folder in packages.items():
        assert files_below(folder) == files_below(tmp_path / name), name
    for name, kind in kinds.items():
        one, other = tmp_path / f"{name}{kind}", tmp_path / f"again-{name}{kind}"
        assert one.read_bytes() == other.read_bytes(), name


@pytest.mark.parametrize("name", ZIPPED)
def test_a_zip_has_what_the_folder_has(
    name: str, library: Path, packages: Mapping[str, Path], tmp_path: Path
) -> None:
    """All of it in one folder, but a pack's lies at the top."""
    kind = load_format(name).archive
    export(library, "--format", name, "-o", tmp_path / f"x{kind}")
    run(sys.executable, "-m", "zipfile", "-e", tmp_path / f"x{kind}", tmp_path / "out")
    top = tmp_path / "out" / ("" if kind == ".pack" else NAME)
    assert files_below(top) == files_below(packages[name])


def test_examples_print_the_reference(
    packages: Mapping[str, Path], printed: str, tmp_path: Path
) -> None:
    """Every C example, compiled without a warning; the model's file is the same in all."""
    compiler = require_tool("cc")
    sources = {
        (packages[name] / load_format(name).sources.replace("{{ file }}", f"{NAME}.c")).read_bytes()
        for name in ("arduino", "cmake", "cmsis-pack", "esp-idf", "platformio", "zephyr-module")
    }
    sources.add((packages["mlf"] / f"codegen/host/src/{NAME}_lib1.c").read_bytes())
    assert len(sources) == 1
    include = packages["cmake"] / "include"
    run(compiler, *WARNINGS, "-O1", "-I", include, "-c", packages["cmake"] / f"src/{NAME}.c",
        "-o", tmp_path / "model.o")  # fmt: skip
    start = tmp_path / "start.c"
    start.write_text("void app_main(void);\nint main(void)\n{\n    app_main();\n    return 0;\n}\n")
    for example in (
        [packages["cmake"] / "examples/minimal/main.c"],
        [packages["cmsis-pack"] / "examples/minimal/main.c"],
        [packages["esp-idf"] / "examples/minimal/main/main.c", start],
        [packages["platformio"] / "examples/minimal/src/main.c"],
        [packages["zephyr-module"] / "samples/minimal/src/main.c"],
    ):
        run(compiler, *WARNINGS, "-I", include, *example, tmp_path / "model.o", "-lm",
            "-o", tmp_path / "example")  # fmt: skip
        assert run(tmp_path / "example").decode() == printed


@pytest.mark.parametrize("name", COMPILED)
def test_a_model_of_several_types(name: str, pair: Path, tmp_path: Path) -> None:  # noqa: F811
    """Float and int8 tensors, and outputs out of order, in every C file of the package."""
    compiler = require_tool("cc")
    export(pair, "--format", name, "-o", tmp_path / "x", "--runtime")
    includes = [f"-I{folder}" for folder in tmp_path.rglob("*") if folder.is_dir()]
    found = [*tmp_path.rglob("*.c"), *tmp_path.rglob("*.c.template")]
    assert found
    for file in found:
        run(compiler, *WARNINGS, "-xc", *includes, "-fsyntax-only", file)


# ---- options ----


@pytest.mark.parametrize("words", [("--cpu", "cortex-m4"), ("--board", "qemu-mps2-an386")])
def test_kernels_for_a_core(words: tuple[str, str], tmp_path: Path) -> None:
    export(DIGITS, "--format", "c-single-file", "-o", tmp_path / "x", *words)
    readme = (tmp_path / "x" / "README.md").read_text()
    assert "for cortex-m4 (" in readme
    assert "-mcpu=cortex-m4" in readme
    assert "any processor" not in readme
    assert "dsp." not in readme
    require_tool("arm-none-eabi-gcc")
    run("arm-none-eabi-gcc", *WARNINGS, "-O2", *load_cpu("cortex-m4").flags, "-c",
        tmp_path / "x/example.c", "-o", tmp_path / "x.o")  # fmt: skip


def test_a_compiled_library(tmp_path: Path, cli: CommandLine) -> None:  # noqa: F811
    """Nothing is compiled again, so the core and the name are what they were."""
    library = tmp_path / "library"
    cli.ok("compile", DIGITS, "--cpu", "cortex-m0", "--prefix", "net", "-o", library, "--json")
    said = cli.ok("export", library, "--format", "cmake", "-o", tmp_path / "x", "--json").json
    assert said["format"] == "cmake"
    assert sorted(said["files"]) == sorted(files_below(tmp_path / "x"))
    assert (tmp_path / "x/src/net.c").read_bytes() == (library / "net.c").read_bytes()
    assert "cortex-m0" in (tmp_path / "x/README.md").read_text()
    for words, message in (
        (("--cpu", "cortex-m4"), "was compiled for cortex-m0, not for cortex-m4"),
        (("--prefix", "other"), "was compiled with the prefix net"),
    ):
        output = tmp_path / "y"
        assert message in cli.refused("export", library, "--format", "cmake", "-o", output, *words)
        assert not output.exists()
    said = cli.refused("export", library, "--format", "c-array", "-o", tmp_path / "y")
    assert "made from a model's file" in said


def test_manifests_say_what_was_asked(library: Path, tmp_path: Path) -> None:
    details = ["--package-version", "2.3.4", "--author", "Blåbær & Co"]
    details += ["--url", "https://a.example/m"]
    for name, file in (
        ("arduino", "library.properties"),
        ("cmsis-pack", "Bl-b-r-Co.digits_int8.pdsc"),
        ("esp-idf", "idf_component.yml"),
        ("platformio", "library.json"),
    ):
        export(library, "--format", name, "-o", tmp_path / name, *details)
        text = (tmp_path / name / file).read_text()
        assert "2.3.4" in text
        assert "https://a.example/m" in text
        assert "Blåbær & Co" in text or name == "cmsis-pack"


def test_formats_are_listed(cli: CommandLine) -> None:  # noqa: F811
    said = cli.ok("export", "--list-formats").out
    assert all(name in said for name in list_formats())


def test_c_array(packages: Mapping[str, Path], tmp_path: Path) -> None:
    """Both ways to ask give the model's bytes, in C and in C++."""
    export(DIGITS, "--c-array", "-o", tmp_path / "x")
    assert files_below(tmp_path / "x") == files_below(packages["c-array"])
    program = tmp_path / "main.cc"
    program.write_text(
        f'#include <cstdint>\n#include <cstdio>\n#include "{NAME}.h"\n'
        f"int main() {{\n  if (reinterpret_cast<std::uintptr_t>(g_{NAME}) % 16 != 0) return 1;\n"
        f"  std::fwrite(g_{NAME}, 1, static_cast<std::size_t>(g_{NAME}_len), stdout);\n}}\n"
    )
    run(require_tool("cc"), *WARNINGS, "-c", tmp_path / f"x/{NAME}.c", "-o", tmp_path / "x.o")
    run(
        require_tool("c++"),
        "-I",
        tmp_path / "x",
        program,
        tmp_path / "x.o",
        "-o",
        tmp_path / "main",
    )
    assert run(tmp_path / "main") == DIGITS.read_bytes()


# ---- one file ----


@pytest.mark.parametrize("compiler", sorted(CROSS))
@pytest.mark.parametrize("runtime", [False, True])
def test_single_file_without_a_warning(
    compiler: str, runtime: bool, library: Path, packages: Mapping[str, Path], tmp_path: Path
) -> None:
    folder = packages["c-single-file"]
    if runtime:
        folder = tmp_path / "served"
        export(library, "--format", "c-single-file", "-o", folder, "--runtime")
        assert "mtvm_server_init" in (folder / f"{NAME}.h").read_text()
    run(require_tool(compiler), *CROSS[compiler], *WARNINGS, "-O2", "-c", folder / "example.c",
        "-o", tmp_path / "x.o")  # fmt: skip


def test_two_models_of_one_file_each(
    images: object, scores: bytes, packages: Mapping[str, Path], tmp_path: Path
) -> None:
    """In one program, whose other files include both headers, one of them as C++."""
    export(DIGITS, "--format", "c-single-file", "--prefix", "twin", "-o", tmp_path / "twin")
    compiler = require_tool("cc")
    objects = []
    for prefix, folder in ((NAME, packages["c-single-file"]), ("twin", tmp_path / "twin")):
        source = tmp_path / f"{prefix}.c"
        source.write_text(f'#define {prefix.upper()}_IMPLEMENTATION\n#include "{prefix}.h"\n')
        objects.append(tmp_path / f"{prefix}.o")
        run(compiler, *WARNINGS, "-I", folder, "-c", source, "-o", objects[-1])
    includes = ["-I", packages["c-single-file"], "-I", tmp_path / "twin"]
    (tmp_path / "twin.cc").write_text(
        f'#include "twin.h"\n#include "{NAME}.h"\n#include <cstring>\n'
        'extern "C" bool equal(const uint8_t *);\nbool equal(const uint8_t *) {\n'
        f"  return std::memcmp(twin_model.hash, {NAME}_model.hash, 16) == 0;\n}}\n"
    )
    run(require_tool("c++"), *includes, "-c", tmp_path / "twin.cc", "-o", tmp_path / "cc.o")
    run(compiler, *WARNINGS, *includes, ROOT / "tests/export/consumer.c", tmp_path / "cc.o",
        *objects, "-lm", "-lstdc++", "-o", tmp_path / "x")  # fmt: skip
    assert run(tmp_path / "x", stdin=images.tobytes()) == scores  # type: ignore[attr-defined]


# ---- what is refused ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--format is missing"),
        (("--format", "zephir-module"), "did you mean zephyr-module?"),
        (("--format", "cmake", "--cpu", "cortex-m5"), "there is no CPU 'cortex-m5'"),
        (
            ("--format", "cmake", "--cpu", "cortex-m3", "--board", "qemu-mps2-an386"),
            "board qemu-mps2-an386 has a cortex-m4, not a cortex-m3",
        ),
        (("--format", "cmake", "--prefix", "int main"), "can't begin C identifiers"),
        (("--format", "cmsis-pack", "--prefix", "n" * 33), "can't name a package"),
        (("--format", "esp-idf", "--prefix", "a__b"), "can't name a package"),
        (("--format", "arduino", "--prefix", "_a"), "can't name a package"),
        (("--format", "cmake", "--package-version", "1.2"), "'1.2' is no version"),
        (("--format", "cmake", "--author", 'a"b'), "is no author"),
        (("--format", "cmake", "--author", "a\nb"), "is no author"),
        (("--format", "cmake", "--url", "example.org"), "is no address"),
    ],
)
def test_options_that_are_refused(
    words: tuple[str, ...],
    message: str,
    cli: CommandLine,  # noqa: F811
    tmp_path: Path,
) -> None:
    said = cli.refused("export", DIGITS, "-o", tmp_path / "x", *words)
    assert message in " ".join(said.split())
    assert not (tmp_path / "x").exists()


def test_a_model_that_cannot_be_compiled(cli: CommandLine, tmp_path: Path) -> None:  # noqa: F811
    model = tmp_path / "x.tflite"
    model.write_bytes(b"no model")
    said = cli.refused("export", model, "--format", "cmake", "-o", tmp_path / "y")
    assert "x.tflite" in said
    model.write_bytes(b"")
    said = cli.refused("export", model, "--c-array", "-o", tmp_path / "y")
    assert "is empty" in said
    said = cli.refused("export", tmp_path / "none.tflite", "--c-array", "-o", tmp_path / "y")
    assert "none.tflite" in said


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    form = load_format("cmake")
    files = {"a": b"b"}
    used = tmp_path / "used"
    used.mkdir()
    write_package(form, "x", files, used)
    with pytest.raises(UserError, match="is not empty"):
        write_package(form, "x", files, used)
    with pytest.raises(UserError, match="exists already"):
        write_package(form, "x", files, used / "a")
    write_package(form, "x", files, tmp_path / "new" / "x.zip")
    with pytest.raises(UserError, match="exists already"):
        write_package(form, "x", files, tmp_path / "new" / "x.zip")
    with pytest.raises(UserError, match=r"written to a folder or a \.zip file"):
        write_package(form, "x", files, tmp_path / "x.tar")
    with pytest.raises(UserError, match=r"written to a folder or a \.h file$"):
        write_package(load_format("c-single-file"), "x", files, tmp_path / "x.zip")
    with pytest.raises(UserError, match=r"can't write .*: \S+a is a file, not a folder"):
        write_package(form, "x", files, used / "a" / "b")
    (tmp_path / "y.zip").mkdir()
    with pytest.raises(UserError, match="is not empty"):
        write_package(form, "x", files, tmp_path / "y.zip")
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize(
    ("name", "output", "ways"),
    [
        ("cmake", "x.tgz", "a folder or a .zip file"),
        ("cmake", "x.tar.gz", "a folder or a .zip file"),
        ("mlf", "x.zip", "a folder or a .tar file"),
        ("c-array", "x.h", "a folder"),
        ("arduino", "X.C", "a folder or a .zip file"),
        ("c-single-file", "x.c", "a folder or a .h file"),
    ],
)
def test_files_of_another_kind(
    name: str,
    output: str,
    ways: str,
    cli: CommandLine,  # noqa: F811
    tmp_path: Path,
) -> None:
    """No folder gets the name of a file; it is said before the model is looked for."""
    said = cli.refused("export", tmp_path / "none", "--format", name, "-o", tmp_path / output)
    assert f"{output}: the format {name} is written to {ways}\n" in said
    assert not any(tmp_path.iterdir())


def test_names_that_are_folders(library: Path, tmp_path: Path) -> None:
    for name in (".h", "model.v1", "cmake"):
        export(library, "--format", "cmake", "-o", tmp_path / name)
        assert (tmp_path / name / "CMakeLists.txt").is_file()


def test_the_single_file_alone(
    library: Path,
    packages: Mapping[str, Path],
    cli: CommandLine,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ("--format", "c-single-file", "-o", tmp_path / "new" / "net.h")
    said = cli.ok("export", library, *words).out
    assert "its first lines say how it is used" in said
    header = (tmp_path / "new" / "net.h").read_bytes()
    assert header == (packages["c-single-file"] / f"{NAME}.h").read_bytes()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["net.h"]
    assert "exists already" in cli.refused("export", library, *words)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--schedules", "x.json"), "--schedules"),
        (("--no-fold-channels", "--strip-edges"), "--strip-edges, --no-fold-channels"),
        (("--planner", "exact"), "--planner"),
        (("--cpu", "cortex-m4"), "--cpu or --board"),
        (("--runtime",), "--runtime"),
    ],
)
def test_an_array_is_not_compiled(
    words: tuple[str, ...],
    named: str,
    cli: CommandLine,  # noqa: F811
    tmp_path: Path,
) -> None:
    """What would have no effect on the bytes of a file is refused, not ignored."""
    said = cli.refused("export", DIGITS, "--c-array", "-o", tmp_path / "x", *words)
    assert f"holds the model's file as it is: {named} would change nothing" in said
    assert not (tmp_path / "x").exists()


def test_a_format_of_the_other_kind(library: Path) -> None:
    with pytest.raises(UserError, match="made from a compiled model"):
        array_package(load_format("cmake"), DIGITS, NAME)
    with pytest.raises(UserError, match="made from a model's file"):
        library_package(load_format("c-array"), read_library(library), Details())


def test_a_library_without_members(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["members"]
    file.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="does not say how its inputs are called"):
        library_package(load_format("cmake"), read_library(tmp_path), Details())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("colour = 1", "unknown keys: colour"),
        ("files = 3", "files must be a table of paths"),
        ("[files]\na = 1", "files must be a table of paths"),
        ('[files]\n"a" = "missing.j2"', "a can't be made: TemplateNotFound"),
        ('[files]\n"a" = "missing"', "a can't be made: TemplateNotFound"),
        ('[files]\n"{{ nothing }}" = "a.j2"', "UndefinedError"),
    ],
)
def test_damaged_formats(settings: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "format.toml").write_text(settings)
    with pytest.raises(ToolError, match=message):
        load_format("odd", tmp_path).render({})


def test_an_unknown_format() -> None:
    with pytest.raises(MicrotvmError, match="there is no format 'cmak'") as error:
        load_format("cmak")
    assert error.value.hint == "did you mean cmake?"


def test_the_generic_core_counts_on_nothing() -> None:
    assert load_cpu(GENERIC_CPU).features == frozenset()
    folder = data_folder("project_templates") / "export"
    assert not list(folder.rglob("*.py"))
