"""The model library: `<prefix>.h`, `<prefix>.c` and `metadata.json` of a lowered model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from microtvm.codegen.c_array import c_array
from microtvm.codegen.c_kernel import Kernel as PrintedKernel
from microtvm.codegen.c_kernel import kernel
from microtvm.codegen.c_support import helper_source
from microtvm.codegen.c_type import integer_literal, storage_type
from microtvm.codegen.dialect import PLAIN, Dialect, check_dialect
from microtvm.codegen.flatten import flatten
from microtvm.codegen.layout import Layout
from microtvm.codegen.library_text import c_float, describe_type, in_comment, scale_zero
from microtvm.codegen.member import io_members
from microtvm.codegen.share import share
from microtvm.errors import ModelError
from microtvm.lower.kernel import Kernel
from microtvm.passes.fuse import Fused
from microtvm.target import data_folder
from microtvm.version import VERSION

MODEL_ABI = 1
"""MTVM_MODEL_ABI of runtime_c/include/mtvm_model.h; a test compares the two."""

MAX_RANK = 5
MAX_DIMENSION = 65535
"""Of a tensor in the model's table: what `struct mtvm_tensor` and the wire have room for."""

C_DTYPES: Mapping[str, str] = {
    "int8": "MTVM_INT8", "uint8": "MTVM_UINT8", "int16": "MTVM_INT16", "int32": "MTVM_INT32",
    "int64": "MTVM_INT64", "float32": "MTVM_FLOAT32", "bool": "MTVM_BOOL",
}  # fmt: skip


_LEVEL = """\
/* Tiles take every register, which GCC has for them at this level, and not at all others. */
#ifdef MTVM_TILE_ASSEMBLY
#pragma GCC optimize("O2")
#endif
"""


_SHORT_INT_LEVEL = """\
/* For size, GCC calls a function for each product of two bytes. */
#pragma GCC optimize("O2")
"""


@dataclass(frozen=True)
class Library:
    """The generated files by name, and what `metadata.json` says as a dict."""

    prefix: str
    files: Mapping[str, str]
    metadata: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write the files to `folder`, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")


@dataclass(frozen=True, eq=False)
class _Function:
    """The C function of a node, and what the node passes by value."""

    name: str
    printed: PrintedKernel
    values: tuple[int, ...]


def model_header() -> str:
    """The header that every library includes: with it, a library's folder builds alone."""
    file = data_folder("runtime_c") / "include" / "mtvm_model.h"
    return file.read_text(encoding="utf-8")


def generate(
    fused: Fused,
    kernels: Sequence[Kernel],
    layout: Layout,
    prefix: str,
    cpu: str = "",
    dialect: Dialect = PLAIN,
) -> Library:
    """The library of a lowered and planned model; the same bytes for the same input, always.

    `cpu` names the core that its kernels are for, '' where they are for any. ModelError for what
    can't be said in the `dialect`.
    """
    check_dialect(dialect, kernels, cpu)
    return _Writer(fused, kernels, layout, prefix, cpu, dialect).library()


