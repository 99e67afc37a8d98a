"""Graph to graph, before fusion: fold constants, canonicalise, drop what is unused."""

from microtvm.passes.base import Pass, run_passes
from microtvm.passes.canonical import canonicalise
from microtvm.passes.dead import remove_dead
from microtvm.passes.fold import fold_constants

PASSES = (
    Pass("fold", fold_constants),
    Pass("dead", remove_dead),
    Pass("canonicalise", canonicalise),
)
"""In the order in which they run."""

__all__ = ["PASSES", "Pass", "canonicalise", "fold_constants", "remove_dead", "run_passes"]
