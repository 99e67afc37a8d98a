"""Expressions as C99.

The text of an expression has the C type of its value dtype: narrow integers are held in an int, as
C promotes them, so conversions to and between them need no text as long as the value fits, which
the language demands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from microtvm.codegen.c_type import (
    WRAPPED,
    float_literal,
    integer_literal,
    storage_type,
    value_dtype,
    value_type,
)
from microtvm.codegen.dialect import PLAIN, Dialect
from microtvm.errors import IRError
from microtvm.tir.c_helper import C_HELPERS
from microtvm.tir.dtype import INT_BITS, dtype_range, is_float, is_int
from microtvm.tir.expr import (
    COMPARISON,
    LOGICAL,
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
from microtvm.tir.simplify import Linear
from microtvm.tir.stmt import Buffer, For
from microtvm.tir.traversal import transform

ATOM, UNARY, TIMES, PLUS, SHIFT, LESS, EQUAL, AND, XOR, OR, BOTH, EITHER, CHOICE = range(13, 0, -1)
"""Binding strengths of C's operators, strongest first."""

_BINDING = {
    "*": TIMES, "/": TIMES, "+": PLUS, "-": PLUS, "<<": SHIFT, ">>": SHIFT,
    "<": LESS, "<=": LESS, ">": LESS, ">=": LESS, "==": EQUAL, "!=": EQUAL,
    "&": AND, "^": XOR, "|": OR, "and": BOTH, "or": EITHER,
}  # fmt: skip

Bounds = Callable[[Expr], Interval | None]


@dataclass(frozen=True)
class CText:
    """Text of an expression and how strongly its outermost operator binds."""

    text: str
    binding: int = ATOM

    def within(self, least: int) -> str:
        """The text as an operand of an operator that needs `least`."""
        return self.text if self.binding >= least else f"({self.text})"


@dataclass
class Support:
    """What the printed text needs around it; names in order of first use."""

    helpers: dict[str, None] = field(default_factory=dict)
    """Helper functions and vector types."""
    headers: dict[str, None] = field(default_factory=dict)

    def function(self, name: str) -> str:
        """Note the use of a C function of this name."""
        if name in C_HELPERS:
            for needed in C_HELPERS[name][0]:
                self.function(needed)
            self.helpers[name] = None
        else:
            self.headers["math.h"] = None
        return name


