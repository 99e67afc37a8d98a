"""Executes loop programs on numpy arrays: the oracle that compiled kernels are compared with.

Strict: an index outside its dimension, a signed value outside its dtype, and a read of an element
that was never written are errors. Every float32 operation is rounded to float32. A program becomes
the source of a Python function that works on flat lists; checks that the ranges of the loop
variables make needless are left out. Nothing here uses the simplifier, which the interpreter helps
to test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from microtvm.errors import IRError
from microtvm.tir.dtype import INT_BITS, dtype_range, is_float, is_int, round_to
from microtvm.tir.expr import (
    COMPARISON,
    BinOp,
    Call,
    Cast,
    Expr,
    FloatImm,
    IntImm,
    Not,
    Param,
    Read,
    Select,
    Var,
)
from microtvm.tir.intrinsic import Interval, scalar_function
from microtvm.tir.share import Branch, Local, Sharing
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Program,
    Seq,
    Stmt,
    Store,
    walk,
)
from microtvm.tir.text import expr_text
from microtvm.util import Array

MOST_LOOPS = 16
"""Loops nested in one Python function; the language's limit is 20 blocks."""

Site = Callable[..., Any]


def interpret(program: Program, arrays: Mapping[Buffer, Array]) -> dict[Buffer, Array]:
    """Run a program; returns its outputs.

    `arrays` has an array of the right shape and dtype for each parameter that is read before it is
    written; constant buffers have their data and may be left out. An output that is given starts
    with that content. Raises IRError for what a correct program never does, and where an output is
    not written completely.
    """
    return Interpreter(program).run(arrays)


