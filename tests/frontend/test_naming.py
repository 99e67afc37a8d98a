"""Identifiers from the names of model files."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from microtvm.frontend.naming import Names


@given(st.lists(st.text() | st.sampled_from(["a", "A", "x" * 80, "a/b;c", "", "1"]), max_size=30))
def test_always_unique_identifiers(texts: list[str]) -> None:
    names = Names()
    found = [names.own(t) if i % 2 else names.short(t) for i, t in enumerate(texts)]
    assert len(set(found)) == len(found)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", name) for name in found)


def test_how_names_look() -> None:
    names = Names()
    assert names.own("serving_default_x:0") == "serving_default_x_0"
    assert names.short("model/conv2d/Relu;model/conv2d/BiasAdd") == "conv2d_Relu"
    assert names.short("other/conv2d/Relu") == "conv2d_Relu_2"
    assert names.own("49x10") == "t_49x10"
    assert names.own("+") == "t"
    assert [names.own("n" * 70), names.own("n" * 70)] == ["n" * 63, "n" * 58 + "_2"]