class Elements(Protocol):
    """How a kernel spells the elements of its buffers."""

    def name(self, buffer: Buffer) -> str:
        """The pointer to a buffer in memory."""

    def register(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        """The local that holds an element of a register buffer."""

    def vector_register(self, buffer: Buffer, indices: Sequence[Expr], loop: For) -> CText:
        """The local that holds a register buffer's elements in all lanes of a vectorised loop."""


def flat_index(buffer: Buffer, indices: Sequence[Expr]) -> Expr:
    """The index into the buffer as a row-major array, as a sum of products."""
    total = Linear(0, {})
    step = buffer.elements
    for index, extent in zip(indices, buffer.shape, strict=True):
        step = step // extent if extent else 0
        total = total.plus(Linear.of(index), step)
    return total.expr()


class ExprPrinter:
    """Prints expressions of one kernel. `names` has the C names of variables, lifted parameters and
    locals.

    `bounds` gives what is known of an integer's values.
    """

    def __init__(
        self, bounds: Bounds, elements: Elements, support: Support, dialect: Dialect = PLAIN
    ) -> None:
        self.dialect = dialect
        self.bounds = bounds
        self.elements = elements
        self.support = support
        self.names: dict[Expr, str] = {}

    def settle(self, expr: Expr) -> Expr:
        """The expression without the comparisons that the bounds decide, and what follows from
        that.

        Compilers warn of comparisons that types decide, and of a division by zero where it is never
        done.
        """

        def decide(node: Expr) -> Expr | None:
            if isinstance(node, Not) and isinstance(node.value, IntImm):
                return IntImm(1 - node.value.value, "bool")
            if isinstance(node, Select):
                if node.on_true is node.on_false:
                    return node.on_true
                if isinstance(node.cond, IntImm):
                    return node.on_true if node.cond.value else node.on_false
            if not isinstance(node, BinOp):
                return None
            extreme = node.op in ("min", "max")
            if not extreme and node.op not in COMPARISON:
                return None
            op = {"min": ">", "max": "<"}.get(node.op, node.op)
            verdict = _verdict(op, self.bounds(node.a), self.bounds(node.b))
            if verdict is None:
                return None
            return (node.b if verdict else node.a) if extreme else IntImm(int(verdict), "bool")

        return transform(expr, decide, {})

    def operands(self, node: Expr) -> tuple[Expr, ...]:
        """The expressions that stand in a node's text, as often as they stand there."""
        if isinstance(node, Read):
            if node.source.scope == "register":
                return ()
            return (flat_index(node.source, node.indices),)
        children = node.children()
        if isinstance(node, BinOp) and node.op in ("min", "max"):
            return children * 2
        return children

    def is_simple(self, node: Expr) -> bool:
        """Whether a node's text is as short as a name."""
        while isinstance(node, Cast) and self.is_silent(node):
            node = node.value
        if isinstance(node, Read):
            return bool(node.source.scope == "register")
        return isinstance(node, Var | IntImm | FloatImm | Param)

    def local_type(self, node: Expr) -> str:
        """The C type of a local that holds the node's value."""
        return value_type(node.dtype)

    def local_value(self, node: Expr, value: Expr) -> str:
        """The expression that becomes the value of the local for `node`, after `local_type`."""
        return self.text(value).text

    def loop_head(self, var: Expr, begin: Expr, low: int, high: int) -> tuple[str, str]:
        """C type and first value of a loop's variable, which is within `low` and `high`."""
        return value_type(var.dtype), self.text(begin).text

    def text(self, node: Expr) -> CText:
        """The expression with the C type of its value dtype."""
        name = self.names.get(node)
        if name is not None:
            return CText(name)
        if isinstance(node, IntImm | Param):
            literal = integer_literal(node.value, value_dtype(node.dtype))
            return CText(literal, UNARY if literal[0] == "-" else ATOM)
        if isinstance(node, FloatImm):
            literal = float_literal(node.value, node.dtype)
            if "N" in literal:
                self.support.headers["math.h"] = None
            return CText(literal, UNARY if literal[0] == "-" else ATOM)
        if isinstance(node, Read):
            return self._read(node)
        if isinstance(node, Cast):
            return self._cast(node)
        if isinstance(node, Not):
            # Said to bind weaker than it does: compilers suspect `!a == b`.
            return CText("!" + self.text(node.value).within(UNARY), SHIFT)
        if isinstance(node, Select):
            cond, yes, no = (self.text(child).within(CHOICE + 1) for child in node.children())
            return CText(f"{cond} ? {yes} : {no}", CHOICE)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, BinOp):
            return self._binary(node)
        raise IRError(f"{node!r} is used outside of the loop or let that defines it")

    def stored(self, node: Expr) -> str:
        """The expression as the right side of an assignment to an element of its dtype."""
        result = self.text(node)
        inner = node
        while isinstance(inner, Cast) and self.is_silent(inner):
            inner = inner.value
        if value_dtype(node.dtype) == node.dtype or (
            inner not in self.names and _fits(inner, node)
        ):
            return result.text
        return f"({storage_type(node.dtype)}){result.within(UNARY)}"

    def is_silent(self, node: Cast) -> bool:
        """Whether a conversion needs no text."""
        to, source = node.dtype, node.value.dtype
        if to == "bool" or value_dtype(to) != value_dtype(source):
            return False
        return not (to in WRAPPED and self._may_wrap(self.bounds(node.value), to))

    def _read(self, node: Read) -> CText:
        if node.source.scope == "register":
            return CText(self.elements.register(node.source, node.indices))
        index = self.text(self.operands(node)[0]).text
        element = f"{self.elements.name(node.source)}[{index}]"
        if self.dialect.flash_reads and node.source.scope == "const":
            dtype = storage_type(node.dtype).removesuffix("_t").upper()
            element = f"MTVM_READ_{dtype}(&{element})"
        return CText(f"{element} != 0", EQUAL) if node.dtype == "bool" else CText(element)

    def _may_wrap(self, known: Interval | None, dtype: str) -> bool:
        low, high = dtype_range(dtype)
        return known is None or known[0] < low or known[1] > high

    def _convert(self, ctype: str, value: CText) -> CText:
        return CText(f"({ctype}){value.within(UNARY)}", UNARY)

    def _cast(self, node: Cast) -> CText:
        value = self.text(node.value)
        if node.dtype == "bool":
            if node.value.dtype == "bool":
                return value
            zero = self.text(_zero(node.value.dtype)).text
            return CText(f"{value.within(EQUAL + 1)} != {zero}", EQUAL)
        if self.is_silent(node):
            return value
        if self.wraps(node):
            return self._convert(storage_type(node.dtype), value)
        if value_dtype(node.dtype) == value_dtype(node.value.dtype):
            return value
        return self._convert(value_type(node.dtype), value)

    def wraps(self, node: Cast) -> bool:
        """Whether a conversion that is not silent keeps the lower bits of what may not fit."""
        source = node.value.dtype
        if node.dtype not in WRAPPED or is_float(source):
            return False
        return not (is_int(source) and INT_BITS[node.dtype] < INT_BITS[source])

    def _call(self, node: Call) -> CText:
        function = scalar_function(node.name)
        ranges = tuple(self.bounds(arg) for arg in node.args)
        name = self.support.function(function.c_name(node.args[0].dtype, ranges))
        wanted = function.c_args or tuple(arg.dtype for arg in node.args)
        arguments = []
        for arg, dtype in zip(node.args, wanted, strict=True):
            value = self.text(arg)
            if value_dtype(arg.dtype) != value_dtype(dtype):
                value = self._convert(value_type(dtype), value)
            arguments.append(value.text)
        return CText(f"{name}({', '.join(arguments)})")

    # ---- operators ----

    def _first(self, node: BinOp, operand: Expr) -> CText:
        """The operand of an operator whose type C computes the result in."""
        return self.text(operand)

    def _binary(self, node: BinOp) -> CText:
        op = node.op
        if op in ("min", "max"):
            return self._extreme(node)
        if op in ("//", "%", "tdiv", "tmod"):
            return self._division(node)
        if op == "<<" and not node.dtype.startswith("uint"):
            return self._shift_left(node)
        if op == "-" and isinstance(node.a, IntImm) and node.a.value == 0 and node.dtype[0] == "i":
            return CText("-" + self._first(node, node.b).within(ATOM), UNARY)
        if op in ("+", "-", "*", "<<") and node.dtype in WRAPPED:
            return self._wrapped(node)
        negative = self._negative(node.b) if op in ("+", "-") else None
        if negative is not None:
            # a - 5 for a + -5
            magnitude = self.text(IntImm(-negative, node.dtype))
            return self._infix("-" if op == "+" else "+", self._first(node, node.a), magnitude)
        return self._infix(op, self._first(node, node.a), self.text(node.b))

    def _negative(self, node: Expr) -> int | None:
        """The value of a constant that is printed with a minus sign, if its negation exists."""
        if not isinstance(node, IntImm | Param) or node in self.names:
            return None
        return node.value if dtype_range(node.dtype)[0] < node.value < 0 else None

    def _infix(self, op: str, a: CText, b: CText) -> CText:
        binding = _BINDING[op]
        symbol = {"and": "&&", "or": "||"}.get(op, op)
        if op in ("+", "-", "*", "/"):
            return CText(f"{a.within(binding)} {symbol} {b.within(binding + 1)}", binding)
        if op in ("and", "or"):
            # GCC asks for parentheses around && within ||.
            left = a.text if a.binding == binding else a.within(EQUAL)
            return CText(f"{left} {symbol} {b.within(EQUAL)}", binding)
        # Parentheses that C does not need but readers (and -Wparentheses) do.
        least = PLUS if op in ("<", "<=", ">", ">=", "==", "!=") else UNARY
        return CText(f"{a.within(least)} {symbol} {b.within(least)}", binding)

    def _extreme(self, node: BinOp) -> CText:
        # As the interpreter: the first operand where neither is smaller, or one is not a number.
        a, b = self.text(node.a), self.text(node.b)
        cond = self._infix(">" if node.op == "min" else "<", a, b).text
        return CText(f"{cond} ? {b.within(CHOICE + 1)} : {a.within(CHOICE + 1)}", CHOICE)

    def _division(self, node: BinOp) -> CText:
        a, b = self._first(node, node.a), self.text(node.b)
        quotient = node.op in ("//", "tdiv")
        if self.is_plain_division(node):
            symbol = "/" if quotient else "%"
            return CText(f"{a.within(TIMES)} {symbol} {b.within(UNARY)}", TIMES)
        if self.is_shift(node):
            assert isinstance(node.b, IntImm)
            if quotient:
                return CText(f"{a.within(UNARY)} >> {node.b.value.bit_length() - 1}", SHIFT)
            mask = integer_literal(node.b.value - 1, value_dtype(node.dtype))
            return CText(f"{a.within(UNARY)} & {mask}", AND)
        wide = "64" if node.dtype == "int64" else ""
        name = self.support.function(f"mtvm_floor_{'div' if quotient else 'mod'}{wide}")
        return CText(f"{name}({a.text}, {b.text})")

    def is_plain_division(self, node: BinOp) -> bool:
        """Whether a division or its rest is C's own."""
        known_a, known_b = self.bounds(node.a), self.bounds(node.b)
        return (
            node.op in ("tdiv", "tmod")
            or node.dtype.startswith("uint")
            or (known_a is not None and known_b is not None and known_a[0] >= 0 and known_b[0] >= 0)
        )

    def is_shift(self, node: BinOp) -> bool:
        """Whether a division or its rest is by a power of two, and done with the bits."""
        by = node.b.value if isinstance(node.b, IntImm) else 0
        return by > 0 and not by & (by - 1) and not self.is_plain_division(node)

    def _shift_left(self, node: BinOp) -> CText:
        # A product, or a shift of the bits as unsigned: shifting a negative value is undefined.
        a = self._first(node, node.a)
        dtype = value_dtype(node.dtype)
        if isinstance(node.b, IntImm) and node.b.value < INT_BITS[dtype] - 1:
            factor = integer_literal(1 << node.b.value, dtype)
            return CText(f"{a.within(TIMES)} * {factor}", TIMES)
        bits = self._convert(f"u{value_type(dtype)}", a)
        shifted = CText(f"{bits.text} << {self.text(node.b).within(UNARY)}", SHIFT)
        return self._convert(value_type(dtype), shifted)

    def _wrapped(self, node: BinOp) -> CText:
        a, b = self._first(node, node.a), self.text(node.b)
        known = exact(node.op, self.bounds(node.a), self.bounds(node.b))
        if not self._may_wrap(known, node.dtype):
            return self._infix(node.op, a, b)
        if node.op in ("*", "<<"):
            # As unsigned: promoted to int, the product of two uint16 can overflow.
            a = self._convert("uint32_t", a)
        if node.op == "*":
            b = self._convert("uint32_t", b)
        return self._convert(storage_type(node.dtype), self._infix(node.op, a, b))


