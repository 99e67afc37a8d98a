"""Vectorised loops: which can be written with GCC's vector extensions, and their expressions.

A loop is written with vectors if its extent is a constant power of two and its body is made of
stores (in loops and conditions that do not depend on its variable, if any) whose elements follow
each other in memory, or in a register buffer, as the variable counts. Their values may read
elements that follow each other in the same way, or the same element throughout, and combine them by
+ - * / & | ^ and conversions. Anything else, selects, minima and calls among it, is written as an
ordinary loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microtvm.codegen.c_expr import UNARY, CText, ExprPrinter, flat_index
from microtvm.codegen.c_type import storage_type, value_dtype
from microtvm.tir.dtype import FLOAT_BITS, INT_BITS
from microtvm.tir.expr import BinOp, Cast, Expr, IntImm, Read, Var, const
from microtvm.tir.simplify import Linear
from microtvm.tir.stmt import (
    Buffer,
    For,
    If,
    IntrinsicCall,
    Seq,
    Stmt,
    Store,
    inner_statements,
    statement_expressions,
    walk,
)
from microtvm.tir.traversal import post_order

VECTOR_OPERATORS = ("+", "-", "*", "/", "&", "|", "^")
MOST_LANES = 64


def vector_type(dtype: str, lanes: int) -> str:
    """Name of the C type of `lanes` values of a dtype."""
    return f"mtvm_{dtype}x{lanes}"


def vector_typedef(name: str) -> str:
    """The C declaration of a vector type; it may lie at any address that suits its elements."""
    dtype, lanes = name.removeprefix("mtvm_").rsplit("x", 1)
    size = element_bytes(dtype)
    attributes = f"vector_size({size * int(lanes)}), aligned({size}), may_alias"
    return f"typedef {storage_type(dtype)} {name} __attribute__(({attributes}));\n"


def element_bytes(dtype: str) -> int:
    """Bytes of one element in memory."""
    return max(1, (INT_BITS.get(dtype) or FLOAT_BITS[dtype]) // 8)


def lane_base(index: Expr, loop: For) -> Expr | None:
    """The index of the loop's first iteration, if each iteration's is one more; else None."""
    linear = Linear.of(index)
    if linear.terms.get(loop.var) != 1:
        return None
    del linear.terms[loop.var]
    if any(depends(atom, loop.var) for atom in linear.terms):
        return None
    return linear.plus(Linear.of(loop.begin)).expr()


def depends(expr: Expr, var: Var) -> bool:
    """Whether the expression's value changes with the variable."""
    return any(node is var for node in post_order(expr))


def register_place(buffer: Buffer, indices: Sequence[Expr], loop: For, lanes: int) -> bool:
    """Whether an access to a register buffer takes a whole vector at a constant place."""
    base = lane_base(indices[-1], loop) if indices else None
    aligned = isinstance(base, IntImm) and base.value % lanes == 0 and buffer.shape[-1] % lanes == 0
    return aligned and all(isinstance(i, IntImm) for i in indices[:-1])


class VectorPlan:
    """Which loops of a program become vectors, and which register buffers are made of them."""

    def __init__(self, body: Stmt) -> None:
        self.loops: dict[For, int] = {}
        self.registers: dict[Buffer, int] = {}
        candidates = [s for s in walk(body) if isinstance(s, For) and s.kind == "vectorized"]
        scalars = _scalar_registers(body)
        while True:
            self.loops = {
                loop: loop.extent.value
                for loop in candidates
                if isinstance(loop.extent, IntImm) and _vectorizable(loop, scalars)
            }
            self.registers = {}
            more = _mark_registers(body, self, scalars)
            if more == scalars:
                return
            scalars = more


class VectorPrinter(ExprPrinter):
    """Prints the expressions of a store in a vectorised loop: as vectors what varies with it."""

    def __init__(self, scalar: ExprPrinter, loop: For, lanes: int, roots: Sequence[Expr]) -> None:
        super().__init__(scalar.bounds, scalar.elements, scalar.support)
        self.names = scalar.names
        self.loop = loop
        self.lanes = lanes
        self.varying: set[Expr] = {loop.var}
        for root in roots:
            for node in post_order(root):
                if any(child in self.varying for child in node.children()):
                    self.varying.add(node)

    def type_of(self, dtype: str) -> str:
        """The C vector type, noted as used."""
        name = vector_type(dtype, self.lanes)
        self.support.helpers[name] = None
        return name

    def operands(self, node: Expr) -> tuple[Expr, ...]:
        """As ExprPrinter; of a varying element, the index of its first lane."""
        if isinstance(node, Read) and node in self.varying:
            if node.source.scope == "register":
                return ()
            return (self.base(node.source, node.indices),)
        return super().operands(node)

    def is_simple(self, node: Expr) -> bool:
        """As ExprPrinter."""
        if node in self.varying:
            return isinstance(node, Read) and node.source.scope == "register"
        return super().is_simple(node)

    def local_type(self, node: Expr) -> str:
        """As ExprPrinter."""
        return self.type_of(node.dtype) if node in self.varying else super().local_type(node)

    def base(self, buffer: Buffer, indices: Sequence[Expr]) -> Expr:
        """The flat index of the first lane."""
        found = lane_base(flat_index(buffer, indices), self.loop)
        assert found is not None
        return found

    def text(self, node: Expr) -> CText:
        """The expression: a vector where it varies, else a scalar."""
        if node not in self.varying or node in self.names:
            return super().text(node)
        if isinstance(node, Read):
            if node.source.scope == "register":
                return self.elements.vector_register(node.source, node.indices, self.loop)
            return CText(self._pointed("const ", node), UNARY)
        if isinstance(node, Cast):
            to = self.type_of(node.dtype)
            return CText(f"__builtin_convertvector({self.text(node.value).text}, {to})")
        assert isinstance(node, BinOp)
        return self._infix(node.op, self.lane(node.a), self.lane(node.b))

    def _pointed(self, const: str, place: Read) -> str:
        index = self.text(self.base(place.source, place.indices)).text
        pointer = f"({const}{self.type_of(place.dtype)} *)"
        return f"*{pointer}&{self.elements.name(place.source)}[{index}]"

    def lvalue(self, place: Read) -> str:
        """The left side of an assignment to all lanes of an element."""
        if place.source.scope == "register":
            return self.elements.vector_register(place.source, place.indices, self.loop).text
        return self._pointed("", place)

    def lane(self, node: Expr) -> CText:
        """An operand of a vector operator; a scalar must have exactly the elements' type."""
        value = self.text(node)
        if node in self.varying or value_dtype(node.dtype) == node.dtype:
            return value
        return CText(f"({storage_type(node.dtype)}){value.within(UNARY)}", UNARY)

    def whole(self, value: Expr, name_of: Callable[[str], str]) -> str:
        """The text of a stored value, a vector in any case; `name_of` makes a local of a scalar."""
        if value in self.varying:
            return self.text(value).text
        if value is const(0, value.dtype):
            return f"({self.type_of(value.dtype)}){{0}}"
        scalar = self.stored(value)
        if not self.is_simple(value) and value not in self.names:
            scalar = name_of(scalar)
        return f"({self.type_of(value.dtype)}){{{', '.join([scalar] * self.lanes)}}}"


