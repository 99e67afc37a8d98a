"""The host's side of a device: byte streams, the protocol over them, sessions with a model."""

from microtvm.device.client import Timing
from microtvm.device.description import Description, Tensor, load_metadata
from microtvm.device.launch import EmulatorTransport, open_emulator, open_process, open_session
from microtvm.device.pool import Pool
from microtvm.device.session import OperatorTime, Profile, Run, Session
from microtvm.device.transport import open_transport

__all__ = [
    "Description",
    "EmulatorTransport",
    "OperatorTime",
    "Pool",
    "Profile",
    "Run",
    "Session",
    "Tensor",
    "Timing",
    "load_metadata",
    "open_emulator",
    "open_process",
    "open_session",
    "open_transport",
]
