"""What is known of flash tools: read, and refused where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.errors import BoardError
from microtvm.target import list_programmers, load_programmer
from microtvm.target.programmer import read_programmer

GOOD = """
description = "a tool"
programs = ["tool"]
install = "apt-get install tool"
url = "https://example.com"
[arguments]
target = "-t --target"
[failure.first]
match = 'chip (?P<chip>\\w+)( at (?P<place>\\w+))? is gone'
problem = "{board} has no {chip} at {place}"
hint = "tool -t {target} --port {port}"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "tool.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("argv", "target"),
    [
        (["tool", "-t", "m4"], "m4"),
        (["tool", "--target=m7"], "m7"),
        (["tool", "-t"], "TARGET"),
        (["tool"], "TARGET"),
    ],
)
def test_texts_refer_to_what_is_known(tmp_path: Path, argv: list[str], target: str) -> None:
    tool = read_programmer(tmp_path, write(tmp_path, GOOD))
    found = tool.diagnose("x\nchip A1 is gone\n", argv, "nucleo")
    assert found is not None
    assert found.problem == "nucleo has no A1 at PLACE"
    assert found.hint == f"tool -t {target} --port PORT"
    found = tool.diagnose("chip A1 at home is gone", argv, "nucleo", "/dev/ttyACM0")
    assert found is not None
    assert found.problem == "nucleo has no A1 at home"
    assert found.hint.endswith("--port /dev/ttyACM0")
    assert tool.diagnose("all is well", argv, "nucleo") is None


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("'chip (", "'chip ((", "failure.first.match is no regular expression"),
        ("hint =", "hunt =", "failure.first.hint is missing"),
        ("{board} has", "{board has", "failure.first.problem can't be filled in"),
        ("{port}", "{}", "failure.first.hint can't be filled in"),
        ('url = "https://example.com"', "", "url is missing"),
        ("[arguments]", "colour = 1\n[arguments]", "colour is not a key known here"),
        ("[arguments]", "touch = 1\n[arguments]", "touch must be true or false"),
    ],
)
def test_wrong_data_are_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in GOOD
    with pytest.raises(BoardError, match=message):
        read_programmer(tmp_path, write(tmp_path, GOOD.replace(before, after)))


def test_tools_are_known_by_the_names_of_their_programs() -> None:
    assert "pyocd" in list_programmers()
    assert load_programmer("esptool.py").name == "esptool"
    assert load_programmer("STM32_Programmer_CLI").name == "stm32cubeprogrammer"
    unknown = load_programmer("frobnicate")
    assert (unknown.programs, unknown.failures) == (("frobnicate",), ())
    assert unknown.install == "install frobnicate and put it on the PATH"
