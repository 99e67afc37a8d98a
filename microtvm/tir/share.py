"""Which sub-expressions of a statement get a name, and where that name is given its value.

Interned expressions are graphs: a node with several parents is written once, into a local, and
named afterwards. A node may be evaluated early only if it is evaluated for certain, because what
stands in the branch of a select that is not taken may be out of bounds or overflow. A branch that
shares nodes of its own becomes a statement with an if, so that the text never grows beyond the
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from microtvm.tir.expr import BinOp, Expr, IntImm, Select


@dataclass(frozen=True)
class Local:
    """The node's value is to be computed into a local."""

    node: Expr


@dataclass(frozen=True)
class Branch:
    """The node's value is to be computed by an if statement that assigns a local."""

    node: Expr
    cond: Expr
    then: Block
    otherwise: Block


@dataclass(frozen=True)
class Block:
    """Locals in order, and then the value."""

    steps: tuple[Local | Branch, ...]
    value: Expr


def choices(node: Expr) -> tuple[Expr, Expr, Expr] | None:
    """(condition, value if it holds, value if not) of a node that evaluates only one of the two."""
    if isinstance(node, Select):
        return node.cond, node.on_true, node.on_false
    if isinstance(node, BinOp) and node.op == "and":
        return node.a, node.b, IntImm(0, "bool")
    if isinstance(node, BinOp) and node.op == "or":
        return node.a, IntImm(1, "bool"), node.b
    return None


class Sharing:
    """Plans the locals of expressions.

    `children` lists a node's operands as often as its text repeats them; `simple` says that a
    node's text is as short as a name. Both must be functions of the node alone. No text is nested
    deeper than `deepest` operands where that can be had by naming one: parsers have limits.
    """

    def __init__(
        self,
        children: Callable[[Expr], Sequence[Expr]],
        simple: Callable[[Expr], bool],
        deepest: int = 48,
    ) -> None:
        self._children = children
        self._simple = simple
        self._deepest = deepest
        self._certain_memo: dict[Expr, set[Expr]] = {}

    def plan(
        self, roots: Sequence[Expr], named: frozenset[Expr] = frozenset()
    ) -> tuple[Local | Branch, ...]:
        """The steps before a statement that evaluates all `roots`; `named` have locals already."""
        order, uses = self._count(roots, named)
        certain = self._certain(roots)
        known = set(named)
        steps: list[Local | Branch] = []
        depth: dict[Expr, int] = {}
        for node in order:
            below = (depth.get(c, 0) for c in self._children(node) if c not in known)
            depth[node] = 1 + max(below, default=0)
            if node not in certain or self._simple(node):
                continue
            parts = choices(node)
            if parts is not None:
                cond, then, otherwise = parts
                blocks = [
                    Block(self.plan((value,), frozenset(known)), value)
                    for value in (then, otherwise)
                ]
                if any(block.steps for block in blocks):
                    steps.append(Branch(node, cond, *blocks))
                    known.add(node)
                    continue
            if uses[node] > 1 or depth[node] > self._deepest:
                steps.append(Local(node))
                known.add(node)
        return tuple(steps)

    def _count(
        self, roots: Sequence[Expr], named: frozenset[Expr]
    ) -> tuple[list[Expr], dict[Expr, int]]:
        """Nodes below the roots, children first, and how often each is written."""
        uses: dict[Expr, int] = {}
        order: list[Expr] = []
        seen: set[Expr] = set()
        stack: list[tuple[Expr, bool]] = []
        for root in reversed(roots):
            uses[root] = uses.get(root, 0) + 1
            stack.append((root, False))
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
                continue
            if node in seen or node in named:
                continue
            seen.add(node)
            stack.append((node, True))
            for child in reversed(self._children(node)):
                uses[child] = uses.get(child, 0) + 1
                stack.append((child, False))
        return order, uses

    def _certain(self, roots: Sequence[Expr]) -> set[Expr]:
        """Nodes that are evaluated whatever the conditions are."""
        found: set[Expr] = set()
        stack = list(roots)
        while stack:
            node = stack.pop()
            if node in found:
                continue
            found.add(node)
            parts = choices(node)
            if parts is None:
                stack.extend(self._children(node))
                continue
            stack.append(parts[0])
            found |= self._certain_of(parts[1]) & self._certain_of(parts[2])
        return found

    def _certain_of(self, node: Expr) -> set[Expr]:
        if node not in self._certain_memo:
            self._certain_memo[node] = self._certain((node,))
        return self._certain_memo[node]
