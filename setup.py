"""Puts boards, project templates and the C runtime into the wheel, as `microtvm/_data`.

All else about the package is in `pyproject.toml`. An editable install finds the three folders in
the checkout.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA_FOLDERS = ("boards", "project_templates", "runtime_c")


class BuildWithData(build_py):
    """The ordinary build of the Python files, and the data folders copied beside them."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in self._data():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), *(target for _, target in self._data())]

    def _data(self) -> list[tuple[str, str]]:
        built = Path(self.build_lib) / "microtvm" / "_data"
        return [
            (str(file), str(built / file))
            for folder in DATA_FOLDERS
            for file in sorted(Path(folder).rglob("*"))
            if file.is_file()
        ]


setup(cmdclass={"build_py": BuildWithData})
