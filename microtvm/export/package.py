"""The files of a package: the model library's, perhaps the runtime's, and what its format adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtvm.errors import UserError
from microtvm.export import mlf
from microtvm.export.details import Details
from microtvm.export.format import Format
from microtvm.project import Library
from microtvm.target import data_folder, load_cpu
from microtvm.version import VERSION

GENERIC_CPU = "generic"
_COLUMNS = 12
_FUNCTION = re.compile(r"^(?!static\b)[A-Za-z_][^\n;={]*?\b(mtvm_\w+)\(", re.MULTILINE)
_ANY_FUNCTION = re.compile(r"^[A-Za-z_][^\n;={]*?\b(mtvm_\w+)\(", re.MULTILINE)
_QUOTED_INCLUDE = re.compile(r'^#include "([^"\n]*)"\n', re.MULTILINE)


def library_package(
    form: Format, library: Library, details: Details, *, runtime: bool = False
) -> dict[str, bytes]:
    """The package's files by path, around a compiled model; with `runtime`, the RPC server too.

    UserError if the format holds no compiled model, can't take its name, or the library is of a
    version that didn't say how its inputs are called.
    """
    if form.array:
        raise UserError(
            f"the format {form.name} is made from a model's file, not from a compiled library",
            hint="give the .tflite file",
        )
    form.check_name(library.prefix)
    texts = _texts(library, runtime)
    context = _context(form, library, details, texts, runtime)
    files = form.render(context)
    for path, name in _placed(form, texts, context).items():
        files[path] = texts[name]
    if form.metadata:
        metadata = library.folder / "metadata.json"
        files[form.path(form.metadata, context)] = metadata.read_text(encoding="utf-8")
    result = {path: text.encode("utf-8") for path, text in sorted(files.items())}
    if form.name == mlf.FORMAT:
        result = mlf.complete(result, library, context["io"], runtime=runtime)
    return result


def array_package(form: Format, model: Path, prefix: str) -> dict[str, bytes]:
    """The package's files by path: the model's file as an array of bytes that C can have.

    UserError if the format isn't for that or can't take the name, or the file is empty.
    """
    if not form.array:
        raise UserError(f"the format {form.name} is made from a compiled model")
    form.check_name(prefix)
    data = model.read_bytes()
    if not data:
        raise UserError(f"{model} is empty")
    words = [f"0x{byte:02x}" for byte in data]
    rows = [", ".join(words[i : i + _COLUMNS]) for i in range(0, len(words), _COLUMNS)]
    context = {
        "prefix": prefix,
        "file": model.name,
        "rows": rows,
        "size": len(data),
        "generator": f"microtvm {VERSION}",
    }
    return {p: text.encode("utf-8") for p, text in sorted(form.render(context).items())}


def _texts(library: Library, runtime: bool) -> dict[str, str]:
    """The C files by name, headers after those that they include, sources last."""
    root = data_folder("runtime_c")
    files = [root / "include" / "mtvm_model.h", *(library.folder / n for n in library.sources)]
    if runtime:
        files += sorted([*root.glob("include/*.h"), *root.glob("src/*.[ch]")])
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    result: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts and name not in result:
            for included in _QUOTED_INCLUDE.findall(texts[name]):
                add(included)
            result[name] = texts[name]

    for name in sorted(texts, key=lambda name: not name.endswith(".h")):
        add(name)
    return result


def _placed(form: Format, texts: Mapping[str, str], context: Mapping[str, Any]) -> dict[str, str]:
    """Path in the package of every C file that is copied as it is."""
    result = {}
    for name in texts:
        pattern = form.headers if name.endswith(".h") else form.sources
        if pattern:
            result[form.path(pattern, {**context, "file": name})] = name
    return result


def _context(
    form: Format,
    library: Library,
    details: Details,
    texts: Mapping[str, str],
    runtime: bool,
) -> dict[str, Any]:
    """What the templates may refer to."""
    cpu = load_cpu(str(library.metadata.get("cpu") or GENERIC_CPU))
    source = f"{library.prefix}.c"
    context: dict[str, Any] = {
        "model": library,
        "prefix": library.prefix,
        "upper": library.prefix.upper(),
        "package": details,
        "cpu": cpu,
        "generic": cpu.name == GENERIC_CPU,
        "io": _io(library),
        "runtime": runtime,
        "many_inputs": max(8, len(library.metadata["inputs"])) if runtime else 8,
        "generator": f"microtvm {VERSION}",
        "version": VERSION,
        # For a format that puts everything in one file: nothing is left to include, and names that
        # are the same in several such files are known.
        "text": {name: _QUOTED_INCLUDE.sub("", text) for name, text in texts.items()},
        "model_helpers": sorted(set(_ANY_FUNCTION.findall(texts[source]))),
        "runtime_functions": sorted(
            {
                function
                for name, text in texts.items()
                if name.endswith(".c") and name != source
                for function in _FUNCTION.findall(text)
            }
        ),
    }
    placed = sorted(_placed(form, texts, context))
    context["headers"] = [path for path in placed if path.endswith(".h")]
    context["sources"] = [path for path in placed if not path.endswith(".h")]
    # Packages that meet in one program have the runtime once.
    own = form.path(form.sources, {**context, "file": source})
    context["model_sources"] = [path for path in context["sources"] if path == own]
    context["runtime_sources"] = [path for path in context["sources"] if path != own]
    return context


def _io(library: Library) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs: the member of `<prefix>_io`, and what the metadata say."""
    members = library.metadata.get("members")
    if not isinstance(members, dict):
        raise UserError(
            f"the library {library.folder} does not say how its inputs are called in C",
            hint="compile the model again with this version",
        )
    result: dict[str, list[dict[str, Any]]] = {}
    for kind in ("inputs", "outputs"):
        tensors = [library.metadata["tensors"][i] for i in library.metadata[kind]]
        result[kind] = [
            {**tensor, "member": member, "count": _count(tensor["shape"])}
            for tensor, member in zip(tensors, members[kind], strict=True)
        ]
    return result


def _count(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