class _Writer:
    def __init__(
        self,
        fused: Fused,
        kernels: Sequence[Kernel],
        layout: Layout,
        prefix: str,
        cpu: str,
        dialect: Dialect,
    ) -> None:
        self.cpu = cpu
        self.dialect = dialect
        self.fused = fused
        self.graph = fused.graph
        self.kernels = kernels
        self.layout = layout
        self.prefix = prefix
        self.functions = self._share()
        self.arrays: dict[str, tuple[str, str]] = {}
        self.tensors = self._tensor_order()

    # ---- functions shared by nodes ----

    def _share(self) -> list[_Function]:
        """For each kernel its function and what it passes."""
        flat = [flatten(k.program) for k in self.kernels]
        result: dict[int, _Function] = {}
        for in_place in dict.fromkeys(k.in_place for k in self.kernels):
            chosen = [i for i, k in enumerate(self.kernels) if k.in_place == in_place]
            for members, shared in share([flat[i] for i in chosen]):
                nodes = [chosen[m] for m in members]
                op = self.kernels[nodes[0]].group.name.split("_", 1)[1]
                head = self.kernels[nodes[0]].group.name if len(nodes) == 1 else f"k{nodes[0]}_{op}"
                notes = tuple(n for i in nodes for n in flat[i].notes)
                program = replace(shared.program, notes=notes)
                name = f"{self.prefix}_{head}_kernel"
                # A kernel of one node becomes part of that node's function.
                linkage = "MTVM_INLINE" if len(nodes) == 1 else "MTVM_CALLED"
                sharing = {*in_place, *(k for i in nodes for k in self.layout.aliased[i])}
                inputs = [program.params[k] for k in sorted(sharing)]
                aliased = (*inputs, *program.outputs) if inputs else ()
                printed = kernel(program, name, shared.params, aliased, linkage, self.dialect)
                for node, values in zip(nodes, shared.values, strict=True):
                    result[node] = _Function(name, printed, values)
        return [result[i] for i in range(len(self.kernels))]

    # ---- model.c ----

    def library(self) -> Library:
        body = self._body()
        digest = hashlib.sha256(body.encode()).digest()[:16]
        metadata = self._metadata(digest.hex())
        files = {
            f"{self.prefix}.h": self._header(),
            f"{self.prefix}.c": self._source(body, digest),
            "mtvm_model.h": model_header(),
            "metadata.json": json.dumps(metadata, indent=1) + "\n",
        }
        return Library(self.prefix, files, metadata)

    def _source(self, body: str, digest: bytes) -> str:
        values = ", ".join(f"0x{b:02x}" for b in digest)
        hashed = (
            "/* The head of the SHA-256 of everything above but this line. */\n"
            f"static const uint8_t {self.prefix}_hash[16] = {{\n    {values}\n}};\n"
        )
        return f"{body}\n{hashed}\n{self._model()}"

    def _body(self) -> str:
        functions = list(dict.fromkeys(f.printed for f in self.functions))
        headers = sorted({"string.h", *(h for f in functions for h in f.headers)})
        helpers = dict.fromkeys(h for f in functions for h in f.helpers)
        intrinsics = dict.fromkeys(i for f in functions for i in f.intrinsics)
        nodes = [self._node(i) for i in range(len(self.kernels))]
        parts = [
            f"/* Generated by microtvm {VERSION} from {self.graph.name}. */",
            f'#include "{self.prefix}.h"\n',
            "\n".join(f"#include <{h}>" for h in headers) + "\n",
            f"#if MTVM_MODEL_ABI != {MODEL_ABI}\n"
            f'#error "{self.prefix}.c was generated for model ABI {MODEL_ABI}: '
            'generate it again, or take the runtime that it came with"\n#endif\n',
            _LEVEL if intrinsics else "",
            _SHORT_INT_LEVEL if self.dialect.short_int else "",
            *(helper_source(h, self.dialect) for h in helpers),
            *intrinsics,
            *(text for _, text in self.arrays.values()),
            *(f.text for f in functions),
            *nodes,
            self._tables(),
        ]
        return "\n".join(p for p in parts if p)

    def _node(self, index: int) -> str:
        k, function = self.kernels[index], self.functions[index]
        arguments = []
        group = k.group
        outputs = set(k.program.outputs)
        values = iter([*group.inputs, *group.outputs])
        for buffer in k.program.params:
            if buffer.scope == "const":
                assert buffer.data is not None
                arguments.append(self._array(f"{group.name}_{buffer.name}", buffer.data))
                continue
            const = "" if buffer in outputs else "const "
            offset = self.layout.offsets[next(values)]
            arguments.append(f"({const}{storage_type(buffer.dtype)} *)(arena + {offset})")
        for i, buffer in enumerate(k.program.scratch):
            offset = self.layout.scratch[(index, i)]
            arguments.append(f"({storage_type(buffer.dtype)} *)(arena + {offset})")
        arguments += [integer_literal(v, "int32") for v in function.values]
        joined = ",\n        ".join(arguments)
        sources = "; ".join(dict.fromkeys(n.source or n.name for n in group.nodes))
        return (
            f"/* {in_comment(sources)} */\n"
            f"MTVM_CALLED void {self.prefix}_{group.name}(uint8_t *arena)\n{{\n"
            f"    {function.name}(\n        {joined});\n}}\n"
        )

    def _array(self, name: str, data: np.ndarray[Any, Any]) -> str:
        """The C name of a constant array; equal arrays are stored once."""
        content = f"{data.dtype.name}:{hashlib.sha256(data.tobytes()).hexdigest()}:{data.size}"
        found = self.arrays.get(content)
        if found is None:
            c_name = f"{self.prefix}_{name}"
            found = (c_name, c_array(c_name, data))
            self.arrays[content] = found
        return found[0]

    def _tensor_order(self) -> list[str]:
        stored = [v for v in self.layout.offsets if v not in self.fused.aliases]
        named = list(dict.fromkeys([*self.graph.inputs, *self.graph.outputs, *stored]))
        for value in named:
            self._check_shape(value)
        return named

    def _check_shape(self, value: str) -> None:
        t = self.graph.types[value]
        if len(t.shape) > MAX_RANK or max(t.shape, default=1) > MAX_DIMENSION:
            raise ModelError(
                f"tensor {self.graph.sources.get(value, value)!r} is {t.dtype}{list(t.shape)}; "
                f"supported: {MAX_RANK} dimensions of {MAX_DIMENSION}",
                hint="give the tensor another shape",
            )

    def _lifetime(self, value: str) -> tuple[int, int]:
        life = self.layout.lifetimes[self.fused.root(value)]
        return life.live_from, life.live_to

    def _tables(self) -> str:
        rows = []
        shapes: dict[tuple[int, ...], str] = {}
        for value in self.tensors:
            t = self.graph.types[value]
            shape_name = shapes.setdefault(t.shape, f"{self.prefix}_shape{len(shapes)}")
            scale, zero = scale_zero(t)
            first, last = self._lifetime(value)
            rows.append(
                f'    {{"{value}", {shape_name}, {self.layout.offsets[value]}u, {t.size_bytes}u, '
                f"{c_float(scale)}, {zero}, {first}u, {last}u, {C_DTYPES[t.dtype]}, "
                f"{len(t.shape)}u}},"
            )
        lines = []
        for shape, name in shapes.items():
            dims = ", ".join(f"{d}u" for d in shape) or "1u"
            lines.append(f"static const uint16_t {name}[{max(1, len(shape))}] = {{{dims}}};")
        lines.append(f"\nstatic const struct mtvm_tensor {self.prefix}_tensors[{len(rows)}] = {{")
        lines += [*rows, "};"]
        for kind, values in (("inputs", self.graph.inputs), ("outputs", self.graph.outputs)):
            indices = ", ".join(f"{self.tensors.index(v)}u" for v in values)
            # An array can't be empty: a model may have no inputs.
            lines.append(
                f"static const uint16_t {self.prefix}_{kind}[{max(1, len(values))}] = "
                f"{{{indices or '0u'}}};"
            )
        lines.append(self._run())
        return "\n".join(lines)

    def _run(self) -> str:
        """The table of operators and the function that runs them all."""
        head = f"\nvoid {self.prefix}_run(uint8_t *arena)\n{{\n"
        if not self.kernels:
            # Every output has the memory of an input.
            return f"{head}    (void)arena;\n}}\n"
        table = f"{self.prefix}_ops"
        rows = [f'    {{"{k.group.name}", {self.prefix}_{k.group.name}}},' for k in self.kernels]
        return "\n".join(
            [
                f"\nstatic const struct mtvm_op {table}[{len(rows)}] = {{",
                *rows,
                "};",
                f"{head}    for (size_t i = 0; i < {len(rows)}u; ++i) {{",
                f"        {table}[i].run(arena);\n    }}\n}}\n",
            ]
        )

    def _model(self) -> str:
        p = self.prefix
        ops = f"{p}_ops" if self.kernels else "NULL"
        return (
            f"const struct mtvm_model {p}_model = {{\n"
            f"    {MODEL_ABI}u, {len(self.tensors)}u, {len(self.graph.inputs)}u, "
            f"{len(self.graph.outputs)}u, {len(self.kernels)}u,\n"
            f"    {p.upper()}_ARENA_ALIGN, {p.upper()}_ARENA_BYTES,\n"
            f'    "{p}", {p}_hash, {p}_tensors, {p}_inputs, {p}_outputs, {ops}, {p}_run\n'
            "};\n"
        )

    # ---- model.h ----

    def _header(self) -> str:
        p, upper = self.prefix, self.prefix.upper()
        fields, binds = [], []
        for kind, members in io_members(self.graph.inputs, self.graph.outputs).items():
            const = "" if kind == "inputs" else "const "
            for value, name in members:
                t = self.graph.types[value]
                c_type = storage_type(t.dtype)
                fields.append(f"    {const}{c_type} *{name}; /* {describe_type(t)} */")
                binds.append(f"        ({const}{c_type} *)(arena + {self.layout.offsets[value]}),")
        return "\n".join(
            [
                f"/* Generated by microtvm {VERSION} from {self.graph.name}.",
                " *",
                f" *     static MTVM_ALIGN({upper}_ARENA_ALIGN) "
                f"uint8_t arena[{upper}_ARENA_BYTES];",
                f" *     const struct {p}_io io = {p}_bind(arena);",
                " *     fill the inputs through io, then",
                f" *     {p}_run(arena);",
                " *     and read the outputs through io. An inference may overwrite its inputs.",
                " */",
                f"#ifndef {upper}_H",
                f"#define {upper}_H",
                "",
                '#include "mtvm_model.h"',
                "",
                "#ifdef __cplusplus",
                'extern "C" {',
                "#endif",
                "",
                f"/* Tensors {self.layout.tensor_bytes}, "
                f"kernels' scratch {self.layout.scratch_bytes}. */",
                f"#define {upper}_ARENA_BYTES {self.layout.arena_bytes}u",
                f"#define {upper}_ARENA_ALIGN {self.layout.arena_align}u",
                "",
                "/* Inputs, which the caller fills, and outputs, all in the arena. */",
                f"struct {p}_io {{",
                *fields,
                "};",
                "",
                "/* Where the inputs and outputs lie in an arena "
                "of the size and alignment above. */",
                f"static inline struct {p}_io {p}_bind(uint8_t *arena)",
                "{",
                f"    const struct {p}_io io = {{",
                *binds,
                "    };",
                "    return io;",
                "}",
                "",
                "/* One inference in the arena. */",
                f"void {p}_run(uint8_t *arena);",
                "",
                f"extern const struct mtvm_model {p}_model;",
                "",
                "#ifdef __cplusplus",
                "}",
                "#endif",
                "",
                "#endif",
                "",
            ]
        )

    # ---- metadata ----

    def _metadata(self, digest: str) -> dict[str, Any]:
        graph, layout = self.graph, self.layout
        sources = getattr(graph, "sources", {})
        tensors = []
        for value in self.tensors:
            t = graph.types[value]
            scale, zero = scale_zero(t)
            first, last = self._lifetime(value)
            role = "input" if value in graph.inputs else "intermediate"
            tensors.append(
                {
                    "name": value,
                    "source": sources.get(value, value),
                    "shape": list(t.shape),
                    "channels": list(graph.channels.get(value, ())) or None,
                    "dtype": t.dtype,
                    "scale": scale,
                    "zero_point": zero,
                    "offset": layout.offsets[value],
                    "size": t.size_bytes,
                    "live_from": first,
                    "live_to": last,
                    "role": "output" if value in graph.outputs else role,
                }
            )
        operators = [
            {
                "name": k.group.name,
                "function": f"{self.prefix}_{k.group.name}",
                "kernel": f.name,
                "source": [n.source or n.name for n in k.group.nodes],
                "ops": [n.op for n in k.group.nodes],
                "inputs": list(k.group.inputs),
                "outputs": list(k.group.outputs),
                "macs": k.macs,
                "template": k.choice.template,
                "knobs": dict(k.choice.knobs),
                "expression": list(k.program.notes),
            }
            for k, f in zip(self.kernels, self.functions, strict=True)
        ]
        scratch_names = {
            f"{k.group.name}.{b.name}.{i}" for k in self.kernels
            for i, b in enumerate(k.program.scratch)
        }  # fmt: skip
        return {
            "format": 1,
            "generator": f"microtvm {VERSION}",
            "name": graph.name,
            "prefix": self.prefix,
            "cpu": self.cpu,
            "hash": digest,
            "arena_bytes": layout.arena_bytes,
            "arena_align": layout.arena_align,
            "tensor_bytes": layout.tensor_bytes,
            "scratch_bytes": layout.scratch_bytes,
            "lower_bound_bytes": layout.plan.lower_bound_bytes,
            "planner": layout.plan.planner,
            "weights_bytes": self._weights_bytes(),
            "memory": {
                "flash_bytes": {"weights": self._weights_bytes()},
                "ram_bytes": {"arena": layout.arena_bytes, "scratch": layout.scratch_bytes},
            },
            "inputs": [self.tensors.index(v) for v in graph.inputs],
            "outputs": [self.tensors.index(v) for v in graph.outputs],
            "members": {
                k: [m for _, m in pairs]
                for k, pairs in io_members(graph.inputs, graph.outputs).items()
            },
            "tensors": tensors,
            "operators": operators,
            "buffers": [
                {
                    "name": r.name,
                    "offset": layout.plan.offsets[r.name],
                    "size": r.size_bytes,
                    "first": r.first,
                    "last": r.last,
                    "kind": "scratch" if r.name in scratch_names else "tensor",
                }
                for r in layout.requests
            ],
            "fused": self._fused_values(),
            "aliases": {v: self.fused.root(v) for v in self.fused.aliases},
        }

    def _fused_values(self) -> dict[str, str]:
        """Values of the model that are not in memory, and the operator that absorbed each."""
        maker = {v: k.group.name for k in self.kernels for n in k.group.nodes for v in n.outputs}
        result = {v: k.group.name for k in self.kernels for v in k.group.internal}
        absorbed = self.graph.absorbed
        for value, into in absorbed.items():
            end = into
            while end in absorbed:
                end = absorbed[end]
            owner = maker.get(self.fused.root(end))
            if owner is not None:
                result[value] = owner
        return dict(sorted(result.items()))

    def _weights_bytes(self) -> int:
        seen: dict[str, int] = {}
        for k in self.kernels:
            for b in k.constants:
                assert b.data is not None
                key = f"{b.data.dtype.name}:{hashlib.sha256(b.data.tobytes()).hexdigest()}"
                seen[key] = b.data.nbytes
        return sum(seen.values())
