"""Fixtures and helpers that every test may use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require_tool(name: str) -> str:
    """The path of a program; where it is missing the test is skipped, or fails under CI=true."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def shared_models() -> Path:
    """The folder of MLPerf Tiny models with goldens: MICROTVM_MODELS, or ../shared/models."""
    folder = Path(os.environ.get("MICROTVM_MODELS", ROOT.parent / "shared" / "models"))
    if not (folder / "README.md").is_file():
        reason = (
            f"no models in {folder}; set MICROTVM_MODELS to the folder that has kws_int8.tflite"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
