"""From a model to a package of somebody else's ecosystem: a library, a component, an archive."""

from microtvm.export.archive import SUFFIXES, check_output, ways, write_package
from microtvm.export.details import Details
from microtvm.export.format import Format, list_formats, load_format
from microtvm.export.package import array_package, library_package

__all__ = [
    "SUFFIXES",
    "Details",
    "Format",
    "array_package",
    "check_output",
    "library_package",
    "list_formats",
    "load_format",
    "ways",
    "write_package",
]