def _scalar_registers(body: Stmt) -> frozenset[Buffer]:
    """Register buffers that an intrinsic takes apart into lvalues."""
    return frozenset(
        o.buffer
        for s in walk(body)
        if isinstance(s, IntrinsicCall)
        for o in s.operands
        if o.buffer.scope == "register"
    )


def _vectorizable(loop: For, scalars: frozenset[Buffer]) -> bool:
    assert isinstance(loop.extent, IntImm)
    lanes = loop.extent.value
    if not 2 <= lanes <= MOST_LANES or lanes & (lanes - 1):
        return False
    return _statement_is_vector(loop.body, loop, lanes, scalars)


def _statement_is_vector(stmt: Stmt, loop: For, lanes: int, scalars: frozenset[Buffer]) -> bool:
    if isinstance(stmt, Seq):
        return all(_statement_is_vector(s, loop, lanes, scalars) for s in stmt.body)
    if isinstance(stmt, For):
        fixed = not depends(stmt.begin, loop.var) and not depends(stmt.extent, loop.var)
        return (
            fixed
            and stmt.kind != "vectorized"
            and _statement_is_vector(stmt.body, loop, lanes, scalars)
        )
    if isinstance(stmt, If):
        branches = [stmt.then] if stmt.otherwise is None else [stmt.then, stmt.otherwise]
        return not depends(stmt.cond, loop.var) and all(
            _statement_is_vector(s, loop, lanes, scalars) for s in branches
        )
    if not isinstance(stmt, Store) or stmt.buffer.dtype == "bool":
        return False
    place_ok = _access_is_vector(stmt.buffer, stmt.indices, loop, lanes, scalars)
    return place_ok and _value_is_vector(stmt.value, loop, lanes, scalars)


def _access_is_vector(
    buffer: Buffer, indices: Sequence[Expr], loop: For, lanes: int, scalars: frozenset[Buffer]
) -> bool:
    if buffer.scope == "register":
        return buffer not in scalars and register_place(buffer, indices, loop, lanes)
    return lane_base(flat_index(buffer, indices), loop) is not None


def _value_is_vector(value: Expr, loop: For, lanes: int, scalars: frozenset[Buffer]) -> bool:
    if isinstance(value, Read) and value.source.scope == "register":
        varies = any(depends(i, loop.var) for i in value.indices)
        return not varies or _access_is_vector(value.source, value.indices, loop, lanes, scalars)
    if not depends(value, loop.var):
        return True
    if value.dtype == "bool":
        return False
    if isinstance(value, Read):
        return _access_is_vector(value.source, value.indices, loop, lanes, scalars)
    if isinstance(value, Cast) or (isinstance(value, BinOp) and value.op in VECTOR_OPERATORS):
        return all(_value_is_vector(child, loop, lanes, scalars) for child in value.children())
    return False


def _mark_registers(body: Stmt, plan: VectorPlan, scalars: frozenset[Buffer]) -> frozenset[Buffer]:
    """Enter the buffers held in vectors into the plan; returns those that must be scalars."""
    plain = set(scalars)

    def visit(stmt: Stmt, around: For | None) -> None:
        inside = stmt if isinstance(stmt, For) and stmt in plan.loops else around
        for buffer, indices in register_accesses(stmt):
            lanes = 0
            if around is not None and any(depends(i, around.var) for i in indices):
                lanes = plan.loops[around]
            if lanes == 0 or plan.registers.setdefault(buffer, lanes) != lanes:
                plain.add(buffer)
        for inner in inner_statements(stmt):
            visit(inner, inside)

    visit(body, None)
    return frozenset(plain)


def register_accesses(stmt: Stmt) -> list[tuple[Buffer, tuple[Expr, ...]]]:
    """The register elements that stand directly in a statement, stored or read."""
    found: list[tuple[Buffer, tuple[Expr, ...]]] = []
    if isinstance(stmt, Store) and stmt.buffer.scope == "register":
        found.append((stmt.buffer, stmt.indices))
    seen: set[Expr] = set()
    for expr in statement_expressions(stmt):
        for node in post_order(expr):
            if node in seen:
                continue
            seen.add(node)
            if isinstance(node, Read) and node.source.scope == "register":
                found.append((node.source, node.indices))
    return found