class Interpreter:
    """A program compiled to Python, to be run any number of times."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._buffers = [*program.params, *program.scratch]
        for stmt in walk(program.body):
            if isinstance(stmt, Alloc) and stmt.buffer not in self._buffers:
                self._buffers.append(stmt.buffer)
        compiler = _Compiler(program, self._buffers)
        self.source = compiler.source()
        namespace = compiler.namespace
        exec(compile(self.source, f"<tir {program.name}>", "exec"), namespace)
        self._function: Callable[..., None] = namespace["run"]

    def run(self, arrays: Mapping[Buffer, Array]) -> dict[Buffer, Array]:
        """As `interpret`."""
        content = [self._content(buffer, arrays.get(buffer)) for buffer in self._buffers]
        with np.errstate(all="ignore"):
            self._function(*content)
        by_buffer = dict(zip(self._buffers, content, strict=True))
        return {buffer: _as_array(buffer, by_buffer[buffer]) for buffer in self.program.outputs}

    def _content(self, buffer: Buffer, given: Array | None) -> list[Any]:
        array = buffer.data if given is None else given
        if array is None:
            if buffer in self.program.params and buffer not in self.program.outputs:
                raise IRError(f"{self.program.name}: no array was given for {buffer}")
            return [None] * buffer.elements
        if array.shape != buffer.shape or array.dtype.name != buffer.dtype:
            found = f"{array.dtype.name}{list(array.shape)}"
            raise IRError(f"{self.program.name}: {buffer} was asked for, {found} was found")
        flat = array.reshape(-1)
        return list(flat) if is_float(buffer.dtype) else flat.tolist()


def _as_array(buffer: Buffer, content: list[Any]) -> Array:
    missing = [i for i, value in enumerate(content) if value is None]
    if missing:
        first = [int(i) for i in np.unravel_index(missing[0], buffer.shape)]
        raise IRError(
            f"{len(missing)} elements of {buffer} were never written, the first is {first}"
        )
    return np.array(content, buffer.dtype).reshape(buffer.shape)


class _Compiler:
    """Writes the Python source of a program."""

    def __init__(self, program: Program, buffers: list[Buffer]) -> None:
        self.program = program
        self.namespace: dict[str, Any] = dict(_RUNTIME)
        self.buffers = {buffer: f"b{i}" for i, buffer in enumerate(buffers)}
        self.given = {b for b in program.params if b not in program.outputs}
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.names: dict[Expr, str] = {}
        self.locals: dict[Expr, str] = {}
        self.spans: dict[Expr, Interval] = {}
        self.memo: dict[Expr, Interval | None] = {}
        self.counter = 0
        self.sharing = Sharing(_children, _is_simple)

    def source(self) -> str:
        self.statement(self.program.body)
        head = f"def run({', '.join(self.buffers.values())}):"
        return "\n".join([head, " pass", *self.lines, ""])

    def emit(self, line: str) -> None:
        self.lines.append(" " * self.depth + line)

    def fresh(self, kind: str) -> str:
        self.counter += 1
        return f"{kind}{self.counter}"

    def site(self, check: Site) -> str:
        """The name of a check made for one place of the program."""
        name = self.fresh("c")
        self.namespace[name] = check
        return name

    # ---- statements ----

    def statement(self, stmt: Stmt) -> None:
        if isinstance(stmt, Seq):
            for s in stmt.body:
                self.statement(s)
        elif isinstance(stmt, Store):
            self.store(stmt)
        elif isinstance(stmt, For):
            self.loop(stmt)
        elif isinstance(stmt, If):
            (cond,) = self.expressions(stmt.cond)
            self.emit(f"if {cond}:")
            self.body(stmt.then)
            if stmt.otherwise is not None:
                self.emit("else:")
                self.body(stmt.otherwise)
        elif isinstance(stmt, Let):
            (value,) = self.expressions(stmt.value)
            self.names[stmt.var] = self.fresh("v")
            self.emit(f"{self.names[stmt.var]} = {value}")
            span = self.span(stmt.value)
            self.memo = {}
            if span is not None:
                self.spans[stmt.var] = span
            self.statement(stmt.body)
        elif isinstance(stmt, Alloc):
            self.emit(f"{self.buffers[stmt.buffer]}[:] = [None] * {stmt.buffer.elements}")
            self.statement(stmt.body)
        else:
            assert isinstance(stmt, IntrinsicCall)
            self.statement(stmt.intrinsic.reference(stmt))

    def body(self, stmt: Stmt) -> None:
        self.depth += 1
        self.emit("pass")
        self.statement(stmt)
        self.depth -= 1

    def loop(self, stmt: For) -> None:
        begin, extent = self.expressions(stmt.begin, stmt.extent)
        name = self.names[stmt.var] = self.fresh("v")
        low, count = self.span(stmt.begin), self.span(stmt.extent)
        self.memo = {}
        if low is not None and count is not None:
            self.spans[stmt.var] = low[0], max(low[0], low[1] + count[1] - 1)
        function = self.fresh("f") if self.loops == MOST_LOOPS else ""
        outside = self.loops
        if function:
            self.emit(f"def {function}():")
            self.depth += 1
            self.loops = 0
        self.loops += 1
        self.emit(f"for {name} in range({begin}, {begin} + {extent}):")
        self.body(stmt.body)
        self.loops = outside
        if function:
            self.depth -= 1
            self.emit(f"{function}()")

    def store(self, stmt: Store) -> None:
        buffer = stmt.buffer
        if buffer.dtype != stmt.value.dtype:
            raise IRError(f"a value of {stmt.value.dtype} is stored to {buffer}")
        if buffer not in self.buffers:
            raise IRError(f"a store to {buffer}, which is neither a parameter nor allocated")
        if buffer in self.given:
            raise IRError(f"a store to {buffer}, which is not an output")
        *_, value = self.expressions(*stmt.indices, stmt.value)
        place = self.element(buffer, stmt.indices, "a store to")
        if buffer.dtype == "bool":
            value = f"bool({value})"
        self.emit(f"{self.buffers[buffer]}[{place}] = {value}")

    # ---- expressions ----

    def expressions(self, *roots: Expr) -> list[str]:
        """Emit the locals that one statement's expressions need; their texts."""
        self.locals = {}
        self.steps(self.sharing.plan(roots))
        return [self.text(root) for root in roots]

    def steps(self, steps: tuple[Local | Branch, ...]) -> None:
        for step in steps:
            name = self.fresh("t")
            if isinstance(step, Local):
                self.emit(f"{name} = {self.text(step.node)}")
            else:
                cond = self.text(step.cond)
                for head, block in ((f"if {cond}:", step.then), ("else:", step.otherwise)):
                    saved = dict(self.locals)
                    self.emit(head)
                    self.depth += 1
                    self.steps(block.steps)
                    self.emit(f"{name} = {self.text(block.value)}")
                    self.depth -= 1
                    self.locals = saved
            self.locals[step.node] = name

    def text(self, node: Expr) -> str:
        """Python text of an expression, never in need of parentheses around it."""
        if node in self.locals:
            return self.locals[node]
        if isinstance(node, Var):
            if node not in self.names:
                raise IRError(f"{node} is used outside of the loop or let that defines it")
            return self.names[node]
        if isinstance(node, IntImm):
            value: int | bool = bool(node.value) if node.dtype == "bool" else node.value
            return f"({value})" if node.value < 0 else f"{value}"
        if isinstance(node, Param):
            return f"({node.value})"
        if isinstance(node, FloatImm):
            name = self.fresh("k")
            self.namespace[name] = _FLOATS[node.dtype](node.value)
            return name
        if isinstance(node, Not):
            return f"(not {self.text(node.value)})"
        if isinstance(node, Select):
            cond, yes, no = (self.text(child) for child in node.children())
            return f"({yes} if {cond} else {no})"
        if isinstance(node, Read):
            return self.read(node)
        if isinstance(node, Cast):
            return self.cast(node)
        if isinstance(node, Call):
            arguments = ", ".join(self.text(arg) for arg in node.args)
            return f"{self.site(_call_site(node))}({arguments})"
        assert isinstance(node, BinOp)
        return self.binary(node)

    def read(self, node: Read) -> str:
        buffer = node.source
        if buffer not in self.buffers:
            raise IRError(f"a read of {buffer}, which is neither a parameter nor allocated")
        text = f"{self.buffers[buffer]}[{self.element(buffer, node.indices, 'a read of')}]"
        return text if buffer in self.given else f"{self.site(_defined_site(node))}({text})"

    def element(self, buffer: Buffer, indices: tuple[Expr, ...], what: str) -> str:
        """Text of the flat index, with the checks that it needs."""
        if len(indices) != len(buffer.shape):
            raise IRError(f"{what} {buffer} has {len(indices)} indices")
        terms = []
        step = buffer.elements
        for d, (index, extent) in enumerate(zip(indices, buffer.shape, strict=True)):
            step = step // extent if extent else 0
            text = self.text(index)
            span = self.span(index)
            if span is None or span[0] < 0 or span[1] >= extent:
                text = f"{self.site(_index_site(extent, f'{what} {buffer}', d))}({text})"
            if text != "0":
                terms.append(text if step == 1 else f"{text} * {step}")
        return " + ".join(terms) or "0"

    def cast(self, node: Cast) -> str:
        text, source = self.text(node.value), node.value.dtype
        if node.dtype == "bool":
            return f"({text} != 0)"
        if is_float(node.dtype):
            return f"to_{node.dtype}({text})"
        if is_float(source):
            return self.checked(node, f"{self.site(_truncate_site(node))}({text})")
        if source == "bool":
            return f"int({text})"
        wraps = node.dtype.startswith("uint") and INT_BITS[node.dtype] >= INT_BITS[source]
        span = self.span(node.value)
        low, high = dtype_range(node.dtype)
        if span is not None and low <= span[0] and span[1] <= high:
            return text
        return f"({text} & {high})" if wraps else self.checked(node, text)

    def checked(self, node: Expr, text: str) -> str:
        return f"{self.site(_fit_site(node))}({text})"

    def binary(self, node: BinOp) -> str:
        op, dtype = node.op, node.a.dtype
        a, b = self.text(node.a), self.text(node.b)
        if op in ("min", "max"):
            # As C++'s std::min and std::max: the first operand where neither is smaller.
            return f"({b} if {f'{b} < {a}' if op == 'min' else f'{a} < {b}'} else {a})"
        if op in COMPARISON or op in ("and", "or") or is_float(dtype) or dtype == "bool":
            return f"({a} {op} {b})"
        if op in ("//", "%", "tdiv", "tmod", "<<", ">>"):
            text = f"{self.site(_partial_site(node))}({a}, {b})"
        else:
            text = f"({a} {op} {b})"
        low, high = dtype_range(dtype)
        span = self.arithmetic_span(node)
        if span is not None and low <= span[0] and span[1] <= high:
            return text
        if dtype.startswith("uint"):
            return f"({text} & {high})"
        return text if op in ("&", "|", "^", "%", "tmod", ">>") else self.checked(node, text)

    # ---- ranges ----

    def span(self, node: Expr) -> Interval | None:
        """Smallest and largest value that an integer can have, by the plainest of rules."""
        if node not in self.memo:
            self.memo[node] = self.find_span(node)
        return self.memo[node]

    def find_span(self, node: Expr) -> Interval | None:
        if isinstance(node, IntImm | Param):
            return node.value, node.value
        if not is_int(node.dtype):
            return None
        low, high = dtype_range(node.dtype)
        found = None
        if isinstance(node, Var):
            found = self.spans.get(node)
        elif isinstance(node, BinOp):
            found = self.arithmetic_span(node)
        elif isinstance(node, Cast):
            found = self.span(node.value)
        fits = found is not None and low <= found[0] and found[1] <= high
        return found if fits else (low, high)

    def arithmetic_span(self, node: BinOp) -> Interval | None:
        """Of the exact result, which may lie outside the dtype; None for what is not + - *."""
        a, b = self.span(node.a), self.span(node.b)
        if a is None or b is None:
            return None
        if node.op == "+":
            return a[0] + b[0], a[1] + b[1]
        if node.op == "-":
            return a[0] - b[1], a[1] - b[0]
        if node.op == "*":
            products = [x * y for x in a for y in b]
            return min(products), max(products)
        return None


