"""What must hold of the registers of a lowered program."""

from __future__ import annotations

from microtvm.errors import ScheduleError
from microtvm.tir.expr import Read, Var
from microtvm.tir.stmt import For, IntrinsicCall, Program, Store, statement_expressions, walk
from microtvm.tir.traversal import post_order


def check_registers(program: Program) -> None:
    """Raise ScheduleError where an element of a register buffer is not known at compile time."""
    vectors = {s.var for s in walk(program.body) if isinstance(s, For) and s.kind == "vectorized"}
    for stmt in walk(program.body):
        places = (
            [(o.buffer, o.indices) for o in stmt.operands]
            if isinstance(stmt, IntrinsicCall)
            else []
        )
        if isinstance(stmt, Store):
            places.append((stmt.buffer, stmt.indices))
        for expr in statement_expressions(stmt):
            places += [(n.source, n.indices) for n in post_order(expr) if isinstance(n, Read)]
        for buffer, indices in places:
            if buffer.scope != "register":
                continue
            loops = {n for i in indices for n in post_order(i) if isinstance(n, Var)} - vectors
            if loops:
                names = ", ".join(sorted(v.name for v in loops))
                raise ScheduleError(
                    f"{program.name}: the register buffer {buffer.name} "
                    f"is indexed by the loop {names}",
                    hint="unroll or vectorize that loop: registers have no addresses",
                )
