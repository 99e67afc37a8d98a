"""A model on a board from Python, in the steps of the Project API.

The board is a process of this machine. With another, such as `nucleo_f446re`, the image is flashed
with `flash(project)` before the session is opened; nothing else changes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from microtvm.project_api import build, generate_project, open_session

HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits" / "digits_int8.tflite"


def read_image() -> np.ndarray:
    """The first of the test images, as the model takes it: 1 x 8 x 8 x 1, int8."""
    with np.load(HERE / "digits" / "digits_test.npz") as data:
        pixels = data["images"][0].astype(np.float32)
    return np.round(pixels / 16 * 255 - 128).astype(np.int8).reshape(1, 8, 8, 1)


with tempfile.TemporaryDirectory() as folder:
    project = generate_project(MODEL, "host", Path(folder) / "project")
    build(project)
    with open_session(project) as session:
        scores = session.run({"image": read_image()})["scores"]
print(f"this is a {scores.argmax()}")
