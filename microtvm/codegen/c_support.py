"""The C that stands before kernels: helper functions and vector types, by name."""

from __future__ import annotations

from microtvm.codegen.c_copy import HELPERS
from microtvm.codegen.c_short_helper import short_int_helper
from microtvm.codegen.c_vector import vector_typedef
from microtvm.codegen.dialect import PLAIN, Dialect
from microtvm.tir.c_helper import C_HELPERS


def helper_source(name: str, dialect: Dialect = PLAIN) -> str:
    """The C text of a helper function or vector type."""
    other = short_int_helper(name) if dialect.short_int else None
    if other is not None:
        return other
    if name in C_HELPERS:
        return C_HELPERS[name][1]
    return HELPERS[name] if name in HELPERS else vector_typedef(name)
