"""Loop programs as text, for people."""

from __future__ import annotations

from microtvm.tir.expr import (
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
from microtvm.tir.stmt import Alloc, Buffer, For, If, IntrinsicCall, Let, Program, Seq, Stmt, Store

_BINDING = {
    "or": 1, "and": 2, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "|": 5, "^": 6, "&": 7, "<<": 8, ">>": 8, "+": 9, "-": 9, "*": 10, "//": 10, "%": 10, "/": 10,
}  # fmt: skip
_NOT, _UNARY, _ATOM = 3, 11, 12


def expr_text(expr: Expr) -> str:
    """An expression as it is built; minima, truncating division and casts as functions."""
    return _text(expr)[0]


def _text(expr: Expr) -> tuple[str, int]:
    if isinstance(expr, IntImm):
        if expr.dtype == "bool":
            return ("true" if expr.value else "false"), _ATOM
        return str(expr.value), _ATOM if expr.value >= 0 else _UNARY
    if isinstance(expr, FloatImm):
        return f"{expr.value:.9g}" if expr.dtype == "float32" else repr(expr.value), _ATOM
    if isinstance(expr, Var):
        return expr.name, _ATOM
    if isinstance(expr, Param):
        return f"{expr.name}={expr.value}", _ATOM
    if isinstance(expr, Cast):
        return f"{expr.dtype}({expr_text(expr.value)})", _ATOM
    if isinstance(expr, Not):
        return f"not {_operand(expr.value, _NOT)}", _NOT
    if isinstance(expr, Select):
        return f"select({', '.join(map(expr_text, expr.children()))})", _ATOM
    if isinstance(expr, Call):
        return f"{expr.name}({', '.join(map(expr_text, expr.args))})", _ATOM
    if isinstance(expr, Read):
        return f"{expr.source.name}[{', '.join(map(expr_text, expr.indices))}]", _ATOM
    assert isinstance(expr, BinOp)
    binding = _BINDING.get(expr.op)
    if binding is None:
        return f"{expr.op}({expr_text(expr.a)}, {expr_text(expr.b)})", _ATOM
    # Comparisons do not chain; other operators associate to the left.
    left = _operand(expr.a, binding + (binding == _BINDING["<"]))
    return f"{left} {expr.op} {_operand(expr.b, binding + 1)}", binding


def _operand(expr: Expr, least: int) -> str:
    text, binding = _text(expr)
    return text if binding >= least else f"({text})"


def buffer_text(buffer: Buffer) -> str:
    """Name, dtype, shape, and the scope where it is not the arena."""
    scope = "" if buffer.scope == "arena" else f" {buffer.scope}"
    return f"{buffer.name}: {buffer.dtype}[{', '.join(map(str, buffer.shape))}]{scope}"


def stmt_text(stmt: Stmt, indent: int = 0) -> str:
    """A statement, one line for each simple one, indented by two spaces a level."""
    return "\n".join("  " * depth + line for depth, line in _lines(stmt, indent))


def program_text(program: Program) -> str:
    """A whole program: notes, parameters, scratch, body."""
    lines = [f"# {note}" for note in program.notes]
    lines.append(f"program {program.name}")
    for buffer in program.params:
        role = "out" if buffer in program.outputs else "in"
        lines.append(f"  {role} {buffer_text(buffer)}")
    lines += [f"  scratch {buffer_text(buffer)}" for buffer in program.scratch]
    return "\n".join([*lines, stmt_text(program.body, 1)]) + "\n"


def _lines(stmt: Stmt, depth: int) -> list[tuple[int, str]]:
    if isinstance(stmt, Store):
        place = ", ".join(map(expr_text, stmt.indices))
        return [(depth, f"{stmt.buffer.name}[{place}] = {expr_text(stmt.value)}")]
    if isinstance(stmt, For):
        kind = "" if stmt.kind == "serial" else f"{stmt.kind} "
        head = f"{kind}for {stmt.var} in {expr_text(stmt.begin)} : +{expr_text(stmt.extent)}"
        return [(depth, head), *_lines(stmt.body, depth + 1)]
    if isinstance(stmt, Seq):
        return [line for s in stmt.body for line in _lines(s, depth)] or [(depth, "nothing")]
    if isinstance(stmt, If):
        lines = [(depth, f"if {expr_text(stmt.cond)}"), *_lines(stmt.then, depth + 1)]
        if stmt.otherwise is not None:
            lines += [(depth, "else"), *_lines(stmt.otherwise, depth + 1)]
        return lines
    if isinstance(stmt, Let):
        head = f"let {stmt.var}: {stmt.var.dtype} = {expr_text(stmt.value)}"
        return [(depth, head), *_lines(stmt.body, depth)]
    if isinstance(stmt, Alloc):
        return [(depth, f"alloc {buffer_text(stmt.buffer)}"), *_lines(stmt.body, depth)]
    assert isinstance(stmt, IntrinsicCall)
    operands = []
    for o in stmt.operands:
        place = ", ".join(map(expr_text, o.indices))
        operands.append(f"{o.buffer.name}[{place}] by ({', '.join(map(str, o.strides))})")
    return [(depth, f"{stmt.intrinsic.name}({', '.join(operands)})")]