def _children(node: Expr) -> tuple[Expr, ...]:
    children = node.children()
    if isinstance(node, BinOp) and node.op in ("min", "max"):
        return children * 2
    return children


def _is_simple(node: Expr) -> bool:
    return isinstance(node, Var | IntImm | FloatImm | Param)


# ---- checks, each made for one place of the program ----


def _index_site(extent: int, what: str, dimension: int) -> Site:
    def check(index: int) -> int:
        if not 0 <= index < extent:
            raise IRError(
                f"{what}: index {index} of dimension {dimension} is outside 0..{extent - 1}"
            )
        return index

    return check


def _defined_site(node: Read) -> Site:
    def check(value: Any) -> Any:
        if value is None:
            raise IRError(f"{expr_text(node)} is read before it is written")
        return value

    return check


def _fit_site(node: Expr) -> Site:
    low, high = dtype_range(node.dtype)

    def check(value: int) -> int:
        if not low <= value <= high:
            raise IRError(f"{expr_text(node)} is {value}, which does not fit {node.dtype}")
        return value

    return check


def _truncate_site(node: Expr) -> Site:
    def truncate(value: float) -> int:
        if not math.isfinite(value):
            raise IRError(f"{expr_text(node)} converts {value}, which is no integer")
        return int(value)

    return truncate


