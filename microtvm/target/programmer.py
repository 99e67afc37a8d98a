"""What is known of flash tools: how to get them, and what they say when they fail. Data, in
`boards/flash/`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from microtvm.errors import BoardError
from microtvm.target.data import data_folder
from microtvm.target.document import load_table
from microtvm.target.reader import Reader

FOLDER = "flash"


@dataclass(frozen=True)
class Failure:
    """One way for a tool to fail."""

    name: str
    match: re.Pattern[str]
    """Is found in what the tool prints."""
    problem: str
    """What it means; with placeholders, see `Diagnosis`."""
    hint: str
    """What to do."""
    endless: bool
    """The tool says so and then waits for ever."""


@dataclass(frozen=True)
class Diagnosis:
    """What a failure means for the board at hand.

    Its texts may refer to {board}, {port}, the values of arguments that the tool's file names, and
    named groups of the match; what isn't known stands there in capitals.
    """

    problem: str
    hint: str
    endless: bool


@dataclass(frozen=True)
class Programmer:
    """A flash tool."""

    name: str
    description: str
    programs: tuple[str, ...]
    """Under which names it may be installed; empty for what microtvm does itself."""
    install: str
    """How to get it."""
    url: str
    platform: str
    """Whose projects it flashes; empty for any."""
    arguments: Mapping[str, tuple[str, ...]]
    """Options of its command line by the name under which texts refer to their values."""
    touch: bool
    """Whether its boards enter their bootloader when their port is opened at 1200 baud."""
    success: re.Pattern[str] | None
    """Is found in what it prints if all went well whatever its exit status."""
    trusted: bool
    """Whether exit status 0 means success."""
    failures: tuple[Failure, ...]
    """The telling ones first."""

    def diagnose(
        self, output: str, argv: Sequence[str], board: str, port: str = ""
    ) -> Diagnosis | None:
        """The first of `failures` that the output has; None if it has none."""
        for failure in self.failures:
            found = failure.match.search(output)
            if found:
                known = self._arguments(argv) | {"board": board}
                known |= {"port": port} if port else {}
                known |= {k: v for k, v in found.groupdict().items() if v}
                values = _Known(known)
                return Diagnosis(
                    failure.problem.format_map(values),
                    failure.hint.format_map(values),
                    failure.endless,
                )
        return None

    def _arguments(self, argv: Sequence[str]) -> dict[str, str]:
        found = {}
        for name, options in self.arguments.items():
            for position, word in enumerate(argv):
                key, equals, value = word.partition("=")
                if key in options and equals:
                    found[name] = value
                elif word in options and position + 1 < len(argv):
                    found[name] = argv[position + 1]
        return found


class _Known(dict[str, str]):
    """What isn't known stands there in capitals."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def list_programmers() -> list[str]:
    """The names of all flash tools that something is known of, sorted."""
    return sorted(file.stem for file in (data_folder("boards") / FOLDER).glob("*.toml"))


def load_programmer(program: str) -> Programmer:
    """What is known of the tool that is called by the name `program`: nothing but the name, if it
    has no file. BoardError for wrong data."""
    root = data_folder("boards")
    for name in list_programmers():
        found = read_programmer(root, root / FOLDER / f"{name}.toml")
        if program == name or program in found.programs:
            return found
    return Programmer(
        name=program,
        description="",
        programs=(program,),
        install=f"install {program} and put it on the PATH",
        url="",
        platform="",
        arguments={},
        touch=False,
        success=None,
        trusted=True,
        failures=(),
    )


def read_programmer(root: Path, file: Path) -> Programmer:
    """The tool described by `file`."""
    reader = Reader(load_table(root, file), file)
    programmer = Programmer(
        name=file.stem,
        description=reader.text("description"),
        programs=reader.texts("programs"),
        install=reader.text("install", ""),
        url=reader.text("url"),
        platform=reader.text("platform", ""),
        arguments={name: tuple(str(v).split()) for name, v in reader.scalars("arguments")},
        touch=reader.flag("touch", False),
        success=_pattern(reader, "success") if reader.has("success") else None,
        trusted=reader.flag("trusted", True),
        failures=tuple(_failure(name, inner) for name, inner in reader.tables("failure")),
    )
    reader.finish()
    return programmer


def _failure(name: str, reader: Reader) -> Failure:
    failure = Failure(
        name=name,
        match=_pattern(reader, "match"),
        problem=_text(reader, "problem"),
        hint=_text(reader, "hint"),
        endless=reader.flag("endless", False),
    )
    reader.finish()
    return failure


def _text(reader: Reader, key: str) -> str:
    """A text whose placeholders can be filled in."""
    text = reader.text(key)
    try:
        text.format_map(_Known())
    except (ValueError, IndexError, AttributeError, KeyError) as error:
        raise BoardError(
            f"{reader.where(key)} can't be filled in: {error}",
            hint="a placeholder is a name in braces; a brace itself is written twice",
        ) from None
    return text


def _pattern(reader: Reader, key: str) -> re.Pattern[str]:
    text = reader.text(key)
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as error:
        raise BoardError(f"{reader.where(key)} is no regular expression: {error}") from None
