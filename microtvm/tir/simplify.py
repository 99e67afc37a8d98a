"""What is known about integers: bounds of expressions, and simplification by them.

Index arithmetic (no reads, no calls, int32) is kept as a sum of products in one canonical order, so
that differences cancel and divisions split exactly. Arithmetic on data is left as written:
reordering it could overflow where the original does not; only comparisons, minima and maxima
decided by bounds are folded there.

Intervals are Moore, "Interval Analysis" (1966); the quotient and remainder rules are those of floor
division.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from microtvm.tir.dtype import dtype_range, is_float, is_int
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
    binary,
)
from microtvm.tir.intrinsic import FUNCTIONS
from microtvm.tir.traversal import post_order

Interval = tuple[int, int]
"""Smallest and largest value, both included."""

NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


class Linear:
    """constant + sum of coefficient * atom; an atom is anything that is not a sum or a multiple."""

    __slots__ = ("constant", "terms")

    def __init__(self, constant: int, terms: dict[Expr, int]) -> None:
        self.constant = constant
        self.terms = terms

    @classmethod
    def of(cls, expr: Expr) -> Linear:
        """The linear form of an integer expression."""
        if isinstance(expr, IntImm):
            return cls(expr.value, {})
        if isinstance(expr, BinOp):
            if expr.op in ("+", "-"):
                return cls.of(expr.a).plus(cls.of(expr.b), 1 if expr.op == "+" else -1)
            if expr.op == "*":
                left, right = cls.of(expr.a), cls.of(expr.b)
                if not right.terms:
                    return left.times(right.constant)
                if not left.terms:
                    return right.times(left.constant)
        return cls(0, {expr: 1})

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """self + factor * other"""
        terms = dict(self.terms)
        for atom, c in other.terms.items():
            total = terms.get(atom, 0) + factor * c
            if total:
                terms[atom] = total
            else:
                terms.pop(atom, None)
        return Linear(self.constant + factor * other.constant, terms)

    def times(self, factor: int) -> Linear:
        """factor * self"""
        if factor == 0:
            return Linear(0, {})
        return Linear(self.constant * factor, {a: c * factor for a, c in self.terms.items()})

    def expr(self, dtype: str = "int32") -> Expr:
        """As an expression: positive terms first, in order of appearance, the constant last.

        A single negative term keeps its factor: forms that differ in constants have one shape.
        """
        result: Expr | None = None
        for atom, c in sorted(self.terms.items(), key=lambda item: item[1] < 0):
            if result is None:
                result = binary("*", atom, IntImm(c, dtype))
            elif c < 0:
                result = binary("-", result, binary("*", atom, IntImm(-c, dtype)))
            else:
                result = binary("+", result, binary("*", atom, IntImm(c, dtype)))
        if result is None:
            return IntImm(self.constant, dtype)
        if self.constant < 0:
            return binary("-", result, IntImm(-self.constant, dtype))
        return binary("+", result, IntImm(self.constant, dtype))


def _index_like(expr: Expr, memo: dict[Expr, bool]) -> bool:
    found = memo.get(expr)
    if found is None:
        data = isinstance(expr, Read | Call | Cast | FloatImm | Param)
        if data or expr.dtype not in ("int32", "bool"):
            found = False
        else:
            found = all(_index_like(child, memo) for child in expr.children())
        memo[expr] = found
    return found


def _within(result: Interval | None, dtype: str) -> Interval:
    """Bounds that the dtype allows: signed arithmetic never leaves it, unsigned wraps."""
    low, high = dtype_range(dtype)
    if result is None:
        return low, high
    if low <= result[0] and result[1] <= high:
        return result
    clipped = max(low, result[0]), min(high, result[1])
    return (low, high) if dtype.startswith("uint") or clipped[0] > clipped[1] else clipped


class Analyzer:
    """Ranges of variables, given by `assume` within a `with`, and what follows from them."""

    def __init__(self, ranges: dict[Var, Interval] | None = None) -> None:
        self.ranges: dict[Var, Interval] = dict(ranges or {})
        self._bounds: dict[Expr, Interval | None] = {}
        self._simple: dict[Expr, Expr] = {}
        self._index: dict[Expr, bool] = {}

    @contextmanager
    def assume(self, var: Var, low: int, high: int) -> Iterator[None]:
        """`low <= var <= high` inside the `with`."""
        before = self.ranges.get(var)
        saved = self._bounds, self._simple
        self.ranges[var] = (low, high)
        if before is not None:
            self._bounds, self._simple = {}, {}
        else:
            self._bounds, self._simple = dict(self._bounds), dict(self._simple)
        try:
            yield
        finally:
            if before is None:
                del self.ranges[var]
            else:
                self.ranges[var] = before
            self._bounds, self._simple = saved

    # ---- bounds ----

    def bounds(self, expr: Expr) -> Interval | None:
        """Smallest and largest value of an integer or bool expression; None for a float."""
        if isinstance(expr, IntImm):
            return expr.value, expr.value
        if expr in self._bounds:
            return self._bounds[expr]
        result = self._compute_bounds(expr)
        if expr.dtype == "bool" or is_int(expr.dtype):
            result = _within(result, expr.dtype)
        self._bounds[expr] = result
        return result

    def _compute_bounds(self, expr: Expr) -> Interval | None:
        if isinstance(expr, Var):
            return self.ranges.get(expr)
        if isinstance(expr, Param):
            return expr.value, expr.value
        if isinstance(expr, Cast):
            if is_float(expr.value.dtype):
                return None
            inner = self.bounds(expr.value)
            if inner is None or is_float(expr.dtype):
                return None
            low, high = dtype_range(expr.dtype)
            return inner if low <= inner[0] and inner[1] <= high else (low, high)
        if isinstance(expr, Read):
            data = getattr(expr.source, "data", None)
            if data is not None and is_int(expr.dtype) and data.size:
                return int(data.min()), int(data.max())
            return None
        if isinstance(expr, Select):
            a, b = self.bounds(expr.on_true), self.bounds(expr.on_false)
            return (min(a[0], b[0]), max(a[1], b[1])) if a and b else None
        if isinstance(expr, Call) and is_int(expr.dtype):
            ranges = [self.bounds(a) for a in expr.args]
            if all(r is not None for r in ranges):
                return FUNCTIONS[expr.name].bounds(*ranges)
            return None
        if isinstance(expr, BinOp) and not is_float(expr.a.dtype):
            return self._binary_bounds(expr)
        return None

    def _binary_bounds(self, expr: BinOp) -> Interval | None:
        op = expr.op
        if op in COMPARISON or op in ("and", "or"):
            return None
        if op in ("+", "-"):
            linear = Linear.of(expr)
            low = high = linear.constant
            for atom, c in linear.terms.items():
                inner = self.bounds(atom)
                if inner is None:
                    return None
                low += c * inner[0 if c > 0 else 1]
                high += c * inner[1 if c > 0 else 0]
            return low, high
        a, b = self.bounds(expr.a), self.bounds(expr.b)
        if a is None or b is None:
            return None
        if op == "*":
            products = [x * y for x in a for y in b]
            return min(products), max(products)
        if op in ("min", "max"):
            pick = min if op == "min" else max
            return pick(a[0], b[0]), pick(a[1], b[1])
        if op in ("//", "tdiv") and b[0] > 0:
            if op == "//" or a[0] >= 0:
                quotients = [x // y for x in a for y in b]
                return min(quotients), max(quotients)
            quotients = [abs(x) // y * (1 if x >= 0 else -1) for x in a for y in b]
            return min(quotients), max(quotients)
        if op == "%" and b[0] > 0:
            if a[0] >= 0 and a[1] < b[0]:
                return a
            return 0, b[1] - 1
        if op == "tmod" and b[0] > 0:
            limit = b[1] - 1
            return (0 if a[0] >= 0 else -limit), (0 if a[1] <= 0 else limit)
        if op == "<<" and b[0] >= 0 and b[1] < 63:
            shifted = [x << y for x in a for y in b]
            return min(shifted), max(shifted)
        if op == ">>" and b[0] >= 0 and b[1] < 63:
            shifted = [x >> y for x in a for y in b]
            return min(shifted), max(shifted)
        if op == "&" and b[0] >= 0:
            return 0, (min(a[1], b[1]) if a[0] >= 0 else b[1])
        return None

    def proves(self, cond: Expr) -> bool:
        """Whether the condition always holds."""
        simple = self.simplify(cond)
        return isinstance(simple, IntImm) and simple.value == 1

    # ---- simplification ----

    def simplify(self, expr: Expr) -> Expr:
        """An equal expression, usually smaller."""
        found = self._simple.get(expr)
        if found is not None:
            return found
        for node in post_order(expr):
            if node in self._simple:
                continue
            children = node.children()
            new = tuple(self._simple[child] for child in children)
            changed = any(x is not y for x, y in zip(new, children, strict=True))
            rebuilt = node.rebuild(new) if changed else node
            self._simple[node] = self._step(rebuilt)
        return self._simple[expr]

    def _step(self, expr: Expr) -> Expr:
        if isinstance(expr, Select):
            if isinstance(expr.cond, IntImm):
                return expr.on_true if expr.cond.value else expr.on_false
            return expr.on_true if expr.on_true is expr.on_false else expr
        if isinstance(expr, Not):
            inner = expr.value
            if isinstance(inner, IntImm):
                return IntImm(1 - inner.value, "bool")
            if isinstance(inner, BinOp) and inner.op in NEGATED and not is_float(inner.a.dtype):
                return self._step(binary(NEGATED[inner.op], inner.a, inner.b))
            return inner.value if isinstance(inner, Not) else expr
        if not isinstance(expr, BinOp) or is_float(expr.a.dtype):
            return expr
        if expr.op in COMPARISON:
            return self._compare(expr)
        if expr.op in ("min", "max"):
            return self._extreme(expr)
        known = self.bounds(expr)
        if known is not None and known[0] == known[1] and _index_like(expr, self._index):
            return IntImm(known[0], expr.dtype)
        if not _index_like(expr, self._index) or expr.dtype == "bool":
            return expr
        if expr.op in ("+", "-", "*"):
            return joined(Linear.of(expr)).expr(expr.dtype)
        if expr.op in ("//", "%", "tdiv", "tmod") and isinstance(expr.b, IntImm):
            return self._divide(expr, expr.b.value)
        return expr

    def _difference(self, a: Expr, b: Expr) -> Interval | None:
        if a.dtype.startswith("uint"):
            # Unsigned sums wrap, so that their linear form is not their value.
            left, right = self.bounds(a), self.bounds(b)
            if left is None or right is None:
                return None
            return left[0] - right[1], left[1] - right[0]
        linear = Linear.of(a).plus(Linear.of(b), -1)
        low = high = linear.constant
        for atom, c in linear.terms.items():
            inner = self.bounds(atom)
            if inner is None:
                return None
            low += c * inner[0 if c > 0 else 1]
            high += c * inner[1 if c > 0 else 0]
        return low, high

    def _compare(self, expr: BinOp) -> Expr:
        if expr.a.dtype == "bool":
            return expr
        known = self._difference(expr.a, expr.b)
        if known is None:
            return expr
        low, high = known
        verdict = {
            "<": (high < 0, low >= 0),
            "<=": (high <= 0, low > 0),
            ">": (low > 0, high <= 0),
            ">=": (low >= 0, high < 0),
            "==": (low == high == 0, low > 0 or high < 0),
            "!=": (low > 0 or high < 0, low == high == 0),
        }[expr.op]
        if verdict[0]:
            return IntImm(1, "bool")
        if verdict[1]:
            return IntImm(0, "bool")
        return expr

    def _extreme(self, expr: BinOp) -> Expr:
        known = self._difference(expr.a, expr.b)
        if known is None:
            return _absorbed(expr)
        low, high = known
        if expr.op == "max":
            low, high = -high, -low
        if high <= 0:
            return expr.a
        if low >= 0:
            return expr.b
        return _absorbed(expr)

    def _divide(self, expr: BinOp, divisor: int) -> Expr:
        if divisor <= 0:
            return expr
        whole_range = self.bounds(expr.a)
        floor = expr.op in ("//", "%")
        if not floor and (whole_range is None or whole_range[0] < 0):
            return expr
        quotient_wanted = expr.op in ("//", "tdiv")
        linear = Linear.of(expr.a)
        if not quotient_wanted:
            linear = _without_remainders(linear, divisor)
        elif len(linear.terms) == 1:
            ((atom, c),) = linear.terms.items()
            if (
                c == 1
                and isinstance(atom, BinOp)
                and atom.op == "//"
                and isinstance(atom.b, IntImm)
                and atom.b.value * max(divisor, abs(linear.constant)) < 1 << 30
            ):
                # floor((floor(y / a) + k) / b) = floor((y + a * k) / (a * b))
                scaled = Linear.of(atom.a).plus(Linear(atom.b.value * linear.constant, {}))
                return self._step(binary("//", scaled.expr(), IntImm(atom.b.value * divisor)))
        exact = Linear(0, {})
        rest = Linear(linear.constant % divisor, {})
        exact.constant = (linear.constant - rest.constant) // divisor
        for atom, c in linear.terms.items():
            if c % divisor == 0:
                exact.terms[atom] = c // divisor
            else:
                rest.terms[atom] = c
        known = self.bounds(rest.expr())
        if known is not None:
            base = known[0] // divisor
            if base == known[1] // divisor:
                shifted = exact.plus(Linear(base, {}))
                if quotient_wanted:
                    return shifted.expr()
                return rest.plus(Linear(-base * divisor, {})).expr()
        found = self._split_digits(rest, divisor)
        if found is not None:
            upper, step, digit = found
            # rest = step * upper + digit with 0 <= digit < step, and step divides the divisor.
            op = "//" if quotient_wanted else "%"
            inner = self._step(binary(op, upper.expr(), IntImm(divisor // step)))
            if quotient_wanted:
                return exact.plus(Linear.of(inner)).expr()
            return Linear.of(inner).times(step).plus(digit).expr()
        if not quotient_wanted:
            return binary("%", rest.expr(), IntImm(divisor))
        if exact.terms or exact.constant:
            inner = binary("//", rest.expr(), IntImm(divisor))
            return exact.plus(Linear.of(inner)).expr()
        return expr

    def _split_digits(self, rest: Linear, divisor: int) -> tuple[Linear, int, Linear] | None:
        """(upper, step, digit) with rest = step * upper + digit and 0 <= digit < step.

        step > 1 is a factor of the divisor.

        The largest such step; None where there is none.
        """
        steps = {_gcd(divisor, abs(c)) for c in rest.terms.values()}
        steps |= {_gcd(a, b) for a in steps for b in steps}
        for step in sorted(steps, reverse=True):
            if step == 1:
                continue
            upper = Linear(rest.constant // step, {})
            digit = Linear(rest.constant % step, {})
            for atom, c in rest.terms.items():
                (digit.terms if c % step else upper.terms)[atom] = c if c % step else c // step
            known = self.bounds(digit.expr())
            if known is not None and known[0] >= 0 and known[1] < step:
                return upper, step, digit
        return None


def _absorbed(expr: BinOp) -> Expr:
    """max(a, max(a, b)) is max(a, b), max(a, min(a, b)) is a, and likewise for min."""
    for one, other in ((expr.a, expr.b), (expr.b, expr.a)):
        if is_int(expr.dtype) and isinstance(other, BinOp) and one in (other.a, other.b):
            if other.op == expr.op:
                return other
            if other.op in ("min", "max"):
                return one
    return expr


def joined(linear: Linear) -> Linear:
    """The form with every k * d * (y // d) + k * (y % d) as k * y."""
    for atom, c in linear.terms.items():
        if not (isinstance(atom, BinOp) and atom.op == "%" and isinstance(atom.b, IntImm)):
            continue
        quotient = binary("//", atom.a, atom.b)
        inner = atom.a
        if isinstance(inner, BinOp) and inner.op == "//" and isinstance(inner.b, IntImm):
            # As quotients of quotients are written.
            quotient = binary("//", inner.a, IntImm(inner.b.value * atom.b.value))
        if linear.terms.get(quotient) == c * atom.b.value:
            rest = {a: k for a, k in linear.terms.items() if a is not atom and a is not quotient}
            return joined(Linear(linear.constant, rest).plus(Linear.of(atom.a), c))
    return linear


def _without_remainders(linear: Linear, divisor: int) -> Linear:
    """A form with the same remainder: y % m is y where the divisor divides m."""
    result = Linear(linear.constant, {})
    changed = False
    for atom, c in linear.terms.items():
        if (
            isinstance(atom, BinOp)
            and atom.op == "%"
            and isinstance(atom.b, IntImm)
            and c * atom.b.value % divisor == 0
        ):
            result = result.plus(Linear.of(atom.a), c)
            changed = True
        else:
            result = result.plus(Linear(0, {atom: c}))
    return _without_remainders(result, divisor) if changed else linear


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a
