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

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold."""


def check_output(form: Format, output: Path) -> None:
    """Whether a package of the format can be written there.

    UserError if `output` is an archive of a kind that the format is not distributed as, exists
    already, or is a folder that isn't empty.
    """
    suffix = _suffix(output)
    if suffix and suffix != form.archive:
        ways = f"a folder or a {form.archive} file" if form.archive else "a folder"
        raise UserError(f"{output}: the format {form.name} is written to {ways}")
    if output.is_dir():
        if suffix or any(output.iterdir()):
            raise UserError(f"{output} is not empty", hint="choose a folder that is new")
    elif output.exists():
        raise UserError(f"{output} exists already", hint="choose another name, or remove it first")


def write_package(form: Format, name: str, files: Mapping[str, bytes], output: Path) -> None:
    """Writes the files to the folder `output`, or to an archive if `output` ends like one.

    `name` is the folder that a zip wraps them in. UserError as `check_output`.
    """
    check_output(form, output)
    suffix = _suffix(output)
    if suffix:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A pack's description must lie at its top; a library manager wants one folder there.
        root = f"{name}/" if suffix == ".zip" else ""
        output.write_bytes(_tar(files) if suffix == ".tar" else _zip(files, root))
        return
    for path, data in files.items():
        file = output / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _suffix(output: Path) -> str:
    return output.suffix if output.suffix in SUFFIXES else ""


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
