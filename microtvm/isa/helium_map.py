"""Element-wise expressions as Helium intrinsics, made from the expression itself.

The expression, with placeholders for what it reads, is the intrinsic's meaning. The loop is
tail-predicated: its last iteration loads and stores only the lanes that exist.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Collection, Sequence

from microtvm.errors import ScheduleError
from microtvm.isa.helium_tile import GUARD
from microtvm.isa.helium_vector import Access, Unsupported, Vectors
from microtvm.te.intrin import COperand, TensorIntrin, declare
from microtvm.te.layout import strides_of
from microtvm.te.rewrite import replace_reads
from microtvm.te.stage import Stage
from microtvm.te.tensor import IterVar, Tensor, compute, placeholder
from microtvm.tir.expr import Expr, Read, Var
from microtvm.tir.simplify import Analyzer
from microtvm.tir.traversal import substitute, transform

CORE_REGISTERS = 12
"""For pointers and numbers, one left for the compiler; lr counts elements."""
LOW_REGISTERS = 7
"""r0 to r7 less one: where addresses must be that bytes are widened from or narrowed to."""
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t"}


def inlined(stage: Stage, others: Sequence[Stage]) -> Expr:
    """The stage's expression, with `others`, producers first, computed where they are read."""
    (body,) = stage.bodies
    for other in reversed(others):
        axes = [a.var for a in other.axis]
        for tensor, inner in zip(other.outputs, other.bodies, strict=True):

            def at(indices: tuple[Expr, ...], inner: Expr = inner, axes: list[Var] = axes) -> Expr:
                return substitute(inner, dict(zip(axes, indices, strict=True)))

            body = replace_reads(body, tensor, at)
    return Analyzer({a.var: (0, a.extent - 1) for a in stage.axis}).simplify(body)


def vector_map(
    body: Expr,
    rows: Sequence[tuple[IterVar, int]],
    column: IterVar,
    length: int,
    packed: Collection[Tensor] = (),
) -> TensorIntrin | None:
    """The intrinsic for rows of `length` elements of `body`; None where there is none.

    `rows` are a stage's axes along which its rows follow, and how many of each; `column` is the one
    along which a row's elements follow. Reads of `packed` tensors have all rows' elements of a
    column side by side.
    """
    axes, counts = [a for a, _ in rows], [n for _, n in rows]
    total = math.prod(counts)
    try:
        vectors = Vectors(body, axes, column, total, packed)
    except Unsupported:
        return None
    moving = [(body.dtype, True), *((r.dtype, a.own) for r, a in vectors.operands.items()
                                    if not a.packed)]  # fmt: skip
    count = sum(total if own else 1 for _, own in moving)
    low = sum(total if own else 1 for dtype, own in moving if dtype != "int32")
    if count + len(vectors.scalars) + 2 * bool(packed) > CORE_REGISTERS or low > LOW_REGISTERS:
        return None
    inputs: dict[Read, Tensor] = {}
    for k, (read, access) in enumerate(vectors.operands.items()):
        shape = (*counts, length) if access.own else (length,)
        inputs[read] = placeholder(shape, read.dtype, f"a{k}")
    numbers = {p: Var(name) for p, name in vectors.parameters.items()}

    def meaning(*index: Expr) -> Expr:
        def step(node: Expr) -> Expr | None:
            if isinstance(node, Read) and node in inputs:
                return inputs[node][index if vectors.operands[node].own else index[-1:]]
            return numbers.get(node)

        return transform(body, step, {})

    out: Tensor = compute((*counts, length), meaning, "y")
    assert out.op is not None
    writer = _Writer(vectors, body, counts, length)
    return declare(
        writer.name, out, list(inputs.values()), writer.call, writer.source(),
        lengths=[out.op.axis[-1]], numbers=list(numbers.values()), guard=GUARD,
        in_step=True,
    )  # fmt: skip


