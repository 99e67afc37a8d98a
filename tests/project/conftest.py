"""The image of the model `tiny` for every board, built once."""

from __future__ import annotations

import pytest

from microtvm.project import Built
from tests.project.image import EMULATED, build_tiny


@pytest.fixture(scope="session", params=["host", *EMULATED])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An image with the server; nobody changes it."""
    return build_tiny(str(request.param), tmp_path_factory.mktemp("served") / "p")
