"""The words of the graph's text form: what stands at a place, or an IRError that names the line."""

from __future__ import annotations

import json
import re

from microtvm.errors import IRError

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<digest>\#[0-9a-f]{16})
    |(?P<number>-?(?:inf\b|nan\b|\d+(?:\.\d+)?(?:e[+-]?\d+)?))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>[%:=,(){}\[\]@])""",
    re.VERBOSE,
)


class Reader:
    """Reads a text from its start to its end; every method but `error` moves on past what it
    returns.
    """

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        line, place = 1, 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise IRError(f"line {line}: unexpected character {text[place]!r}")
            if match.lastgroup != "space":
                self._tokens.append((str(match.lastgroup), match.group(), line))
            line += match.group().count("\n")
            place = match.end()
        self._tokens.append(("end", "the end of the text", line))

    def error(self, message: str) -> IRError:
        """The error to raise for what was read last."""
        line = self._tokens[max(self._next - 1, 0)][2]
        return IRError(f"line {line}: {message}")

    def peek(self, text: str) -> bool:
        """Whether a word or mark stands next."""
        kind, found, _ = self._tokens[self._next]
        return found == text and kind in ("word", "mark")

    def accept(self, text: str) -> bool:
        """Whether a word or mark stands next; then it is read."""
        found = self.peek(text)
        self._next += found
        return found

    def expect(self, text: str) -> None:
        """Read a word or mark that must stand next."""
        if not self.accept(text):
            raise self._wrong(repr(text))

    def at_string(self) -> bool:
        """Whether a string stands next."""
        return self._tokens[self._next][0] == "string"

    def end(self) -> None:
        """Nothing may stand next."""
        if self._tokens[self._next][0] != "end":
            raise self._wrong("the end of the text")

    def word(self) -> str:
        """An identifier."""
        # inf and nan are numbers by their form, but identifiers here.
        if self._tokens[self._next][1] in ("inf", "nan"):
            return self._take("number", "a name")
        return self._take("word", "a name")

    def value(self) -> str:
        """A value's name, without its mark %."""
        self.expect("%")
        return self.word()

    def string(self) -> str:
        """A JSON string."""
        text = self._take("string", "a string")
        try:
            return str(json.loads(text))
        except json.JSONDecodeError as error:
            raise self.error(f"{text} is not a JSON string") from error

    def digest(self) -> str:
        """A constant's digest, without its mark #."""
        return self._take("digest", "a digest #0123456789abcdef")[1:]

    def number(self) -> int | float:
        """An integer, or a float where it has a point or an exponent, or is inf or nan."""
        text = self._take("number", "a number")
        return int(text) if text.lstrip("-").isdigit() else float(text)

    def integer(self) -> int:
        """An integer."""
        value = self.number()
        if not isinstance(value, int):
            raise self.error(f"expected an integer, found {value!r}")
        return value

    def numbers(self) -> tuple[int | float, ...]:
        """A tuple of numbers in parentheses."""
        values: list[int | float] = []
        self.expect("(")
        while not self.accept(")"):
            values.append(self.number())
            if not self.peek(")"):
                self.expect(",")
        return tuple(values)

    def integers(self) -> tuple[int, ...]:
        """A tuple of integers in parentheses."""
        values = self.numbers()
        integers = tuple(v for v in values if isinstance(v, int))
        if len(integers) != len(values):
            raise self.error(f"expected integers, found {values!r}")
        return integers

    def _take(self, kind: str, what: str) -> str:
        if self._tokens[self._next][0] != kind:
            raise self._wrong(what)
        self._next += 1
        return self._tokens[self._next - 1][1]

    def _wrong(self, wanted: str) -> IRError:
        _, found, line = self._tokens[self._next]
        return IRError(f"line {line}: expected {wanted}, found {found!r}")
