"""Where commands write, looked at before they work."""

from __future__ import annotations

import os
from pathlib import Path

from microtvm.errors import UserError


def check_folder(folder: Path) -> None:
    """UserError if `folder` is a file, or can neither be written to nor be made."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder", hint="choose another name for -o")
    above = folder
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise UserError(f"can't write {folder}: {above} is a file, not a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"can't write {folder}: no permission in {above}")
    if above != folder:
        first = above / folder.relative_to(above).parts[0]
        try:
            # No more is left behind than before: what is wrong with the model is still to be seen.
            first.mkdir()
            first.rmdir()
        except OSError as error:
            raise UserError(f"can't make the folder {first}: {error.strerror}") from None