def _fits(value: Expr, stored: Expr) -> bool:
    """Whether C sees that a value, as it is written, fits the narrow dtype of what is stored."""
    if isinstance(value, Read):
        return value.dtype == stored.dtype and value.source.scope != "register"
    if stored.dtype == "bool" and isinstance(value, BinOp):
        return value.op in COMPARISON or value.op in LOGICAL
    return isinstance(value, IntImm | Param | Not)


def _zero(dtype: str) -> Expr:
    return FloatImm(0.0, dtype) if is_float(dtype) else IntImm(0, dtype)


def exact(op: str, a: Interval | None, b: Interval | None) -> Interval | None:
    """The results of +, -, * or << on what is within `a` and `b`; None where nothing is known."""
    if a is None or b is None:
        return None
    if op == "+":
        return a[0] + b[0], a[1] + b[1]
    if op == "-":
        return a[0] - b[1], a[1] - b[0]
    if op == "*":
        products = [x * y for x in a for y in b]
        return min(products), max(products)
    return (a[0] << b[0], a[1] << b[1]) if b[0] >= 0 and b[1] < 32 else None


def _verdict(op: str, a: Interval | None, b: Interval | None) -> bool | None:
    """What the ranges say of `a op b`; None if nothing."""
    if a is None or b is None:
        return None
    if op in (">", ">="):
        return _verdict("<" if op == ">" else "<=", b, a)
    if op in ("==", "!="):
        if a[1] < b[0] or b[1] < a[0]:
            return op == "!="
        return (op == "==") if a[0] == a[1] == b[0] == b[1] else None
    always = a[1] < b[0] if op == "<" else a[1] <= b[0]
    never = a[0] >= b[1] if op == "<" else a[0] > b[1]
    return True if always else (False if never else None)
