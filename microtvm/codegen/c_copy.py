"""Loops that copy or fill bytes which follow each other: one call instead of a loop nest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from microtvm.codegen.c_expr import flat_index
from microtvm.codegen.c_vector import depends, element_bytes
from microtvm.tir.expr import Expr, IntImm, Read, binary
from microtvm.tir.simplify import Linear
from microtvm.tir.stmt import Buffer, For, Store

SHORTEST = 4
"""Bytes below which a call costs more than it saves."""


@dataclass(frozen=True)
class Run:
    """`count` elements from index `to` of `buffer` on: those of `source` at `begin`, or `value`."""

    buffer: Buffer
    to: Expr
    count: Expr
    source: Buffer | None
    begin: Expr
    value: Expr

    @property
    def size(self) -> Expr:
        """In bytes; 0 where the loop runs no iteration."""
        size = binary("*", self.count, IntImm(element_bytes(self.buffer.dtype)))
        return binary("max", size, IntImm(0))


def run_of(loop: For, aliased: Collection[Buffer]) -> Run | None:
    """The run that a loop nest copies or fills as a whole; None for any other loop.

    Buffers that are `aliased` may share memory with each other, so that the order of their
    accesses counts.
    """
    loops: list[For] = []
    inner = loop
    while isinstance(inner, For) and inner.kind == "serial":
        loops.append(inner)
        if not isinstance(inner.body, For):
            break
        inner = inner.body
    store = loops[-1].body if loops else None
    if not isinstance(store, Store) or store.buffer.scope == "register":
        return None
    value, source, begin = store.value, None, None
    if isinstance(value, Read):
        source, begin = value.source, flat_index(value.source, value.indices)
        if (
            source is store.buffer
            or source.scope == "register"
            or source.dtype != store.buffer.dtype
        ):
            return None
        if source in aliased and store.buffer in aliased:
            return None
    elif element_bytes(store.buffer.dtype) != 1 or store.buffer.dtype == "bool":
        return None
    to: Expr | None = flat_index(store.buffer, store.indices)
    count: Expr = IntImm(1)
    for one in reversed(loops):
        if depends(one.extent, one.var) or any(
            depends(e, outer.var) for outer in loops for e in (one.begin, one.extent)
        ):
            return None
        assert to is not None
        to = _begin(to, one, count)
        if to is None:
            return None
        if source is None:
            if depends(value, one.var):
                return None
        else:
            assert begin is not None
            begin = _begin(begin, one, count)
            if begin is None:
                return None
        count = binary("*", count, one.extent)
    assert to is not None
    run = Run(store.buffer, to, count, source, IntImm(0) if begin is None else begin, value)
    short = isinstance(run.size, IntImm) and run.size.value < SHORTEST
    return None if short else run


def _begin(index: Expr, loop: For, count: Expr) -> Expr | None:
    """The index in the first iteration if each one's is `count` elements further; else None."""
    linear = Linear.of(index)
    step = linear.terms.pop(loop.var, 0)
    if not isinstance(count, IntImm) or step != count.value:
        return None
    if any(depends(atom, loop.var) for atom in linear.terms):
        return None
    return linear.plus(Linear.of(loop.begin), step).expr()


HELPERS = {
    "mtvm_copy": """\
/* n bytes from one place to another. */
static inline void mtvm_copy(void *to, const void *from, int32_t n)
{
#ifdef MTVM_HELIUM
    if (__builtin_constant_p(n) && n <= 8) {
        memcpy(to, from, (size_t)n);
        return;
    }
    __asm__ volatile(
        "wlstp.8 lr, %2, 2f\\n\\t"
        "1: vldrb.8 q0, [%1], #16\\n\\t"
        "vstrb.8 q0, [%0], #16\\n\\t"
        "letp lr, 1b\\n\\t"
        "2:"
        : "+r"(to), "+r"(from) : "r"(n) : "lr", "q0", "memory");
#else
    memcpy(to, from, (size_t)n);
#endif
}
""",
    "mtvm_fill": """\
/* n bytes of one value. */
static inline void mtvm_fill(void *to, int32_t value, int32_t n)
{
#ifdef MTVM_HELIUM
    __asm__ volatile(
        "vdup.8 q0, %1\\n\\t"
        "wlstp.8 lr, %2, 2f\\n\\t"
        "1: vstrb.8 q0, [%0], #16\\n\\t"
        "letp lr, 1b\\n\\t"
        "2:"
        : "+r"(to) : "r"(value), "r"(n) : "lr", "q0", "memory");
#else
    memset(to, value, (size_t)n);
#endif
}
""",
}
"""The C text of the calls."""
