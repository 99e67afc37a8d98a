"""The text picture of a plan."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from microtvm.memory import Plan, Request, picture, plan
from tests.memory.strategy import requests


def test_a_small_plan() -> None:
    wanted = [Request("x", 1024, 0, 1), Request("y", 512, 1, 3), Request("z", 1024, 2, 3)]
    expected = """\
1,536 bytes, lower bound 1,536, by hand
       from          to       bytes  steps 0 to 3
          0       1,024       1,024  ##..  x
          0       1,024       1,024  ..##  z
      1,024       1,536         512  .###  y
                              alive  6===
"""
    assert picture(wanted, Plan({"x": 0, "y": 1024, "z": 0}, 1536, 1536, "hand")) == expected


def test_many_steps_share_columns() -> None:
    wanted = [Request("long", 10, 0, 199), Request("late", 10, 199, 199)]
    text = picture(wanted, plan(wanted))
    lines = text.splitlines()
    assert "steps 0 to 199, 4 in a column" in lines[1]
    assert lines[2].split()[3] == "#" * 50
    assert lines[3].split()[3] == "." * 49 + "#"
    assert lines[4].split()[1] == "5" * 49 + "="


@settings(max_examples=40, deadline=None)
@given(wanted=requests())
def test_every_buffer_has_its_line(wanted: list[Request]) -> None:
    found = plan(wanted, "greedy_size")
    lines = picture(wanted, found).splitlines()
    if not wanted:
        assert lines == ["no buffers"]
        return
    first = min(request.first for request in wanted)
    rows = {line.split()[-1]: line.split() for line in lines[2:-1]}
    assert set(rows) == {request.name for request in wanted}
    for request in wanted:
        start, end, size, marks, _ = rows[request.name]
        assert int(start.replace(",", "")) == found.offsets[request.name]
        assert int(end.replace(",", "")) - int(start.replace(",", "")) == request.size_bytes
        assert int(size.replace(",", "")) == request.size_bytes
        alive = [step for step, mark in enumerate(marks, first) if mark == "#"]
        assert alive == list(range(request.first, request.last + 1))


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_arena_has_a_picture(size: int) -> None:
    wanted = [Request("x", size, 0, 0)]
    assert picture(wanted, plan(wanted)).splitlines()[2].endswith("#  x")
