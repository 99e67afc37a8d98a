"""Options of a platform: typed, named, and checked where they are given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from microtvm.errors import UserError
from microtvm.target.document import near

Value = str | int | bool

METHODS = ("create", "build", "flash", "open")
"""The steps that an option can be meant for."""

INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+)")
"""How integers are written: as C has them, which is less than what Python reads."""

_ELSEWHERE = {
    "watchdog_s": "baremetal has it, and arduino on boards with an AVR; an application on any "
    "other platform has a watchdog of its own, see runtime_c/SPEC.md"
}
"""What to do without an option that other platforms have."""

_TRUE = ("1", "on", "true", "yes")
_FALSE = ("0", "off", "false", "no")


@dataclass(frozen=True)
class Option:
    """One option of a platform."""

    name: str
    default: Value
    """Its type is the option's type."""
    help: str
    """One line."""
    method: str = "create"
    """Out of METHODS. What is given when the project is created stays with the project."""
    choices: tuple[str, ...] = ()
    """All values of a string; empty for any."""

    @property
    def kind(self) -> str:
        """`bool`, `int` or `str`."""
        return type(self.default).__name__

    def parse(self, platform: str, given: Value) -> Value:
        """The value as the option's type, from its text or from that type; UserError if it is
        neither."""
        found: Value = given
        if isinstance(given, str) and self.kind == "bool":
            word = given.lower()
            found = True if word in _TRUE else False if word in _FALSE else given
        elif isinstance(given, str) and self.kind == "int":
            found = int(given, 0) if INTEGER.fullmatch(given) else given
        if type(found) is not type(self.default):
            raise UserError(
                f"option {self.name} of platform {platform} must be of type {self.kind}, "
                f"found {given!r}",
                hint=self.help,
            )
        if self.choices and found not in self.choices:
            raise UserError(
                f"option {self.name} of platform {platform} is {found!r}",
                hint=near(str(found), list(self.choices)),
            )
        return found


def parse_options(
    platform: str, options: Sequence[Option], given: Mapping[str, Value]
) -> dict[str, Value]:
    """Every option with its value: the given one, or the default. UserError for an unknown name or
    a value of the wrong type."""
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            hint = _ELSEWHERE.get(name) or near(name, sorted(known))
            raise UserError(
                f"platform {platform} has no option {name!r}", hint=hint or "it has no options"
            )
    return {
        name: option.parse(platform, given[name]) if name in given else option.default
        for name, option in known.items()
    }


def by_step(
    platform: str, options: Sequence[Option], given: Mapping[str, Value]
) -> dict[str, dict[str, Value]]:
    """What is given, by the step of METHODS that it is meant for; UserError for an unknown name."""
    steps: dict[str, dict[str, Value]] = {method: {} for method in METHODS}
    known = {option.name: option.method for option in options}
    for name, value in given.items():
        if name not in known:
            parse_options(platform, options, given)
        steps[known[name]][name] = value
    return steps


def split_options(words: Sequence[str]) -> dict[str, Value]:
    """`NAME=VALUE` words as a mapping; UserError for a word without `=` or a name given twice."""
    found: dict[str, Value] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UserError(f"an option of a platform is NAME=VALUE, found {word!r}")
        if name in found:
            raise UserError(f"option {name!r} is given twice")
        found[name] = value
    return found
