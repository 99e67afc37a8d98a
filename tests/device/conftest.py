"""The server of `runtime_c`, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.device.harness import (
    HOST_DEFINES,
    HOST_SOURCES,
    SERVER_SOURCES,
    TESTS_C,
    Server,
    compile_c,
)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server in this process, with the undefined behaviour sanitizer."""
    folder = tmp_path_factory.mktemp("server")
    library = compile_c(
        require_tool("gcc"),
        folder / "server.so",
        *("-O1", "-shared", "-fPIC", "-fsanitize=undefined", "-fno-sanitize-recover=all"),
        TESTS_C / "harness.c",
        *SERVER_SOURCES,
    )
    return Server(library)


@pytest.fixture(scope="session")
def tiny_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-written model as a host process, with the address sanitizer."""
    return compile_c(
        require_tool("gcc"),
        tmp_path_factory.mktemp("tiny") / "tiny",
        *("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *HOST_DEFINES),
        *HOST_SOURCES,
    )
