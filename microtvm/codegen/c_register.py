"""Register buffers as C locals: one for each element, or for each vector of them."""

from __future__ import annotations

from collections.abc import Callable

from microtvm.codegen.c_type import c_identifier
from microtvm.codegen.c_vector import depends, register_accesses
from microtvm.errors import IRError
from microtvm.tir.stmt import Buffer, For, walk


class Registers:
    """The locals of one register buffer, made as they are asked for."""

    def __init__(self, buffer: Buffer, ctype: str, depth: int, fresh: Callable[[str], str]) -> None:
        self.ctype = ctype
        self.depth = depth
        self.locals: dict[tuple[int, ...], str] = {}
        self.declared: set[str] = set()
        self.read: set[str] = set()
        self._buffer = buffer
        self._fresh = fresh

    def local(self, index: tuple[int, ...]) -> str:
        """The local of an element, or of the vector that starts there."""
        if index not in self.locals:
            if not all(0 <= i < n for i, n in zip(index, self._buffer.shape, strict=True)):
                raise IRError(f"{list(index)} is outside of {self._buffer}")
            plain = c_identifier(self._buffer.name)
            self.locals[index] = self._fresh("_".join([plain, *map(str, index)]))
        return self.locals[index]


def indexes_registers(loop: For) -> bool:
    """Whether an index into a register buffer uses the loop's variable."""
    return any(
        depends(index, loop.var)
        for stmt in walk(loop.body)
        for _, indices in register_accesses(stmt)
        for index in indices
    )


def unravel(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The indices of the element at a position of a row-major array."""
    index = []
    for extent in reversed(shape):
        position, i = divmod(position, extent)
        index.append(i)
    return tuple(reversed(index))
