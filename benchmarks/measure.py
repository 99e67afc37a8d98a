"""What the benchmark measures of a model on a machine, and what it is compared with."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtvm.attach import require_emulator
from microtvm.inference import prefix_of, run_project
from microtvm.pipeline import compile_model
from microtvm.profile import Profile, Row, profile_of
from microtvm.project import build_project, create_project
from microtvm.target import load_board

HERE = Path(__file__).resolve().parent
MODELS = (
    "kws_int8",
    "vww_int8",
    "resnet8_int8",
    "ad01_int8",
    "strww_int8",
    "ad01_fp32",
    "resnet8_fp32",
)
CORTEX_M4 = "qemu-mps2-an386"
CORTEX_M55 = "qemu-mps3-an547"
HOST = "host"

# Cores without vectors: a Cortex-M3, code for a Cortex-M0 on the same machine, and RV32IMC.
SMALL_CORES = ("qemu-mps2-an385", "qemu-mps2-an385-m0", "qemu-riscv32")

MOST_CODE_BYTES = 24_576
MOST_TENSOR_BYTES = {
    "kws_int8": 16_000,
    "vww_int8": 55_296,
    "resnet8_int8": 49_152,
    "ad01_int8": 768,
    "strww_int8": 6_656,
    "ad01_fp32": 3_072,
    "resnet8_fp32": 196_608,
}
MOST_INSTRUCTIONS = {
    CORTEX_M4: {
        "kws_int8": 3_500_000,
        "vww_int8": 6_200_000,
        "resnet8_int8": 13_500_000,
        "ad01_int8": 390_000,
        "strww_int8": 1_000_000,
        "resnet8_fp32": 35_004_569,
    },
    CORTEX_M55: {
        "kws_int8": 750_000,
        "vww_int8": 1_500_000,
        "resnet8_int8": 2_200_000,
        "ad01_int8": 60_000,
        "strww_int8": 200_000,
        "resnet8_fp32": 18_752_448,
    },
    # Of cores without vectors: 2.6 a MAC on the Cortex-M3, 4 on RV32IMC, 6 of Armv6-M code.
    SMALL_CORES[0]: {"kws_int8": 6_907_596, "resnet8_int8": 32_504_243},
    SMALL_CORES[1]: {"kws_int8": 15_940_608},
    SMALL_CORES[2]: {"kws_int8": 10_627_072},
}
MOST_CYCLES = {
    CORTEX_M4: {
        "kws_int8": 4_100_000,
        "vww_int8": 7_200_000,
        "resnet8_int8": 16_000_000,
        "ad01_int8": 430_000,
        "strww_int8": 1_150_000,
    },
}
"""Estimated, as all cycles here."""


@dataclass(frozen=True)
class Peer:
    """What TensorFlow Lite Micro takes; None where nobody measured it."""

    instructions: int | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    """Arena, variables and stack."""


@dataclass(frozen=True)
class Measurement:
    """One model on one board."""

    model: str
    board: str
    compile_s: float
    """From the model file to C files."""
    macs: int
    instructions: int | None
    cycles: int | None
    """Estimated, without wait states and caches; None where the core has no table of timings."""
    cycles_note: str
    published_cycles: int | None
    """The best that anybody has published on a board with this core."""
    code_bytes: int
    constant_bytes: int
    weight_bytes: int
    tensor_bytes: int
    scratch_bytes: int
    static_bytes: int
    stack_bytes: int
    peer: Peer
    profile: Profile | None
    """None where the run was not counted exactly."""

    @property
    def instructions_a_mac(self) -> float | None:
        """None where nothing counted."""
        return None if self.instructions is None else self.instructions / self.macs

    @property
    def cycles_a_mac(self) -> float | None:
        """None where there is no estimate."""
        return None if self.cycles is None else self.cycles / self.macs

    @property
    def flash_bytes(self) -> int:
        """All of it."""
        return self.code_bytes + self.constant_bytes + self.weight_bytes

    @property
    def ram_bytes(self) -> int:
        """All of it."""
        return self.tensor_bytes + self.scratch_bytes + self.static_bytes + self.stack_bytes

    @property
    def rows(self) -> tuple[Row, ...]:
        """Operators, and what is outside them; they add up to the instructions."""
        return () if self.profile is None else (*self.profile.operators, self.profile.outside)

    def as_json(self) -> dict[str, Any]:
        """Fields and sums."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            **fields,
            "peer": dataclasses.asdict(self.peer),
            "profile": None if self.profile is None else self.profile.as_json(),
            "instructions_a_mac": self.instructions_a_mac,
            "cycles_a_mac": self.cycles_a_mac,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
        }

    @staticmethod
    def of_json(content: Mapping[str, Any]) -> Measurement:
        """What `as_json` wrote, without the profile."""
        names = {f.name for f in dataclasses.fields(Measurement)}
        fields = {name: value for name, value in content.items() if name in names}
        return Measurement(**{**fields, "peer": Peer(**content["peer"]), "profile": None})


