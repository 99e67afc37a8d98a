"""Options of platforms: types, choices, and what is said of wrong ones."""

from __future__ import annotations

import pytest

from microtvm.errors import UserError
from microtvm.project.option import Option, Value, by_step, parse_options, split_options

OPTIONS = (
    Option("console", False, "Share the line with the console."),
    Option("ring", 256, "Bytes of the receive ring."),
    Option("mode", "alone", "How the link is used.", choices=("alone", "framed")),
    Option("path", "", "Any text.", method="build"),
)


def test_defaults_and_texts_become_values() -> None:
    assert parse_options("p", OPTIONS, {}) == {
        "console": False, "ring": 256, "mode": "alone", "path": "",
    }  # fmt: skip
    given: dict[str, Value] = {"console": "on", "ring": "0x40", "mode": "framed", "path": "7"}
    assert parse_options("p", OPTIONS, given) == {
        "console": True, "ring": 64, "mode": "framed", "path": "7",
    }  # fmt: skip
    assert parse_options("p", OPTIONS, {"console": "No", "ring": 8})["ring"] == 8
    assert [option.kind for option in OPTIONS] == ["bool", "int", "str", "str"]


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"consol": "1"}, "platform p has no option 'consol'", "did you mean console?"),
        (
            {"console": "maybe"},
            "console of platform p must be of type bool, found 'maybe'",
            "Share",
        ),
        ({"ring": "many"}, "ring of platform p must be of type int, found 'many'", "Bytes"),
        ({"ring": "1_0"}, "ring of platform p must be of type int, found .1_0.", "Bytes"),
        ({"ring": True}, "must be of type int, found True", "Bytes"),
        ({"path": 1}, "must be of type str, found 1", "Any"),
        ({"mode": "frame"}, "option mode of platform p is 'frame'", "did you mean framed?"),
    ],
)
def test_wrong_option_is_named(given: dict[str, Value], message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parse_options("p", OPTIONS, given)
    assert caught.value.hint.startswith(hint)


def test_platform_without_options_says_so() -> None:
    with pytest.raises(UserError, match="has no option 'x'") as caught:
        parse_options("p", (), {"x": "1"})
    assert caught.value.hint == "it has no options"


def test_words_are_split() -> None:
    assert split_options(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UserError, match="is NAME=VALUE, found 'a'"):
        split_options(["a"])
    with pytest.raises(UserError, match="option 'a' is given twice"):
        split_options(["a=1", "a=2"])


def test_options_are_sorted_by_step() -> None:
    assert by_step("p", OPTIONS, {"path": "x", "ring": "8"}) == {
        "create": {"ring": "8"},
        "build": {"path": "x"},
        "flash": {},
        "open": {},
    }
    with pytest.raises(UserError, match="platform p has no option 'rin'") as caught:
        by_step("p", OPTIONS, {"rin": 1})
    assert "did you mean ring?" in caught.value.hint
