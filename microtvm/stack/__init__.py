"""A bound on an image's stack, from its instructions and its calls."""

from microtvm.stack.bound import Level, StackBound, stack_bound
from microtvm.stack.step import StackError

__all__ = ["Level", "StackBound", "StackError", "stack_bound"]
