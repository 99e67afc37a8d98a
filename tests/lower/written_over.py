"""What a loop program reads and writes, place by place: whether its output may lie in an input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microtvm.codegen.flatten import flatten
from microtvm.tir.interpret import Interpreter
from microtvm.tir.stmt import Buffer, Program
from microtvm.util import Array


def harmed(program: Program, arrays: Mapping[Buffer, Array], x: Buffer) -> list[int]:
    """Places of `x` that the program reads after it has written the output's element there.

    Empty where the output, which must have as many bytes, may lie in the memory of `x`.
    """
    flat = flatten(program)
    buffers = dict(zip(program.params, flat.params, strict=True))
    (output,) = flat.outputs
    assert x.size_bytes == output.size_bytes
    watch = _Watch(flat, buffers[x], output)
    watch.run({buffers[b]: array.reshape(-1) for b, array in arrays.items()})
    return watch.harmed


class _Watch(Interpreter):
    def __init__(self, program: Program, x: Buffer, output: Buffer) -> None:
        super().__init__(program)
        self.x, self.output = x, output
        self.harmed: list[int] = []

    def _content(self, buffer: Buffer, given: Array | None) -> list[Any]:
        content = super()._content(buffer, given)
        if buffer is self.output:
            self.written = _Written(content)
            return self.written
        return _Watched(content, self) if buffer is self.x else content


class _Written(list[Any]):
    """The output's elements, and where they have been stored."""

    def __init__(self, content: list[Any]) -> None:
        super().__init__(content)
        self.places: set[int] = set()

    def __setitem__(self, place: Any, value: Any) -> None:
        self.places.add(place)
        super().__setitem__(place, value)


class _Watched(list[Any]):
    """An input's elements; those that are read where the output has been stored are noted."""

    def __init__(self, content: list[Any], watch: _Watch) -> None:
        super().__init__(content)
        self.watch = watch

    def __getitem__(self, place: Any) -> Any:
        if place in self.watch.written.places:
            self.watch.harmed.append(place)
        return super().__getitem__(place)
