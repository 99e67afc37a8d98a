"""Writes a package's files to a folder, or to an archive that is the same for the same files."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from microtvm.errors import UserError
from microtvm.export.format import Format

SUFFIXES = (".tar", ".zip", ".pack")
"""What an archive's name may end in; a `.pack` is a zip."""

_OTHER_ARCHIVES = (
    *(".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".gz", ".bz2", ".xz"),
    *(".zst", ".7z", ".rar", ".jar", ".whl"),
)
_OTHER_FILES = (".h", ".hh", ".hpp", ".c", ".cc", ".cpp", ".cxx", ".a", ".o", ".json", ".tflite")
"""What no folder's name ends in: who asks for one of these expects a file."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


def check_output(form: Format, output: Path) -> None:
    """Whether a package of the format can be written there: to a folder that is new or empty, or
    to a new file of a kind that the format is distributed as.

    UserError if not.
    """
    kind = _kind(output)
    if kind and kind not in (form.archive, Path(form.single).suffix):
        raise UserError(f"{output}: the format {form.name} is written to {ways(form)}")
    if output.is_dir():
        if kind or any(output.iterdir()):
            raise UserError(f"{output} is not empty", hint="choose a folder that is new")
    elif output.exists():
        raise UserError(f"{output} exists already", hint="choose another name, or remove it first")
    elif output.parent.exists() and not output.parent.is_dir():
        raise UserError(f"can't write {output}: {output.parent} is a file, not a folder")


def write_package(form: Format, name: str, files: Mapping[str, bytes], output: Path) -> list[str]:
    """Writes the files to the folder `output`, or to an archive if `output` ends like one, or the
    one file that matters if it ends like that; the paths that were written.

    `name` is the package's; a zip wraps the files in a folder of that name. UserError as
    `check_output`.
    """
    check_output(form, output)
    kind = _kind(output)
    if kind:
        output.parent.mkdir(parents=True, exist_ok=True)
        if kind == Path(form.single).suffix:
            path = form.path(form.single, {"prefix": name})
            output.write_bytes(files[path])
            return [path]
        # A pack's description must lie at its top; a library manager wants one folder there.
        root = f"{name}/" if kind == ".zip" else ""
        output.write_bytes(_tar(files) if kind == ".tar" else _zip(files, root))
        return list(files)
    for path, data in files.items():
        file = output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return list(files)


def _kind(output: Path) -> str:
    """How the name ends, if that is the end of a file's; '' for a folder."""
    name = output.name.lower()
    ends = (*SUFFIXES, *_OTHER_ARCHIVES, *_OTHER_FILES)
    return next((end for end in ends if name.endswith(end) and name != end), "")


def ways(form: Format) -> str:
    """What a package of the format is written to, in words."""
    ways = ["a folder"]
    if form.archive:
        ways.append(f"a {form.archive} file")
    if form.single:
        ways.append(f"a {Path(form.single).suffix} file")
    return " or ".join(ways)


def _zip(files: Mapping[str, bytes], root: str) -> bytes:
    stream = io.BytesIO()
    # Not deflated: what comes of that differs between versions of zlib.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(root + path, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[path])
    return stream.getvalue()


def _tar(files: Mapping[str, bytes]) -> bytes:
    """As TVM's: paths begin with `./`, folders are entries, everything is root's."""
    folders = {parent for path in files for parent in PurePosixPath(path).parents}
    entries: dict[str, bytes | None] = {str(folder): None for folder in folders}
    entries.update(files)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(entries):
            entry = tarfile.TarInfo("." if path == "." else f"./{path}")
            entry.uname = entry.gname = "root"
            data = entries[path]
            if data is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            else:
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()
