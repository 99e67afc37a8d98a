"""Fixtures and helpers that every test may use."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent


def lacking(reason: str) -> NoReturn:
    """What a test needs is not there: it is skipped, or fails under CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of a program; see `lacking`."""
    found = shutil.which(name)
    if found is None:
        lacking(f"{name} is not installed")
    return found


def require_module(name: str) -> None:
    """A Python package; see `lacking`."""
    if importlib.util.find_spec(name) is None:
        lacking(f"{name} is not installed")


def shared_models() -> Path:
    """The folder of MLPerf Tiny models with goldens: MICROTVM_MODELS, or ../shared/models."""
    folder = Path(os.environ.get("MICROTVM_MODELS", ROOT.parent / "shared" / "models"))
    if not (folder / "README.md").is_file():
        lacking(
            f"no models in {folder}; set MICROTVM_MODELS to the folder that has kws_int8.tflite"
        )
    return folder
