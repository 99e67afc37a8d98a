"""Files that were truncated or have flipped bits: an error that says so, or a graph; never anything
else.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from microtvm.errors import ModelError
from microtvm.frontend.flatbuffer import check_flatbuffer
from microtvm.frontend.tflite import import_tflite
from microtvm.passes import PASSES, run_passes
from microtvm.pipeline import compile_graph
from microtvm.target import load_cpu
from tests.frontend.models import many_operators


def damaged(seed: int, count: int) -> Iterator[bytes]:
    """Copies of a model, each truncated or with one to eight flipped bits."""
    data = many_operators()
    rng = random.Random(seed)
    for i in range(count):
        if i % 5 == 0:
            yield data[: rng.randrange(len(data))]
            continue
        copy = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 8])):
            copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
        yield bytes(copy)


@pytest.mark.parametrize("seed", range(4))
def test_fuzz(seed: int) -> None:
    outcomes = {"error": 0, "problems": 0, "graph": 0}
    for data in damaged(seed, 1000):
        try:
            result = import_tflite(data, "fuzz")
        except ModelError:
            outcomes["error"] += 1
            continue
        if result.graph is None:
            assert result.problems
            outcomes["problems"] += 1
        else:
            run_passes(result.graph, PASSES)
            outcomes["graph"] += 1
    # Flips in weights, names and scales leave a model that can be compiled; most others do not.
    assert min(outcomes.values()) > 20
    assert sum(outcomes.values()) == 1000


def test_what_is_left_can_be_compiled() -> None:
    """A damaged model that is imported is an ordinary one, of shapes that the compiler can bear."""
    cpu = load_cpu("cortex-m4")
    compiled = 0
    for data in damaged(99, 400):
        with contextlib.suppress(ModelError):
            result = import_tflite(data, "fuzz")
            if result.graph is not None:
                compiled += bool(compile_graph(result.graph, cpu).kernels)
    assert compiled > 20


def test_every_truncation() -> None:
    data = many_operators()
    for size in range(0, len(data), 7):
        with pytest.raises(ModelError):
            import_tflite(data[:size], "short")


def test_messages_say_where() -> None:
    data = bytearray(many_operators())
    with pytest.raises(ModelError, match="the identifier TFL3 is missing"):
        check_flatbuffer(b"")
    data[0:4] = b"\xff\xff\xff\x7f"
    with pytest.raises(ModelError, match="an offset at byte 2147483647 leads outside the file"):
        check_flatbuffer(bytes(data))


def test_a_file_of_too_many_tables() -> None:
    """Vectors of tables that point at each other's middle can't take longer than the limit."""
    head = many_operators()[:8]
    with pytest.raises(ModelError):
        check_flatbuffer(head + bytes(4096))
