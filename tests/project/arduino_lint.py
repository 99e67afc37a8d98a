"""The rules of arduino-lint that say something of a library or a sketch without asking the network.

Each is named by its id there and raises AssertionError for what arduino-lint, told to be strict,
would call an error or a warning. What is left out needs an index of published libraries (LP017,
LP018, LP048, LP058), a repository (LS004, LP022), a request (LP042) or a dictionary (LP033, LP035).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

KNOWN_FIELDS = (
    "name", "version", "author", "maintainer", "email", "sentence", "paragraph", "category", "url",
    "architectures", "depends", "dot_a_linkage", "includes", "precompiled", "ldflags", "license",
)  # fmt: skip
CATEGORIES = (
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing",
    "Data Storage", "Data Processing", "Other",
)  # fmt: skip
ARCHITECTURES = (
    "avr", "sam", "samd", "mbed_nano", "mbed_portenta", "mbed_rp2040", "mbed_nicla", "mbed_giga",
    "renesas_uno", "renesas_portenta", "esp32", "rp2040", "stm32", "nRF5", "spresense", "*",
)  # fmt: skip
NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.-]*")
FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SEMVER = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@dataclass(frozen=True)
class Library:
    """A library's folder and what its library.properties says."""

    folder: Path
    fields: dict[str, str]

    @staticmethod
    def read(folder: Path) -> Library:
        """Raises AssertionError where there is no such file or it is malformed (LP001, LP005)."""
        file = folder / "library.properties"
        assert file.is_file(), "LP001"
        fields: dict[str, str] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                key, equals, value = line.partition("=")
                assert equals, f"LP005: {line!r}"
                assert key not in fields, f"LP005: {key} twice"
                fields[key] = value
        return Library(folder, fields)

    def all(self) -> list[Path]:
        """Everything in the folder."""
        return list(self.folder.rglob("*"))

    def has(self, key: str) -> bool:
        """Whether the field is there and not blank."""
        return bool(self.fields.get(key, "").strip())


def _misspelled(library: Library, right: str) -> list[str]:
    plain = right.rstrip("s")
    names = [p.name for p in library.folder.iterdir() if p.is_dir()]
    return [n for n in names if n != right and n.lower().rstrip("s") == plain]


def _sketches(library: Library) -> list[Path]:
    examples = library.folder / "examples"
    return sorted(p for p in examples.iterdir() if (p / f"{p.name}.ino").is_file())


def _architectures(library: Library) -> list[str]:
    return library.fields["architectures"].split(",")


