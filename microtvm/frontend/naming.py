"""Short unique identifiers from the long names of a model file."""

from __future__ import annotations

import re

MAX_CHARACTERS = 63
SUFFIX_CHARACTERS = 5
"""Room that is left for what makes a name unique."""


class Names:
    """Hands out identifiers of [A-Za-z0-9_], at most 63 characters, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def own(self, text: str) -> str:
        """The whole of `text` as an identifier: for inputs and outputs, which users name."""
        return self._unique(_identifier(text))

    def short(self, text: str) -> str:
        """An identifier from the telling part of a converter's name.

        Converters join the names of all that was fused, by semicolons, and each is a path of
        scopes: the last two steps of the first path.
        """
        path = [step for step in text.split(";")[0].split("/") if step]
        return self._unique(_identifier("/".join(path[-2:])))

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._taken:
            count += 1
            suffix = f"_{count}"
            candidate = name[: MAX_CHARACTERS - max(len(suffix), SUFFIX_CHARACTERS)] + suffix
        self._taken.add(candidate)
        return candidate


def _identifier(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    if not name or name[0].isdigit():
        name = f"t_{name}".rstrip("_")
    return name[:MAX_CHARACTERS].rstrip("_")
