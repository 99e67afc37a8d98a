"""What a test needs and does not find: a skip on a machine of one's own, a failure under CI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_module, require_tool, shared_models


@pytest.mark.parametrize("ci", ["true", "", None])
@pytest.mark.parametrize(
    ("require", "missing"),
    [
        (lambda: require_tool("no-such-program"), "no-such-program is not installed"),
        (lambda: require_module("no_such_package"), "no_such_package is not installed"),
        (shared_models, "no models in"),
    ],
)
def test_what_is_missing(
    require: Callable[[], object],
    missing: str,
    ci: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MICROTVM_MODELS", str(tmp_path))
    if ci is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", ci)
    ending = pytest.fail.Exception if ci == "true" else pytest.skip.Exception
    with pytest.raises(ending, match=missing):
        require()


def test_what_is_there() -> None:
    require_module("pytest")
    assert Path(require_tool("sh")).is_file()
