"""Loop programs as C99 functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from microtvm.codegen.c_copy import HELPERS, Run, run_of
from microtvm.codegen.c_expr import CText, ExprPrinter, Support, flat_index
from microtvm.codegen.c_lines import Lines
from microtvm.codegen.c_register import Registers, indexes_registers, unravel
from microtvm.codegen.c_short_int import ShortIntPrinter
from microtvm.codegen.c_type import (
    c_identifier,
    comment,
    storage_type,
    value_dtype,
    value_type,
    wrapped,
)
from microtvm.codegen.c_vector import VectorPlan, VectorPrinter, lane_base, vector_type
from microtvm.codegen.dialect import PLAIN, Dialect
from microtvm.errors import IRError
from microtvm.te.intrin import COperand
from microtvm.tir.expr import BinOp, Expr, IntImm, Param, Read
from microtvm.tir.intrinsic import Interval
from microtvm.tir.share import Branch, Local, Sharing
from microtvm.tir.simplify import Analyzer, Linear
from microtvm.tir.stmt import (
    Alloc,
    Buffer,
    For,
    If,
    IntrinsicCall,
    Let,
    Operand,
    Program,
    Seq,
    Stmt,
    Store,
    statement_expressions,
    walk,
)
from microtvm.tir.text import expr_text
from microtvm.tir.traversal import post_order
from microtvm.tir.unroll import unroll

COMPOUND = ("+", "-", "*", "/", "&", "|", "^")


@dataclass(frozen=True)
class Kernel:
    """A printed kernel.

    `text` is the function; `helpers` the names whose `helper_source` must stand before it, in
    order, and `intrinsics` the C that its register tiles need, in order; `headers` the standard
    headers beside stdint.h.
    """

    text: str
    helpers: tuple[str, ...]
    intrinsics: tuple[str, ...]
    headers: tuple[str, ...]


def kernel(
    program: Program,
    name: str,
    lifted: Collection[Param] = (),
    aliased: Collection[Buffer] = (),
    linkage: str = "static",
    dialect: Dialect = PLAIN,
) -> Kernel:
    """A program as a C99 function that returns nothing; `linkage` stands in front of it.

    Its parameters are pointers to the program's parameters and to its scratch, then the `lifted`
    parameters by value, in the order given. Pointers are `restrict` except to `aliased` buffers:
    those that may share memory. Loops marked unrolled are written out; vectorised ones become
    vectors where `c_vector` can and the dialect has them.

    Raises IRError for a register buffer whose indices do not become constants, and for a store to
    what is not writable.
    """
    head = f"{linkage} void {name}("
    return _KernelPrinter(program, tuple(lifted), dialect).kernel(head, frozenset(aliased))


class _KernelAnalyzer(Analyzer):
    """Bounds that hold for all callers of a kernel: of no constant data, no lifted parameter."""

    def __init__(self, lifted: frozenset[Param]) -> None:
        super().__init__()
        self.lifted = lifted

    def _compute_bounds(self, expr: Expr) -> Interval | None:
        if isinstance(expr, Read) or (isinstance(expr, Param) and expr in self.lifted):
            return None
        return super()._compute_bounds(expr)


class _KernelPrinter(Lines):
    """State of printing one function."""

    def __init__(self, program: Program, lifted: tuple[Param, ...], dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        plain = dialect == PLAIN
        self.program = program
        self.lifted = lifted
        body = unroll(program.body)
        plan = VectorPlan(body if plain else Seq(()))
        body = unroll(
            body,
            lambda loop: (
                loop.kind == "vectorized" and loop not in plan.loops and indexes_registers(loop)
            ),
        )
        self.body = body
        self.plan = VectorPlan(body if plain else Seq(()))
        self.support = Support()
        self.intrinsics: dict[str, None] = {}
        self.analyzer = _KernelAnalyzer(frozenset(lifted))
        printer = ShortIntPrinter if dialect.short_int else ExprPrinter
        self.printer = printer(self.analyzer.bounds, self, self.support, dialect)
        self.buffers: dict[Buffer, str] = {}
        self.used: set[Buffer] = set()
        self.writable = set(program.outputs) | set(program.scratch)
        self.aliased: frozenset[Buffer] = frozenset()
        self.registers: dict[Buffer, Registers] = {}

    # ---- the function ----

    def kernel(self, head: str, aliased: frozenset[Buffer]) -> Kernel:
        declared = []
        self.aliased = aliased
        for buffer in (*self.program.params, *self.program.scratch):
            self.buffers[buffer] = self.fresh(c_identifier(buffer.name))
        for param in self.lifted:
            self.printer.names[param] = self.fresh(c_identifier(param.name))
        self.open()
        self.statement(self.body, True)
        self.close()
        for buffer, text in self.buffers.items():
            const = "" if buffer in self.writable else "const "
            restrict = "" if buffer in aliased else "restrict "
            declared.append(f"{const}{storage_type(buffer.dtype)} *{restrict}{text}")
        declared += [f"{value_type(p.dtype)} {self.printer.names[p]}" for p in self.lifted]
        unused = [f"(void){text};" for b, text in self.buffers.items() if b not in self.used]
        used_params = {
            n for s in walk(self.body) for e in statement_expressions(s) for n in post_order(e)
        }
        unused += [f"(void){self.printer.names[p]};" for p in self.lifted if p not in used_params]
        body = [f"    {line}" for line in unused] + self.lines
        notes = comment(self.program.notes)
        signature = wrapped(head, declared or ["void"])
        text = "\n".join([*notes, *signature, "{", *body, "}", ""])
        return Kernel(
            text,
            tuple(self.support.helpers),
            tuple(self.intrinsics),
            tuple(self.support.headers),
        )

    # ---- elements ----

    def name(self, buffer: Buffer) -> str:
        found = self.buffers.get(buffer)
        if found is None:
            raise IRError(f"{self.program.name}: {buffer} is neither a parameter nor scratch")
        self.used.add(buffer)
        return found

    def register(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        name = self.local(buffer, indices)
        self.registers_of(buffer).read.add(name)
        return name

    def local(self, buffer: Buffer, indices: Sequence[Expr]) -> str:
        """The local that holds an element of a register buffer, which is not read here."""
        key = []
        for index in indices:
            if not isinstance(index, IntImm):
                raise IRError(
                    f"{self.program.name}: the register buffer {buffer.name} is indexed by "
                    f"{expr_text(index)}, "
                    "which is not a constant",
                    hint="unroll the loops that its indices use",
                )
            key.append(index.value)
        return self.registers_of(buffer).local(tuple(key))

    def vector_register(self, buffer: Buffer, indices: Sequence[Expr], loop: For) -> CText:
        base = lane_base(indices[-1], loop)
        assert base is not None
        return CText(self.register(buffer, (*indices[:-1], base)))

    def registers_of(self, buffer: Buffer) -> Registers:
        found = self.registers.get(buffer)
        if found is None:
            raise IRError(f"{self.program.name}: {buffer} is used outside of its allocation")
        return found

    # ---- statements ----

    def statement(self, stmt: Stmt, last: bool, loop: For | None = None) -> None:
        """Print a statement, the `last` of its block or not, in a vectorised `loop` if any."""
        if isinstance(stmt, Seq):
            for i, s in enumerate(stmt.body):
                self.statement(s, last and i + 1 == len(stmt.body), loop)
        elif isinstance(stmt, Store):
            self.store(stmt, loop)
        elif isinstance(stmt, For):
            if stmt in self.plan.loops:
                self.statement(stmt.body, last, stmt)
            else:
                self.loop(stmt, loop)
        elif isinstance(stmt, If):
            self.choice(stmt, last, loop)
        elif isinstance(stmt, IntrinsicCall):
            self.intrinsic(stmt)
        else:
            assert isinstance(stmt, Let | Alloc)
            if not last:
                self.open("{")
            self.let(stmt, loop) if isinstance(stmt, Let) else self.alloc(stmt, loop)
            if not last:
                self.close("}")

    def loop(self, stmt: For, vector: For | None) -> None:
        begin, extent = self.printer.settle(stmt.begin), self.printer.settle(stmt.extent)
        end = Linear.of(begin).plus(Linear.of(extent)).expr(stmt.var.dtype)
        known_begin, known_end = self.analyzer.bounds(begin), self.analyzer.bounds(end)
        assert known_begin is not None
        assert known_end is not None
        if known_end[1] <= known_begin[0]:
            return
        run = run_of(stmt, self.aliased) if vector is None else None
        if run is not None:
            self.run(run)
            return
        with self.sharing(self.printer, (begin, end)):
            ctype, first = self.printer.loop_head(stmt.var, begin, known_begin[0], known_end[1])
            limit = self.printer.text(end).text
        if not isinstance(end, IntImm):
            name = self.fresh(f"{c_identifier(stmt.var.name)}_end")
            self.emit(f"const {value_type(end.dtype)} {name} = {limit};")
            limit = name
        self.scopes.append(set())
        name = self.fresh(c_identifier(stmt.var.name))
        self.scopes.pop()
        self.open(f"for ({ctype} {name} = {first}; {name} < {limit}; ++{name}) {{")
        self.scopes[-1].add(name)
        self.printer.names[stmt.var] = name
        with self.analyzer.assume(stmt.var, known_begin[0], known_end[1] - 1):
            self.statement(stmt.body, True, vector)
        del self.printer.names[stmt.var]
        self.close("}")

    def run(self, run: Run) -> None:
        """A call that copies or fills bytes that follow each other."""
        if run.buffer not in self.writable:
            raise IRError(f"{self.program.name}: a store to {run.buffer}, which is not an output")
        settle = self.printer.settle
        to, size = settle(run.to), settle(run.size)
        other = settle(run.value if run.source is None else run.begin)
        with self.sharing(self.printer, (to, size, other)):
            pointer, text = self.pointer(run.buffer, to), self.printer.text(other).text
            name = "mtvm_fill" if run.source is None else "mtvm_copy"
            if run.source is not None:
                if self.dialect.flash_reads and run.source.scope == "const":
                    name = "MTVM_COPY_FLASH"
                text = self.pointer(run.source, other)
            if name in HELPERS:
                self.support.helpers[name] = self.support.headers["string.h"] = None
            self.emit(f"{name}({pointer}, {text}, {self.printer.text(size).text});")

    def pointer(self, buffer: Buffer, index: Expr) -> str:
        """The address of the element at a flat index."""
        text = self.printer.text(index).text
        return self.name(buffer) if text == "0" else f"&{self.name(buffer)}[{text}]"

    def store(self, stmt: Store, loop: For | None) -> None:
        buffer, value = stmt.buffer, self.printer.settle(stmt.value)
        if value.dtype != buffer.dtype:
            raise IRError(f"{self.program.name}: a value of {value.dtype} is stored to {buffer}")
        if buffer.scope != "register" and buffer not in self.writable:
            raise IRError(f"{self.program.name}: a store to {buffer}, which is not an output")
        place = Read(buffer, tuple(self.printer.settle(i) for i in stmt.indices))
        printer = self.printer
        if loop is not None:
            printer = VectorPrinter(printer, loop, self.plan.loops[loop], (place, value))
        operator = "="
        if (
            isinstance(value, BinOp)
            and value.op in COMPOUND
            and value.a is place
            and value_dtype(buffer.dtype) == buffer.dtype
        ):
            operator, value = f"{value.op}=", value.b
        with self.sharing(printer, (*printer.operands(place), value)):
            if isinstance(printer, VectorPrinter):
                right = self.vector_value(printer, value, operator)
            elif buffer.scope == "register":
                right = printer.text(value).text
            else:
                right = printer.stored(value)
            self.emit(f"{self.place(printer, place)} {operator} {right};")

    def vector_value(self, printer: VectorPrinter, value: Expr, operator: str) -> str:
        """The right side of a store of vectors; a compound operator takes a scalar as it is."""
        if operator != "=":
            return printer.lane(value).text

        def local(text: str) -> str:
            name = self.temporary()
            self.emit(f"const {storage_type(value.dtype)} {name} = {text};")
            return name

        return printer.whole(value, local)

    def place(self, printer: ExprPrinter, place: Read) -> str:
        """The left side of an assignment, with the declaration of a local that starts here."""
        buffer = place.source
        if buffer.scope != "register":
            if isinstance(printer, VectorPrinter):
                return printer.lvalue(place)
            index = printer.text(printer.operands(place)[0]).text
            return f"{self.name(buffer)}[{index}]"
        registers = self.registers_of(buffer)
        before = len(registers.locals)
        lvalue = (
            printer.lvalue(place)
            if isinstance(printer, VectorPrinter)
            else self.local(buffer, place.indices)
        )
        is_new = len(registers.locals) > before
        if is_new and registers.depth == len(self.scopes):
            registers.declared.add(lvalue)
            return f"{registers.ctype} {lvalue}"
        return lvalue

    def choice(self, stmt: If, last: bool, loop: For | None) -> None:
        cond = self.printer.settle(stmt.cond)
        if isinstance(cond, IntImm):
            taken = stmt.then if cond.value else stmt.otherwise
            self.statement(taken or Seq(()), last, loop)
            return
        with self.sharing(self.printer, (cond,)):
            text = self.printer.text(cond).text
        self.open(f"if ({text}) {{")
        self.statement(stmt.then, True, loop)
        if stmt.otherwise is not None:
            self.close()
            self.open("} else {")
            self.statement(stmt.otherwise, True, loop)
        self.close("}")

    def let(self, stmt: Let, loop: For | None) -> None:
        value = self.printer.settle(stmt.value)
        with self.sharing(self.printer, (value,)):
            text = self.printer.text(value).text
        name = self.fresh(c_identifier(stmt.var.name))
        self.emit(f"const {value_type(stmt.var.dtype)} {name} = {text};")
        self.printer.names[stmt.var] = name
        known = self.analyzer.bounds(value)
        if known is None:
            self.statement(stmt.body, True, loop)
        else:
            with self.analyzer.assume(stmt.var, *known):
                self.statement(stmt.body, True, loop)
        del self.printer.names[stmt.var]

    def alloc(self, stmt: Alloc, loop: For | None) -> None:
        buffer = stmt.buffer
        if buffer.scope == "arena" and buffer in self.program.scratch:
            self.statement(stmt.body, True, loop)
            return
        if buffer.scope != "register":
            raise IRError(
                f"{self.program.name}: {buffer} is allocated, but it is not scratch of the program"
            )
        lanes = self.plan.registers.get(buffer, 0)
        if lanes:
            ctype = vector_type(buffer.dtype, lanes)
            self.support.helpers[ctype] = None
        else:
            ctype = value_type(buffer.dtype)
        registers = Registers(buffer, ctype, len(self.scopes), self.fresh)
        outer = self.registers.get(buffer)
        self.registers[buffer] = registers
        position = len(self.lines)
        self.statement(stmt.body, True, loop)
        missing = [n for n in registers.locals.values() if n not in registers.declared]
        if missing:
            indent = "    " * (len(self.scopes) - 1)
            lines = wrapped(f"{indent}{ctype} ", missing, ";")
            self.lines[position:position] = lines
        for name in registers.locals.values():
            if name not in registers.read:
                # What it would decide is decided by its bounds: an output that is always clamped.
                self.emit(f"(void){name};")
        if outer is None:
            del self.registers[buffer]
        else:
            self.registers[buffer] = outer

    def intrinsic(self, stmt: IntrinsicCall) -> None:
        if self.dialect != PLAIN:
            # A tile's C is made for plain pointers and an int of 32 bits.
            self.statement(stmt.intrinsic.reference(stmt), True)
            return
        source = stmt.intrinsic.c_source(stmt)
        if source:
            self.intrinsics[source] = None
        guard = stmt.intrinsic.guard
        if guard:
            self.emit(f"#ifdef {guard}")
            self.open("{")
        self.intrinsic_call(stmt)
        if guard:
            self.close("}")
            self.emit("#else")
            self.statement(stmt.intrinsic.reference(stmt), True)
            self.emit("#endif")

    def intrinsic_call(self, stmt: IntrinsicCall) -> None:
        operands = []
        places = [_flat(o) for o in stmt.operands if o.buffer.scope != "register"]
        with self.sharing(self.printer, [*places, *stmt.scalars]):
            for operand, shape in zip(
                stmt.operands, stmt.intrinsic.operand_shapes(stmt), strict=True
            ):
                operands.append(self.operand(operand, shape))
            for scalar in stmt.scalars:
                operands.append(COperand(self.printer.text(scalar).text, (), ()))
            for line in stmt.intrinsic.c_call(stmt, operands).splitlines():
                self.emit(line)

    def operand(self, operand: Operand, shape: tuple[int, ...]) -> COperand:
        buffer = operand.buffer
        if buffer.scope != "register":
            return COperand(self.pointer(buffer, _flat(operand)), (), operand.strides)
        first = _flat(operand)
        if not isinstance(first, IntImm):
            # Raises, with the index that is not constant.
            self.register(buffer, operand.indices)
            raise IRError(f"{self.program.name}: {buffer.name} starts at {expr_text(first)}")
        places = [first.value]
        for extent, stride in zip(shape, operand.strides, strict=True):
            places = [p + i * stride for p in places for i in range(extent)]
        registers = self.registers_of(buffer)
        names = tuple(registers.local(unravel(p, buffer.shape)) for p in places)
        registers.read.update(names)
        return COperand("", names, operand.strides)

    # ---- shared sub-expressions ----

    @contextmanager
    def sharing(self, printer: ExprPrinter, roots: Sequence[Expr]) -> Iterator[None]:
        """Emit locals for what the roots share; they have their names within the `with`."""
        added: list[Expr] = []
        plan = Sharing(printer.operands, printer.is_simple).plan(roots)
        self.steps(printer, plan, added)
        yield
        for node in added:
            del printer.names[node]

    def steps(
        self, printer: ExprPrinter, steps: tuple[Local | Branch, ...], added: list[Expr]
    ) -> None:
        for step in steps:
            if isinstance(step, Local):
                ctype = printer.local_type(step.node)
                text = printer.local_value(step.node, step.node)
                name = self.temporary()
                self.emit(f"const {ctype} {name} = {text};")
            else:
                name = self.branch(printer, step)
            printer.names[step.node] = name
            added.append(step.node)

    def branch(self, printer: ExprPrinter, step: Branch) -> str:
        cond = printer.text(step.cond).text
        name = self.temporary()
        self.emit(f"{printer.local_type(step.node)} {name};")
        for head, block in ((f"if ({cond}) {{", step.then), ("} else {", step.otherwise)):
            inside: list[Expr] = []
            self.open(head)
            self.steps(printer, block.steps, inside)
            self.emit(f"{name} = {printer.local_value(step.node, block.value)};")
            self.close()
            for node in inside:
                del printer.names[node]
        self.emit("}")
        return name


def _flat(operand: Operand) -> Expr:
    return flat_index(operand.buffer, operand.indices)
