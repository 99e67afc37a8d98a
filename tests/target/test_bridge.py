"""USB bridges as data, and every mistake in their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.errors import BoardError
from microtvm.target.bridge import find_bridge, read_bridge


def test_bridges_that_are_known() -> None:
    found = find_bridge(0x1A86)
    assert found is not None
    assert (found.name, found.driver) == ("ch340", "ch341")
    assert "brltty" in found.problem
    assert find_bridge(0x0483) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('description = "x"\nvendor = "1A86"\ndriver = "d"\n', "vendor is '1A86'"),
        ('description = "x"\ndriver = "d"\n', "vendor is missing"),
        ('description = "x"\nvendor = "1a86"\ndriver = "d"\nhint = "h"\n', "hint is not a key"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(BoardError, match=message) as caught:
        read_bridge(tmp_path, tmp_path / "own.toml")
    assert "own.toml" in caught.value.message
