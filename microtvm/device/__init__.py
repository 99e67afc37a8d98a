"""The host's side of a device: byte streams, the protocol over them, sessions with a model."""

from microtvm.device.client import Timing
from microtvm.device.description import Description, Tensor, load_metadata
from microtvm.device.find import Port, find_port, list_ports
from microtvm.device.flash_plan import Image, Plan, plan_flash
from microtvm.device.flash_run import run_plan
from microtvm.device.launch import EmulatorTransport, open_emulator, open_process, open_session
from microtvm.device.pool import Pool
from microtvm.device.result import OperatorTime, Profile, Run
from microtvm.device.session import Session
from microtvm.device.transport import Transport, open_transport
from microtvm.device.volume import Volume, list_volumes

__all__ = [
    "Description",
    "EmulatorTransport",
    "Image",
    "OperatorTime",
    "Plan",
    "Pool",
    "Port",
    "Profile",
    "Run",
    "Session",
    "Tensor",
    "Timing",
    "Transport",
    "Volume",
    "find_port",
    "list_ports",
    "list_volumes",
    "load_metadata",
    "open_emulator",
    "open_process",
    "open_session",
    "open_transport",
    "plan_flash",
    "run_plan",
]
