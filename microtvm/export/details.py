"""What a package's manifest says that no model knows: version, author, address."""

from __future__ import annotations

import re
from dataclasses import dataclass

from microtvm.errors import UserError

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_AUTHOR = re.compile(r"[^\W_][^\x00-\x1f<>\"\\]*")
_URL = re.compile(r"https?://[^\s\"'<>\\]+")


@dataclass(frozen=True)
class Details:
    """Of one package.

    UserError for a version that isn't of the form 1.2.3, for an author of more than one line or
    with quotes, and for a URL that isn't http.
    """

    version: str = "1.0.0"
    author: str = "microtvm"
    url: str = "https://example.org"
    """A placeholder: manifests ask for an address, and example.org is nobody's."""

    def __post_init__(self) -> None:
        if not _VERSION.fullmatch(self.version):
            raise UserError(
                f"{self.version!r} is no version of a package",
                hint="three numbers, as in 1.2.3",
            )
        if not _AUTHOR.fullmatch(self.author):
            raise UserError(
                f"{self.author!r} is no author of a package",
                hint="one line that begins with a letter or digit, without quotes and brackets",
            )
        if not _URL.fullmatch(self.url):
            raise UserError(
                f"{self.url!r} is no address of a package", hint="as in https://example.org/models"
            )

    @property
    def vendor(self) -> str:
        """The author as a word of letters, digits and dashes, which some registries want."""
        word = re.sub(r"[^A-Za-z0-9]+", "-", self.author).strip("-")
        return word if len(word) > 1 else "microtvm"
