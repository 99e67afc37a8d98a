"""libFuzzer on the framing and on the whole server: half a minute each, from the corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz import CORPUS, HARNESSES, build, fuzz, main, replay
from tests.conftest import require_tool
from tests.device.harness import SERVER_SOURCES

SECONDS = 30
MOST_CORPUS_BYTES = 200_000

# What each harness must reach from the corpus alone, in libFuzzer's edges: a harness that
# is refused at the door would pass otherwise.
LEAST_EDGES = {"frame": 95, "server": 340}

BROKEN = {
    "a read past the tensor": (
        "server",
        "mtvm_tensor.c",
        "bytes <= tensor->size - offset",
        "bytes <= tensor->size",
    ),
    "a run that is repeated": (
        "server",
        "mtvm_server.c",
        "    if (!repeated) {",
        "    if (repeated >= 0) {",
    ),
    "a frame that is too long": (
        "frame",
        "mtvm_frame.c",
        "if (receiver->length < sizeof receiver->data)",
        "if (receiver->length <= sizeof receiver->data)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("harness", HARNESSES)
def test_nothing_that_arrives_does_harm(harness: str, tmp_path: Path) -> None:
    require_tool("clang")
    figures = fuzz(build(harness, tmp_path), CORPUS / harness, tmp_path, SECONDS)
    assert not figures.failure, figures.failure
    assert figures.executions > SECONDS
    assert figures.edges >= LEAST_EDGES[harness]


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()]
    assert 0 < sum(sizes) < MOST_CORPUS_BYTES


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_server_is_found(what: str, tmp_path: Path) -> None:
    """By the corpus alone."""
    require_tool("clang")
    sources = []
    harness, name, before, after = BROKEN[what]
    for source in SERVER_SOURCES:
        text = source.read_text("utf-8")
        if source.name == name:
            assert text.count(before) == 1
            source = tmp_path / source.name
            source.write_text(text.replace(before, after), "utf-8")
        sources.append(source)
    done = replay(build(harness, tmp_path, sources), CORPUS / harness)
    assert done.returncode != 0
    assert "ERROR: " in done.stderr or "runtime error: " in done.stderr


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    require_tool("clang")
    assert main(["2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == list(HARNESSES)
