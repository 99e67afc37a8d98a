"""Graph to graph, before fusion: fold constants and constant channels, canonicalise, drop what is
unused.
"""

from microtvm.passes.base import Pass, run_passes
from microtvm.passes.canonical import canonicalise
from microtvm.passes.channel_fold import fold_channels
from microtvm.passes.dead import remove_dead
from microtvm.passes.fold import fold_constants
from microtvm.passes.settle import settle_channels

FOLD_CHANNELS = Pass("channels", fold_channels)
"""The one pass that can be left out: after it, a tensor may hold some channels of the model's."""

PASSES = (
    Pass("fold", fold_constants),
    Pass("dead", remove_dead),
    Pass("canonicalise", canonicalise),
    FOLD_CHANNELS,
    Pass("settle", settle_channels),
)
"""In the order in which they run."""

__all__ = [
    "FOLD_CHANNELS",
    "PASSES",
    "Pass",
    "canonicalise",
    "fold_channels",
    "fold_constants",
    "remove_dead",
    "run_passes",
    "settle_channels",
]
