"""`tcp:HOST:PORT`: a socket to a serial server, or to an emulator that listens."""

from __future__ import annotations

import socket

from microtvm.device.transport.base import CONNECT_TIMEOUT_S, Transport
from microtvm.device.transport.stream import SocketTransport
from microtvm.errors import LinkError, UserError


def open_url(rest: str) -> Transport:
    """Connects; UserError for what is no address, LinkError if nobody listens there."""
    host, colon, port = rest.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise UserError(f"tcp:{rest} is no address", hint="write tcp:HOST:PORT")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S)
    except OSError as error:
        raise LinkError(f"can't connect to tcp:{rest}: {error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketTransport(connection, f"tcp:{rest}")