RULES: dict[str, Callable[[Library], bool]] = {
    "LS001": lambda x: any((x.folder / "src").glob("*.h")),
    "LS002": lambda x: len(x.folder.name) <= 63,
    "LS003": lambda x: FOLDER.fullmatch(x.folder.name) is not None,
    "LS005": lambda x: not any(p.is_symlink() for p in x.all()),
    "LS006": lambda x: not (x.folder / ".development").exists(),
    "LS007": lambda x: not any(p.suffix == ".exe" for p in x.all()),
    "LS008": lambda x: (x.folder / "src" / f"{x.fields['name']}.h").is_file(),
    "LS009": lambda x: [p.name for p in x.folder.iterdir() if p.name.lower() == "src"] == ["src"],
    "LS010": lambda x: not (x.folder / "utility").exists(),
    "LS011": lambda x: not _misspelled(x, "extras"),
    "LS012": lambda x: not _misspelled(x, "extras"),
    "LP002": lambda x: not [
        p.name for p in x.folder.iterdir()
        if re.fullmatch(r"librar(y|ies)[^a-z]?propert(y|ies)", p.name)
        and p.name != "library.properties"
    ],
    "LP003": lambda x: "library.properties" in {p.name for p in x.folder.iterdir()},
    "LP004": lambda x: [p for p in x.all() if p.name == "library.properties"]
    == [x.folder / "library.properties"],
    "LP006": lambda x: set(x.fields) <= set(KNOWN_FIELDS),
    "LP007": lambda x: "name" in x.fields,
    "LP008": lambda x: x.has("name"),
    "LP009": lambda x: len(x.fields["name"]) <= 63,
    "LP010": lambda x: len(x.fields["name"]) <= 32,
    "LP011": lambda x: NAME.fullmatch(x.fields["name"]) is not None,
    "LP012": lambda x: not x.fields["name"].lower().startswith("arduino"),
    "LP014": lambda x: "arduino" not in x.fields["name"].lower(),
    "LP015": lambda x: " " not in x.fields["name"],
    "LP016": lambda x: "library" not in x.fields["name"].lower(),
    "LP019": lambda x: x.has("version"),
    "LP020": lambda x: SEMVER.fullmatch(x.fields["version"]) is not None,
    "LP021": lambda x: SEMVER.fullmatch(x.fields["version"]) is not None,
    "LP023": lambda x: "author" in x.fields,
    "LP024": lambda x: x.has("author"),
    "LP025": lambda x: "maintainer" in x.fields,
    "LP026": lambda x: x.has("maintainer"),
    "LP027": lambda x: not x.fields["maintainer"].lower().startswith("arduino"),
    "LP057": lambda x: "arduino" not in x.fields["maintainer"].lower(),
    "LP028": lambda x: "email" not in x.fields,
    "LP031": lambda x: "sentence" in x.fields,
    "LP032": lambda x: x.has("sentence"),
    "LP034": lambda x: "paragraph" in x.fields,
    "LP036": lambda x: x.fields["sentence"] not in x.fields["paragraph"],
    "LP037": lambda x: "category" in x.fields,
    "LP038": lambda x: x.fields["category"] in CATEGORIES,
    "LP039": lambda x: x.fields["category"] != "Uncategorized",
    "LP040": lambda x: "url" in x.fields,
    "LP056": lambda x: x.has("url"),
    "LP041": lambda x: urlsplit(x.fields["url"]).scheme in ("http", "https")
    and bool(urlsplit(x.fields["url"]).netloc),
    "LP043": lambda x: "architectures" in x.fields,
    "LP044": lambda x: x.has("architectures"),
    "LP045": lambda x: {a.lower() for a in _architectures(x)}
    <= {a.lower() for a in ARCHITECTURES},
    "LP046": lambda x: set(_architectures(x)) <= set(ARCHITECTURES),
    "LP047": lambda x: "depends" not in x.fields,
    "LP049": lambda x: x.fields.get("dot_a_linkage", "false") in ("true", "false"),
    "LP050": lambda x: (x.folder / "src").is_dir(),
    "LP051": lambda x: x.has("includes"),
    "LP052": lambda x: all(
        (x.folder / "src" / name.strip()).is_file() for name in x.fields["includes"].split(",")
    ),
    "LP053": lambda x: "precompiled" not in x.fields,
    "LP055": lambda x: "ldflags" not in x.fields,
    "LC001": lambda x: not any(
        re.search(r'#include\s*[<"]arduino\.h', p.read_text(encoding="utf-8"))
        for p in x.all() if p.suffix in (".h", ".c", ".cpp", ".ino")
    ),
    "LD001": lambda x: (x.folder / "README.md").is_file(),
    "LD002": lambda x: (x.folder / "LICENSE").is_file(),
    "LD003": lambda x: all(
        p.parent.parent == x.folder / "examples" for p in x.all() if p.suffix in (".ino", ".pde")
    ),
    "LD004": lambda x: bool(_sketches(x)),
    "LD005": lambda x: not _misspelled(x, "examples"),
    "LD006": lambda x: not _misspelled(x, "examples"),
}  # fmt: skip
"""Of libraries."""

SKETCH_RULES: dict[str, Callable[[Path], bool]] = {
    "SS001": lambda x: (x / f"{x.name}.ino").is_file(),
    "SS002": lambda x: all(FOLDER.fullmatch(p.stem) for p in x.iterdir()),
    "SS003": lambda x: all(len(p.stem) <= 63 for p in x.iterdir()),
    "SS004": lambda x: not list(x.glob("*.pde")),
    "SS005": lambda x: not [p for p in x.iterdir() if p.name.lower() == "src" and p.name != "src"],
    "SC001": lambda x: not any("<arduino.h>" in p.read_text() for p in x.glob("*.ino")),
}
"""Of sketches."""


def complaints(library: Path, sketches: list[Path]) -> list[str]:
    """The rules that a library, its examples and other sketches break."""
    read = Library.read(library)
    broken = [rule for rule, holds in RULES.items() if not holds(read)]
    for sketch in (*sketches, *_sketches(read)):
        broken += [
            f"{rule} {sketch.name}" for rule, holds in SKETCH_RULES.items() if not holds(sketch)
        ]
    return broken