class _Writer:
    """The C text of one intrinsic."""

    def __init__(self, vectors: Vectors, body: Expr, counts: Sequence[int], length: int) -> None:
        self.vectors, self.counts, self.length = vectors, tuple(counts), length
        self.operands = [("y", body.dtype, Access(own=True, packed=False))]
        self.operands += [
            (f"a{k}", r.dtype, a) for k, (r, a) in enumerate(vectors.operands.items())
        ]
        # Only what the text depends on: names of buffers and loops differ from stage to stage.
        self.text = self._text()
        self.name = f"mtvm_map_{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    def source(self) -> str:
        """The function: pointers, the number of elements, distances of rows, parameters."""
        return f"#ifdef {GUARD}\n{self.text.replace('NAME', self.name)}#endif\n"

    def _strides(self, access: Access) -> list[int]:
        """The axes of rows along which an operand's distance must be told."""
        if not access.own or access.packed:
            return []
        return [d for d, n in enumerate(self.counts) if n > 1]

    def _text(self) -> str:
        arguments, strides, lines, updated = [], [], [], []
        for name, dtype, access in self.operands:
            const = "" if name == "y" else "const "
            arguments.append(f"{const}{C_TYPES[dtype]} *{name}")
            told = self._strides(access)
            strides += [f"int32_t {name}_s{d}" for d in told]
            if access.packed:
                continue
            names = [name]
            if access.own:
                places = list(itertools.product(*map(range, self.counts)))
                names = [f"{name}_{r}" for r in range(len(places))]
                for pointer, place in zip(names, places, strict=True):
                    at = "".join(f" + {place[d]} * {name}_s{d}" for d in told if place[d])
                    lines.append(f"    {const}{C_TYPES[dtype]} *{pointer} = {name}{at};")
            # What widens or narrows takes its address from r0 to r7.
            kind = '"+r"' if dtype == "int32" else '"+l"'
            updated += [f"[{p}] {kind}({p})" for p in names]
        arguments += ["int32_t n", *strides]
        arguments += [f"int32_t {p}" for p in self.vectors.parameters.values()]
        packed = any(a.packed for _, _, a in self.operands)
        if packed:
            lines.append("    const int32_t left = n;")
        else:
            # Where it will be counted: there may be no other register for it.
            lines.append('    register int32_t left __asm__("lr") = n;')
            updated.append('[left] "+r"(left)')
        # GCC finds registers for many operands only where all are read and written.
        for text, name in self.vectors.scalars.items():
            kind = "uintptr_t" if text.startswith("(") else "int32_t"
            lines.append(f"    {kind} {name} = {text};")
            updated.append(f'[{name}] "+r"({name})')
        used = ['[left] "r"(left)'] if packed else []
        clobbers = [f'"q{k}"' for k in range(8)] + ['"memory"'] + ['"lr"'] * packed
        body = [
            *self.vectors.before,
            "dlstp.32 lr, %[left]",
            "1:",
            *self.vectors.loop,
            "letp lr, 1b",
        ]
        return "\n".join(
            [
                f"MTVM_HELIUM_TILE void NAME({', '.join(arguments)})",
                "{",
                *lines,
                *(f"    (void){p};" for p in self._unused),
                "    __asm__ volatile(",
                *(f'        "{line}\\n\\t"' for line in body),
                f"        : {', '.join(updated)}",
                f"        : {', '.join(used)}",
                f"        : {', '.join(clobbers)});",
                "}",
                "",
            ]
        )

    @property
    def _unused(self) -> list[str]:
        texts = {text.lstrip("~") for text in self.vectors.scalars}
        return [p for p in self.vectors.parameters.values() if p not in texts]

    def call(self, operands: list[COperand]) -> str:
        """The call; ScheduleError for operands that do not lie as the text reads them."""
        views, numbers = operands[: len(self.operands)], operands[len(self.operands) :]
        strides = []
        for view, (name, _, access) in zip(views, self.operands, strict=True):
            wanted: tuple[int, ...] = (1,)
            if access.packed:
                each = strides_of((math.prod(self.counts), *self.counts))
                wanted = (*each[1:], each[0])
            found = view.strides[-len(wanted) :]
            extents = (*self.counts, self.length)[-len(wanted) :]
            if view.registers or any(
                f != w for f, w, n in zip(found, wanted, extents, strict=True) if n > 1
            ):
                raise ScheduleError(
                    f"{self.name} reads {name} in steps of {wanted}, the operand has {view.strides}"
                )
            strides += [str(view.strides[d]) for d in self._strides(access)]
        words = [v.text for v in views] + [numbers[0].text, *strides]
        return f"{self.name}({', '.join([*words, *(n.text for n in numbers[1:])])});"
