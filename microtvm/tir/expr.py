"""Scalar expressions of tensor expressions and loop programs.

Expressions are interned: building the same expression twice gives the same object, so `is` is
structural equality, sharing is visible to the printers, and memo tables are keyed by identity.
Variables are the exception: each is itself only.

Integer arithmetic is exact: a result outside the dtype's range is an error of whoever wrote the
expression (the interpreter raises), not a wrap. Unsigned dtypes wrap, as C's do. `//` and `%` round
towards minus infinity, `tdiv` and `tmod` towards zero. `>>` of a negative value is arithmetic.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from microtvm.errors import IRError
from microtvm.tir.dtype import INT_BITS, dtype_range, is_float, round_to

ARITHMETIC = (
    "+", "-", "*", "//", "%", "tdiv", "tmod", "/", "min", "max", "<<", ">>", "&", "|", "^",
)  # fmt: skip
COMPARISON = ("==", "!=", "<", "<=", ">", ">=")
LOGICAL = ("and", "or")


class Expr:
    """Base of all expressions. `dtype` is the element type."""

    __slots__ = ("__weakref__", "dtype")
    dtype: str
    _interned: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()

    def children(self) -> tuple[Expr, ...]:
        """The sub-expressions, in order."""
        return ()

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        """The same node over other children."""
        return self

    def __add__(self, other: Operand) -> Expr:
        return binary("+", self, other)

    def __radd__(self, other: Operand) -> Expr:
        return binary("+", other, self)

    def __sub__(self, other: Operand) -> Expr:
        return binary("-", self, other)

    def __rsub__(self, other: Operand) -> Expr:
        return binary("-", other, self)

    def __mul__(self, other: Operand) -> Expr:
        return binary("*", self, other)

    def __rmul__(self, other: Operand) -> Expr:
        return binary("*", other, self)

    def __floordiv__(self, other: Operand) -> Expr:
        return binary("//", self, other)

    def __rfloordiv__(self, other: Operand) -> Expr:
        return binary("//", other, self)

    def __mod__(self, other: Operand) -> Expr:
        return binary("%", self, other)

    def __rmod__(self, other: Operand) -> Expr:
        return binary("%", other, self)

    def __truediv__(self, other: Operand) -> Expr:
        return binary("/", self, other)

    def __rtruediv__(self, other: Operand) -> Expr:
        return binary("/", other, self)

    def __lshift__(self, other: Operand) -> Expr:
        return binary("<<", self, other)

    def __rshift__(self, other: Operand) -> Expr:
        return binary(">>", self, other)

    def __and__(self, other: Operand) -> Expr:
        return binary("&", self, other)

    def __or__(self, other: Operand) -> Expr:
        return binary("|", self, other)

    def __xor__(self, other: Operand) -> Expr:
        return binary("^", self, other)

    def __neg__(self) -> Expr:
        return binary("-", const(0, self.dtype), self)

    def __lt__(self, other: Operand) -> Expr:
        return binary("<", self, other)

    def __le__(self, other: Operand) -> Expr:
        return binary("<=", self, other)

    def __gt__(self, other: Operand) -> Expr:
        return binary(">", self, other)

    def __ge__(self, other: Operand) -> Expr:
        return binary(">=", self, other)

    def __bool__(self) -> bool:
        raise IRError(
            "a symbolic expression has no truth value; use te.all, te.any or te.select, "
            "and te.equal for =="
        )

    def astype(self, dtype: str) -> Expr:
        """This value converted to `dtype` (the same object if it has that type)."""
        return cast(dtype, self)


Operand = Expr | int | float


def _intern(cls: type, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    full = (cls, *key)
    found = Expr._interned.get(full)
    if found is None:
        found = Expr._interned[full] = make()
    return found


class Var(Expr):
    """A loop variable or a let-bound value. Equal only to itself."""

    __slots__ = ("name",)

    def __init__(self, name: str, dtype: str = "int32") -> None:
        self.name = name
        self.dtype = dtype

    def __repr__(self) -> str:
        return self.name


class IntImm(Expr):
    """An integer (or bool) constant."""

    __slots__ = ("value",)
    value: int

    def __new__(cls, value: int, dtype: str = "int32") -> IntImm:
        def make() -> IntImm:
            low, high = dtype_range(dtype)
            if not low <= value <= high:
                raise IRError(f"the constant {value} does not fit {dtype}")
            self = object.__new__(cls)
            self.value, self.dtype = value, dtype
            return self

        return _intern(cls, (value, dtype), make)  # type: ignore[no-any-return]


class FloatImm(Expr):
    """A floating point constant; float32 constants are rounded to float32 when they are made."""

    __slots__ = ("value",)
    value: float

    def __new__(cls, value: float, dtype: str = "float32") -> FloatImm:
        value = round_to(dtype, value)

        def make() -> FloatImm:
            self = object.__new__(cls)
            self.value, self.dtype = value, dtype
            return self

        return _intern(cls, (struct.pack("<d", value), dtype), make)  # type: ignore[no-any-return]


class Param(Expr):
    """An integer constant that kernels of the same program may differ in (a zero point, a clamp).

    Its value is known to the simplifier's bounds but it is never folded: where all the kernels of
    one program agree, the C printer writes the value; where they differ, it becomes an argument.
    """

    __slots__ = ("name", "value")
    name: str
    value: int

    def __new__(cls, name: str, value: int, dtype: str = "int32") -> Param:
        def make() -> Param:
            self = object.__new__(cls)
            self.name, self.value, self.dtype = name, value, dtype
            return self

        return _intern(cls, (name, value, dtype), make)  # type: ignore[no-any-return]


class Cast(Expr):
    """A conversion. A float is truncated to an integer.

    An integer must fit a signed or a narrower type, which the interpreter checks; to an unsigned
    type of the same width or a larger one it wraps.
    """

    __slots__ = ("value",)
    value: Expr

    def __new__(cls, dtype: str, value: Expr) -> Cast:
        def make() -> Cast:
            self = object.__new__(cls)
            self.value, self.dtype = value, dtype
            return self

        return _intern(cls, (dtype, id(value)), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return (self.value,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return cast(self.dtype, children[0])


def check_operator(op: str, dtype: str) -> None:
    """Raise IRError unless the operator is defined for operands of the dtype."""
    if op in COMPARISON:
        return
    if op in LOGICAL:
        allowed = dtype == "bool"
    elif dtype == "bool":
        allowed = op in ("&", "|", "^")
    elif is_float(dtype):
        allowed = op in ("+", "-", "*", "/", "min", "max")
    else:
        allowed = op in ARITHMETIC and op != "/"
    if not allowed:
        raise IRError(f"the operator {op!r} is not defined for {dtype}")


class BinOp(Expr):
    """A two-operand operator of ARITHMETIC, COMPARISON or LOGICAL; both operands have one dtype."""

    __slots__ = ("a", "b", "op")
    op: str
    a: Expr
    b: Expr

    def __new__(cls, op: str, a: Expr, b: Expr) -> BinOp:
        def make() -> BinOp:
            if a.dtype != b.dtype:
                raise IRError(f"operands of {op!r} are {a.dtype} and {b.dtype}")
            check_operator(op, a.dtype)
            self = object.__new__(cls)
            self.op, self.a, self.b = op, a, b
            self.dtype = "bool" if op in COMPARISON or op in LOGICAL else a.dtype
            return self

        return _intern(cls, (op, id(a), id(b)), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return (self.a, self.b)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return binary(self.op, children[0], children[1])


class Not(Expr):
    """Logical negation of a bool."""

    __slots__ = ("value",)
    value: Expr

    def __new__(cls, value: Expr) -> Not:
        def make() -> Not:
            self = object.__new__(cls)
            self.value, self.dtype = value, "bool"
            return self

        return _intern(cls, (id(value),), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return (self.value,)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return Not(children[0])


class Select(Expr):
    """`on_true` where `cond` holds, else `on_false`. Only the chosen one is evaluated."""

    __slots__ = ("cond", "on_false", "on_true")
    cond: Expr
    on_true: Expr
    on_false: Expr

    def __new__(cls, cond: Expr, on_true: Expr, on_false: Expr) -> Select:
        def make() -> Select:
            if on_true.dtype != on_false.dtype:
                raise IRError(f"branches of select are {on_true.dtype} and {on_false.dtype}")
            self = object.__new__(cls)
            self.cond, self.on_true, self.on_false = cond, on_true, on_false
            self.dtype = on_true.dtype
            return self

        return _intern(cls, (id(cond), id(on_true), id(on_false)), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return (self.cond, self.on_true, self.on_false)

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        if isinstance(children[0], IntImm):
            return children[1] if children[0].value else children[2]
        return Select(*children)


class Call(Expr):
    """A pure intrinsic function of exact meaning; `tir/intrinsic.py` has the table."""

    __slots__ = ("args", "name")
    name: str
    args: tuple[Expr, ...]

    def __new__(cls, name: str, args: tuple[Expr, ...], dtype: str) -> Call:
        def make() -> Call:
            self = object.__new__(cls)
            self.name, self.args, self.dtype = name, args, dtype
            return self

        return _intern(cls, (name, dtype, *map(id, args)), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return self.args

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return Call(self.name, children, self.dtype)


class Read(Expr):
    """An element of `source`: a te.Tensor before lowering, a tir Buffer after."""

    __slots__ = ("indices", "source")
    source: Any
    indices: tuple[Expr, ...]

    def __new__(cls, source: Any, indices: tuple[Expr, ...]) -> Read:
        def make() -> Read:
            if len(indices) != len(source.shape):
                raise IRError(
                    f"{source.name} has {len(source.shape)} dimensions, "
                    f"read with {len(indices)} indices"
                )
            self = object.__new__(cls)
            self.source, self.indices, self.dtype = source, indices, source.dtype
            return self

        return _intern(cls, (id(source), *map(id, indices)), make)  # type: ignore[no-any-return]

    def children(self) -> tuple[Expr, ...]:
        return self.indices

    def rebuild(self, children: tuple[Expr, ...]) -> Expr:
        return Read(self.source, children)


def const(value: int | float, dtype: str) -> Expr:
    """A constant of any dtype."""
    if is_float(dtype):
        return FloatImm(float(value), dtype)
    return IntImm(int(value), dtype)


def as_expr(value: Operand, dtype: str = "int32") -> Expr:
    """An Expr from a Python number (of `dtype`) or from an Expr (as it is)."""
    if isinstance(value, Expr):
        return value
    axis_var = getattr(value, "var", None)
    if isinstance(axis_var, Expr):
        return axis_var
    return const(value, dtype)


def _fold(op: str, a: IntImm, b: IntImm) -> Expr | None:
    x, y = a.value, b.value
    if op in COMPARISON or op in LOGICAL:
        result = {
            "==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y,
            "and": bool(x and y), "or": bool(x or y),
        }[op]  # fmt: skip
        return IntImm(int(result), "bool")
    if op in ("//", "%", "tdiv", "tmod") and y == 0:
        return None
    if op in ("<<", ">>") and not 0 <= y < INT_BITS[a.dtype]:
        return None
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) if op in ("tdiv", "tmod") else 0
    value = {
        "+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y,
        "//": lambda: x // y, "%": lambda: x % y,
        "tdiv": lambda: quotient, "tmod": lambda: x - quotient * y,
        "min": lambda: min(x, y), "max": lambda: max(x, y),
        "<<": lambda: x << y, ">>": lambda: x >> y,
        "&": lambda: x & y, "|": lambda: x | y, "^": lambda: x ^ y,
    }[op]()  # fmt: skip
    low, high = dtype_range(a.dtype)
    if a.dtype.startswith("uint"):
        value &= high
    return IntImm(value, a.dtype) if low <= value <= high else None


def binary(op: str, a: Operand, b: Operand) -> Expr:
    """`a op b`, folding constants and neutral elements; a number takes the other side's dtype."""
    left = as_expr(a, b.dtype if isinstance(b, Expr) else "int32")
    right = as_expr(b, left.dtype)
    if left.dtype != right.dtype:
        raise IRError(f"operands of {op!r} are {left.dtype} and {right.dtype}; cast one of them")
    check_operator(op, left.dtype)
    if isinstance(left, IntImm) and isinstance(right, IntImm):
        folded = _fold(op, left, right)
        if folded is not None:
            return folded
    if is_float(left.dtype) and op not in COMPARISON:
        return BinOp(op, left, right)
    if isinstance(right, IntImm):
        y = right.value
        if y == 0 and op in ("+", "-", "<<", ">>", "|", "^"):
            return left
        if y == 1 and op in ("*", "//", "tdiv"):
            return left
        if y == 0 and op in ("*", "&"):
            return right
        if y == 1 and op in ("%", "tmod"):
            return IntImm(0, left.dtype)
        if op == "and":
            return left if y else right
        if op == "or":
            return right if y else left
    if isinstance(left, IntImm):
        x = left.value
        if x == 0 and op in ("+", "|", "^"):
            return right
        if x == 1 and op == "*":
            return right
        if x == 0 and op in ("*", "&", "//", "%", "tdiv", "tmod", "<<", ">>"):
            return left
        if op == "and":
            return right if x else left
        if op == "or":
            return left if x else right
    if left is right:
        if op in ("min", "max", "and", "or", "&", "|"):
            return left
        if op in ("-", "^"):
            return IntImm(0, left.dtype)
        if op in COMPARISON and not is_float(left.dtype):
            return IntImm(int(op in ("==", "<=", ">=")), "bool")
    return BinOp(op, left, right)


def cast(dtype: str, value: Operand) -> Expr:
    """`value` converted to `dtype`; constants are converted now where that is exact."""
    expr = as_expr(value, dtype)
    if expr.dtype == dtype:
        return expr
    if isinstance(expr, IntImm):
        if is_float(dtype):
            converted = FloatImm(float(expr.value), dtype)
            # Two roundings, through float64, could differ from the one of the conversion.
            return converted if int(converted.value) == expr.value else Cast(dtype, expr)
        low, high = dtype_range(dtype)
        if low <= expr.value <= high:
            return IntImm(expr.value, dtype)
    if isinstance(expr, FloatImm) and is_float(dtype):
        return FloatImm(expr.value, dtype)
    return Cast(dtype, expr)
