"""Walks over expressions: in order, and with parts replaced."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from microtvm.tir.expr import Expr, Var


def post_order(expr: Expr) -> Iterator[Expr]:
    """Every distinct sub-expression once, children before parents, in a fixed order."""
    seen: set[int] = set()
    stack: list[tuple[Expr, bool]] = [(expr, False)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child in reversed(node.children()))


def uses(expr: Expr, variables: Container[Var]) -> bool:
    """Whether the expression has one of the variables in it."""
    return any(isinstance(node, Var) and node in variables for node in post_order(expr))


def transform(expr: Expr, replace: Callable[[Expr], Expr | None], memo: dict[int, Expr]) -> Expr:
    """Rebuild from the leaves up.

    `replace` sees each rebuilt node and returns another in its place, or None to keep it.
    `memo` may be shared between calls with the same `replace`; it must not outlive the expressions.
    """
    for node in post_order(expr):
        if id(node) in memo:
            continue
        children = node.children()
        new = tuple(memo[id(child)] for child in children)
        changed = any(x is not y for x, y in zip(new, children, strict=True))
        rebuilt = node.rebuild(new) if changed else node
        replaced = replace(rebuilt)
        memo[id(node)] = rebuilt if replaced is None else replaced
    return memo[id(expr)]


def substitute(expr: Expr, values: dict[Expr, Expr]) -> Expr:
    """`expr` with variables (or any sub-expression) replaced."""
    if not values:
        return expr
    table = {id(key): value for key, value in values.items()}
    return transform(expr, lambda node: table.get(id(node)), {})
