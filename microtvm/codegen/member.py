"""What a model's inputs and outputs are called in C: the members of `<prefix>_io`."""

from __future__ import annotations

from collections.abc import Sequence

from microtvm.codegen.c_type import c_identifier


def io_members(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """For `inputs` and `outputs`, names of values: each in the model's order, and its member."""
    result: dict[str, list[tuple[str, str]]] = {"inputs": [], "outputs": []}
    taken: set[str] = set()
    for kind, values in (("inputs", inputs), ("outputs", outputs)):
        for value in values:
            name = _field(value)
            if kind == "outputs" and value in inputs:
                name = f"{name}_out"
            while name in taken:
                name = f"{name}_"
            taken.add(name)
            result[kind].append((value, name))
    return result


def _field(value: str) -> str:
    """A tensor's name as a member of a structure: no keyword, and nothing like a macro's name."""
    name = c_identifier(value)
    return f"{name}_" if name.isupper() else name
