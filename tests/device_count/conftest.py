"""The plugin, built once into a cache of the test run's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.device.count import build_plugin
from tests.conftest import require_tool


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("cc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        built = build_plugin()
    assert built.path is not None, built.reason
    return built.path
