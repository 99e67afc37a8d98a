"""`pty:PATH`: a pseudo-terminal, such as an emulator offers."""

from __future__ import annotations

import os
import termios
import tty

from microtvm.device.transport.base import Transport, split_options
from microtvm.device.transport.descriptor import DescriptorTransport
from microtvm.errors import LinkError


def open_url(rest: str) -> Transport:
    """Opens the terminal and switches it to raw bytes; LinkError if it is none."""
    path, _ = split_options(f"pty:{rest}", rest, {})
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise LinkError(f"can't open pty:{path}: {error.strerror}") from error
    try:
        tty.setraw(descriptor)
    except termios.error as error:
        os.close(descriptor)
        raise LinkError(f"pty:{path} is not a terminal") from error
    return DescriptorTransport(descriptor, descriptor, f"pty:{path}")
