"""microtvm: a tensor compiler for microcontrollers."""

from microtvm.version import VERSION as __version__

__all__ = ["__version__"]
