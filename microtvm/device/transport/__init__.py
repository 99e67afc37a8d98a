"""Byte streams to devices, found by URL: `serial:/dev/ttyACM0?baud=115200`, `tcp:host:port`,
`exec:program`.

A scheme is a module of this package that has `open_url`: nothing is registered anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil

from microtvm.device.transport.base import Transport, TransportClosed, TransportTimeout
from microtvm.errors import UserError

__all__ = ["Transport", "TransportClosed", "TransportTimeout", "open_transport", "schemes"]

_SHARED = frozenset({"base", "descriptor", "stream"})
"""Modules of this package that are no schemes."""


def schemes() -> list[str]:
    """All schemes, sorted."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED
    )


def open_transport(url: str) -> Transport:
    """The stream that `url` names; UserError for a bad URL, LinkError or ToolError if it can't be
    opened."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme not in schemes():
        raise UserError(
            f"{url!r} is not the URL of a device",
            hint="it starts with one of " + ", ".join(f"{name}:" for name in schemes()),
        )
    module = importlib.import_module(f"{__name__}.{scheme}")
    transport: Transport = module.open_url(rest)
    return transport
