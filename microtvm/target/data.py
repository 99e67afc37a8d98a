"""Where the files that are not Python live: boards, project templates, the C runtime.

In a checkout they lie beside the package, in an installed wheel under `microtvm/_data`, where
`setup.py` puts them.
"""

from __future__ import annotations

from pathlib import Path

from microtvm.errors import ToolError

_PACKAGE = Path(__file__).resolve().parent.parent


def data_folder(name: str) -> Path:
    """The folder `boards`, `project_templates` or `runtime_c`, read-only for its user.

    ToolError if the installation lacks it.
    """
    places = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise ToolError(
        f"this installation of microtvm has no folder {name!r}: looked in "
        + " and ".join(str(place) for place in places),
        hint="install microtvm again: pip install --force-reinstall microtvm",
    )
