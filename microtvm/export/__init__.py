"""From a model to a package of somebody else's ecosystem: a library, a component, an archive."""

from microtvm.export.archive import SUFFIXES, write_package
from microtvm.export.details import Details
from microtvm.export.format import Format, list_formats, load_format
from microtvm.export.package import array_package, library_package

__all__ = [
    "SUFFIXES",
    "Details",
    "Format",
    "array_package",
    "library_package",
    "list_formats",
    "load_format",
    "write_package",
]
