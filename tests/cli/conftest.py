"""The command line in this process, and a small model with two outputs out of order."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtvm.cli import main
from tests.conftest import require_tool
from tests.reference import Operator, Tensor, build, schema

M4 = "qemu-mps2-an386"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class CommandLine:
    """Runs `microtvm` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Ended:
        """Any ending; an exception that would show a traceback fails the test by itself."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        captured = self._capsys.readouterr()
        assert isinstance(stop.value.code, int)
        assert "Traceback" not in captured.err
        return Ended(stop.value.code, captured.out, captured.err)

    def ok(self, *words: object) -> Ended:
        """The command must succeed, with nothing to say on standard error."""
        ended = self(*words)
        assert (ended.status, ended.err) == (0, "")
        return ended

    def refused(self, *words: object) -> str:
        """The message of a user's mistake: status 2, standard output empty, standard error not."""
        ended = self(*words)
        assert (ended.status, ended.out) == (2, "")
        assert "rror: " in ended.err
        return ended.err

    def failed(self, *words: object) -> str:
        """The message of a failure that isn't the user's mistake: status 1."""
        ended = self(*words)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("error: ")
        return ended.err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def pair_model() -> bytes:
    """diff = a - b in int8, odds = logistic(c) in float32; the outputs are odds, diff."""
    a, b = (Tensor(name, (1, 4), "int8", 0.5, 3) for name in "ab")
    diff = Tensor("diff", (1, 4), "int8", 0.75, -1)
    c, odds = Tensor("c", (2, 3), "float32"), Tensor("odds", (2, 3), "float32")
    operators = [
        Operator("SUB", ("a", "b"), ("diff",), schema.SubOptionsT(fusedActivationFunction=0)),
        Operator("LOGISTIC", ("c",), ("odds",)),
    ]
    return build([a, b, c, diff, odds], operators, ["a", "b", "c"], ["odds", "diff"])


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pair") / "pair.tflite"
    file.write_bytes(pair_model())
    return file


def pair_inputs(seed: int, *lead: int) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays for `pair`, with leading dimensions if wanted."""
    generator = np.random.default_rng(seed)
    a, b = (generator.integers(-128, 128, (*lead, 1, 4), np.int8) for _ in range(2))
    return {"a": a, "b": b, "c": generator.standard_normal((*lead, 2, 3)).astype(np.float32)}


@pytest.fixture
def only_these_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:  # a function: names of programs -> None
    """Leaves a PATH on which there are the named programs and no other."""

    def leave(*names: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name in names:
            (folder / name).symlink_to(require_tool(name))
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CC", raising=False)
        assert shutil.which("cc") is None or "cc" in names

    return leave