def _partial_site(node: BinOp) -> Site:
    bits, op = INT_BITS[node.dtype], node.op

    def quotient(a: int, b: int) -> int:
        return abs(a) // abs(b) if (a < 0) == (b < 0) else -(abs(a) // abs(b))

    def apply(a: int, b: int) -> int:
        if op in ("<<", ">>"):
            if not 0 <= b < bits:
                raise IRError(f"{expr_text(node)} shifts {bits} bits by {b}")
            return a << b if op == "<<" else a >> b
        if b == 0:
            raise IRError(f"{expr_text(node)} divides by zero")
        if op in ("//", "%"):
            return a // b if op == "//" else a % b
        return quotient(a, b) if op == "tdiv" else a - b * quotient(a, b)

    return apply


def _call_site(node: Call) -> Site:
    evaluate = scalar_function(node.name).evaluate
    if not is_float(node.dtype):
        return evaluate
    make = _FLOATS[node.dtype]

    def apply(*values: Any) -> Any:
        return make(round_to(node.dtype, evaluate(*map(float, values))))

    return apply


def _to_float32(value: Any) -> Any:
    """One rounding, also of integers that float64 can't hold."""
    if isinstance(value, int) and abs(value) >> 53:
        return (np.int64 if value < 1 << 63 else np.uint64)(value).astype(np.float32)
    return np.float32(value)


_FLOATS: dict[str, Callable[[float], Any]] = {"float32": np.float32, "float64": np.float64}
_RUNTIME: dict[str, Any] = {"to_float32": _to_float32, "to_float64": np.float64}