def load_peers() -> dict[tuple[str, str], Peer]:
    """By model and board."""
    machines = json.loads((HERE / "tflm_baselines.json").read_text(encoding="utf-8"))["machines"]

    def total(row: dict[str, int], *keys: str) -> int | None:
        return sum(row[key] for key in keys) if all(key in row for key in keys) else None

    return {
        (model, f"qemu-{machine}"): Peer(
            instructions=row.get("instructions"),
            flash_bytes=total(row, "flash_code_bytes", "flash_model_bytes"),
            ram_bytes=total(row, "arena_bytes", "static_ram_bytes", "stack_bytes"),
        )
        for machine, rows in machines.items()
        for model, row in rows.items()
    }


def load_published() -> dict[tuple[str, str], int]:
    """Cycles on boards by model and board of ours."""
    boards = json.loads((HERE / "published.json").read_text(encoding="utf-8"))["boards"]
    return {
        (model, board): cycles
        for board, found in boards.items()
        for model, cycles in found["cycles"].items()
    }


def default_models() -> Path:
    """MICROTVM_MODELS, or the folder beside the checkout."""
    return Path(os.environ.get("MICROTVM_MODELS", HERE.parent.parent / "shared" / "models"))


def measure(file: Path, board_name: str) -> Measurement:
    """Compiles, builds, boots and runs a model; FitError where it does not fit."""
    board = load_board(board_name)
    require_emulator(board)
    with tempfile.TemporaryDirectory(prefix="microtvm-") as temporary:
        folder = Path(temporary)
        start_s = time.perf_counter()
        compiled = compile_model(file, board.cpu, prefix=prefix_of(file))
        compiled.library.write(folder / "library")
        compile_s = time.perf_counter() - start_s
        project = create_project(folder / "library", board, folder / "project")
        build_project(project)
        result = run_project(project)
        exact = result.counts is not None and result.counts.exact
        profile = profile_of(result, project) if exact else None
    flash, ram = result.footprint.flash, result.footprint.ram
    place = (file.stem, board_name)
    return Measurement(
        model=file.stem,
        board=board_name,
        compile_s=compile_s,
        macs=sum(operator["macs"] for operator in compiled.library.metadata["operators"]),
        instructions=None if result.counts is None else result.counts.instructions,
        cycles=result.cycles,
        cycles_note=result.cycles_note,
        published_cycles=load_published().get(place),
        code_bytes=flash.code,
        constant_bytes=flash.constants,
        weight_bytes=flash.weights,
        tensor_bytes=ram.arena - ram.scratch,
        scratch_bytes=ram.scratch,
        static_bytes=ram.static,
        stack_bytes=ram.stack,
        peer=load_peers().get(place, Peer()),
        profile=profile,
    )


@dataclass(frozen=True)
class Target:
    """A limit, and what was found."""

    name: str
    model: str
    board: str
    found: float
    limit: float
    strict: bool = False
    """The limit itself is too much."""

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.found < self.limit if self.strict else self.found <= self.limit


def targets(found: Iterable[Measurement]) -> list[Target]:
    """What is checked of each measurement."""
    result = []
    for m in found:
        place = (m.model, m.board)
        speed = MOST_INSTRUCTIONS.get(m.board, {}).get(m.model)
        if speed is not None and m.instructions is not None:
            result.append(Target("instructions", *place, m.instructions, speed))
        most = MOST_CYCLES.get(m.board, {}).get(m.model)
        if most is not None and m.cycles is not None:
            result.append(Target("cycles", *place, m.cycles, most))
        if m.board != HOST:
            code = m.code_bytes + m.constant_bytes
            result.append(Target("code + constants", *place, code, MOST_CODE_BYTES, strict=True))
        if m.model in MOST_TENSOR_BYTES:
            limit = MOST_TENSOR_BYTES[m.model]
            result.append(Target("tensors", *place, m.tensor_bytes, limit))
        if m.peer.flash_bytes is not None:
            result.append(Target("flash", *place, m.flash_bytes, m.peer.flash_bytes, strict=True))
        if m.peer.ram_bytes is not None:
            result.append(Target("RAM", *place, m.ram_bytes, m.peer.ram_bytes, strict=True))
    return result
