"""Loop partitioning: conditions leave the loops that decide them.

A condition on a loop's variable splits the loop's range where the condition changes, so that
padding and tails cost nothing in the interior. A condition is decided in the innermost serial loop
whose variable it uses; the cut may depend on outer loops. A reduction over padding thereby becomes
a shorter loop.

Conditions that also use unrolled or vectorized loops inside are decided for all their iterations at
once: between the surely true and the surely false part there is one where the condition stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from microtvm.tir.expr import BinOp, Call, Cast, Expr, IntImm, Not, Read, Select, Var, binary
from microtvm.tir.simplify import NEGATED, Analyzer, Linear
from microtvm.tir.stmt import (
    Alloc,
    For,
    If,
    Let,
    Seq,
    Stmt,
    sequence,
    statement_expressions,
    substitute_stmt,
    walk,
)
from microtvm.tir.traversal import post_order, substitute


def partition(stmt: Stmt, analyzer: Analyzer) -> Stmt:
    """The statement with every serial loop cut at the conditions that it decides."""
    if isinstance(stmt, For):
        if stmt.kind == "serial":
            pieces = _cut(stmt, analyzer, frozenset())
            if len(pieces) != 1 or pieces[0] is not stmt:
                return sequence(*[_descend(p, analyzer) for p in pieces])
        return _descend(stmt, analyzer)
    if isinstance(stmt, Seq):
        return sequence(*[partition(s, analyzer) for s in stmt.body])
    if isinstance(stmt, If):
        other = None if stmt.otherwise is None else partition(stmt.otherwise, analyzer)
        return If(stmt.cond, partition(stmt.then, analyzer), other)
    if isinstance(stmt, Let):
        return Let(stmt.var, stmt.value, partition(stmt.body, analyzer))
    if isinstance(stmt, Alloc):
        return Alloc(stmt.buffer, partition(stmt.body, analyzer))
    return stmt


def _descend(loop: For, analyzer: Analyzer) -> Stmt:
    begin = analyzer.bounds(loop.begin)
    last = analyzer.bounds(analyzer.simplify(loop.begin + loop.extent - 1))
    assert begin is not None
    assert last is not None
    if last[1] < begin[0]:
        return Seq(())
    with analyzer.assume(loop.var, begin[0], last[1]):
        body = partition(loop.body, analyzer)
    return For(loop.var, loop.begin, loop.extent, body, loop.kind)


def _conjuncts(cond: Expr) -> Iterator[Expr]:
    if isinstance(cond, BinOp) and cond.op in ("and", "or"):
        yield from _conjuncts(cond.a)
        yield from _conjuncts(cond.b)
    elif isinstance(cond, Not):
        yield from _conjuncts(cond.value)
    else:
        yield cond


def _conditions(stmt: Stmt) -> Iterator[Expr]:
    for inner in walk(stmt):
        if isinstance(inner, If):
            yield from _conjuncts(inner.cond)
        for expr in statement_expressions(inner):
            for node in post_order(expr):
                if isinstance(node, Select):
                    yield from _conjuncts(node.cond)


def _as_nonnegative(cond: Expr) -> Linear | None:
    """The linear form that is >= 0 exactly where the comparison holds."""
    if not isinstance(cond, BinOp) or cond.op not in NEGATED or cond.op in ("==", "!="):
        return None
    if cond.a.dtype != "int32":
        return None
    a, b = Linear.of(cond.a), Linear.of(cond.b)
    if cond.op in ("<", "<="):
        a, b = b, a
    return a.plus(b, -1).plus(Linear(-1 if cond.op in ("<", ">") else 0, {}))


def _variables(linear: Linear) -> set[Var] | None:
    """Variables of the form; None where a term is not one."""
    found: set[Var] = set()
    for atom in linear.terms:
        for node in post_order(atom):
            if isinstance(node, Var):
                found.add(node)
            elif isinstance(node, Read | Call | Cast):
                return None
    return found


def _cut(loop: For, analyzer: Analyzer, done: frozenset[Expr]) -> list[For]:
    """The loop cut at its conditions, but for those `done`: they stay, undecided."""
    inner_serial: set[Var] = set()
    inner_spans: dict[Var, tuple[int, int]] = {}
    for s in walk(loop.body):
        if isinstance(s, For):
            if s.kind == "serial" or not (
                isinstance(s.begin, IntImm) and isinstance(s.extent, IntImm)
            ):
                inner_serial.add(s.var)
            else:
                inner_spans[s.var] = (s.begin.value, s.begin.value + s.extent.value - 1)
        if isinstance(s, Let):
            inner_serial.add(s.var)
    for cond in _conditions(loop.body):
        if cond in done:
            continue
        form = _as_nonnegative(cond)
        if form is None or loop.var not in form.terms:
            continue
        rest = Linear(form.constant, {a: c for a, c in form.terms.items() if a is not loop.var})
        used = _variables(rest)
        if used is None or loop.var in used or used & inner_serial:
            continue
        low, high = _spans(rest, inner_spans)
        if low is None or high is None:
            continue
        return _split_at(loop, cond, form.terms[loop.var], low, high, analyzer, done)
    return [loop]


def _spans(rest: Linear, spans: dict[Var, tuple[int, int]]) -> tuple[Linear | None, Linear | None]:
    """`rest` at its smallest and largest over the inner loops; None where it is not linear."""
    low = Linear(rest.constant, {})
    high = Linear(rest.constant, {})
    for atom, c in rest.terms.items():
        if isinstance(atom, Var) and atom in spans:
            first, last = spans[atom] if c > 0 else (spans[atom][1], spans[atom][0])
            low.constant += c * first
            high.constant += c * last
        elif any(isinstance(n, Var) and n in spans for n in post_order(atom)):
            return None, None
        else:
            low.terms[atom] = high.terms[atom] = c
    return low, high


def _split_at(
    loop: For,
    cond: Expr,
    factor: int,
    low: Linear,
    high: Linear,
    analyzer: Analyzer,
    done: frozenset[Expr],
) -> list[For]:
    end = analyzer.simplify(loop.begin + loop.extent)

    def clamp(cut: Expr) -> Expr:
        limited = binary("min", binary("max", analyzer.simplify(cut), loop.begin), end)
        return analyzer.simplify(limited)

    if factor > 0:
        surely_false_end = clamp((high.times(-1).expr() + (factor - 1)) // factor)
        surely_true = clamp((low.times(-1).expr() + (factor - 1)) // factor)
        cuts = [(loop.begin, surely_false_end, 0), (surely_false_end, surely_true, None),
                (surely_true, end, 1)]  # fmt: skip
    else:
        surely_true_end = clamp(low.expr() // -factor + 1)
        surely_false = clamp(high.expr() // -factor + 1)
        cuts = [(loop.begin, surely_true_end, 1), (surely_true_end, surely_false, None),
                (surely_false, end, 0)]  # fmt: skip
    pieces: list[For] = []
    for begin, stop, verdict in cuts:
        extent = analyzer.simplify(stop - begin)
        known = analyzer.bounds(extent)
        if begin is stop or (known is not None and known[1] <= 0):
            continue
        var = Var(loop.var.name)
        values: dict[Expr, Expr] = {loop.var: var}
        body = loop.body
        if verdict is not None:
            body = substitute_stmt(body, {cond: IntImm(verdict, "bool")})
        body = substitute_stmt(body, values)
        piece = For(var, begin, extent, body, loop.kind)
        kept = done if verdict is not None else done | {cond}
        pieces.extend(_cut(piece, analyzer, frozenset(substitute(d, values) for d in kept)))
    return pieces
