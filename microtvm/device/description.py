"""What a host knows of a model on a device: from `metadata.json`, or from the device alone."""

from __future__ import annotations

import difflib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtvm.device.client import Client
from microtvm.device.status import Status
from microtvm.device.wire import (
    DTYPES,
    HASH_BYTES,
    Answer,
    Hello,
    Kind,
    Reader,
    Request,
    describe,
    number,
    parse_tensor,
)
from microtvm.errors import DeviceError, LinkError, UserError

METADATA_FORMAT = 1

LARGEST_DESCRIPTION_BYTES = 1 << 20
"""All answers together by which a device describes its model: some 10,000 tensors or operators."""

QUESTIONS_AT_ONCE = 64
"""Requests of one exchange: enough to keep the line busy, and few enough to hold any answers."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that exists in the device's arena at some time."""

    index: int
    """Its row in the device's table."""
    name: str
    source: str
    """Its name in the model file; the same as `name` where that is unknown."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """Little-endian."""
    scale: float
    """real = scale * (q - zero_point); 0 where it is not quantised, or by more than one scale."""
    zero_point: int
    live_from: int
    """It holds its value after k operators have run if live_from <= k <= live_to."""
    live_to: int
    channels: tuple[int, ...] | None = None
    """Which channels of the model's tensor it holds, where some are left out; None: all, or not
    known."""

    @property
    def size_bytes(self) -> int:
        """Size in the arena."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Description:
    """A model as a host sees it."""

    name: str
    model_hash: bytes
    """16 bytes."""
    tensors: tuple[Tensor, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[str, ...]
    fused: Mapping[str, str] = field(default_factory=dict)
    """Values that exist in the model but never in memory, and the operator that absorbed each."""

    def tensor(self, name: str) -> Tensor:
        """The tensor of this name, or of this name in the model file; UserError with the near
        ones."""
        found = find(self.tensors, name)
        if found:
            return found
        if name in self.fused:
            raise UserError(
                f"{name!r} of model {self.name} never exists in memory: "
                f"it was fused into operator {self.fused[name]}",
                hint="read that operator's output instead",
            )
        names = [*(tensor.name for tensor in self.tensors), *self.fused]
        raise UserError(f"model {self.name} has no tensor {name!r}", hint=near(name, names))

    def operator(self, operator: str | int) -> int:
        """The index of an operator given by name or index; UserError with the near ones."""
        if isinstance(operator, int):
            if not 0 <= operator < len(self.operators):
                raise UserError(
                    f"model {self.name} has no operator {operator}: "
                    f"it has {len(self.operators)}, counted from 0"
                )
            return operator
        if operator not in self.operators:
            raise UserError(
                f"model {self.name} has no operator {operator!r}",
                hint=near(operator, self.operators),
            )
        return self.operators.index(operator)


def find(tensors: Iterable[Tensor], name: str) -> Tensor | None:
    """The tensor of this name, else the one of this name in the model file."""
    tensors = tuple(tensors)
    for attribute in ("name", "source"):
        for tensor in tensors:
            if getattr(tensor, attribute) == name:
                return tensor
    return None


def content_of(tensor: Tensor, value: npt.ArrayLike) -> bytes:
    """The bytes of an input; UserError where shape or type is another."""
    array = np.asarray(value)
    if array.dtype.newbyteorder("<") != tensor.dtype:
        hint = ""
        if tensor.scale and array.dtype.kind == "f":
            hint = f"quantise it: round(x / {tensor.scale:g}) + {tensor.zero_point}, then saturate"
        raise UserError(
            f"input {tensor.name} is of type {tensor.dtype.name}, the array is {array.dtype.name}",
            hint=hint,
        )
    if array.shape != tensor.shape:
        raise UserError(
            f"input {tensor.name} has shape {list(tensor.shape)}, the array {list(array.shape)}"
        )
    return np.ascontiguousarray(array, tensor.dtype).tobytes()


def near(name: str, names: Iterable[str]) -> str:
    """A hint: the names that look like `name`, or all of a few."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    if len(known) <= 8:
        return "there is " + (", ".join(known) or "none")
    return ""


def load_metadata(metadata: Path | Mapping[str, Any]) -> Description:
    """The description in a `metadata.json` (path, or its content); UserError names file and key of
    a fault."""
    where = "the metadata"
    if not isinstance(metadata, Mapping):
        where = str(metadata)
        try:
            metadata = json.loads(metadata.read_text("utf-8"))
        except OSError as error:
            raise UserError(f"can't read {where}: {error.strerror}") from error
        except ValueError as error:
            raise UserError(f"{where} is not JSON: {error}") from error
        if not isinstance(metadata, dict):
            raise UserError(f"{where} is not a JSON object")
    if metadata.get("format") != METADATA_FORMAT:
        raise UserError(
            f"{where} has format {metadata.get('format')!r}; this version reads {METADATA_FORMAT}",
            hint="compile the model again",
        )
    try:
        return _from_metadata(metadata)
    except KeyError as error:
        raise UserError(f"{where} lacks the key {error.args[0]!r}") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise UserError(f"{where} is damaged: {error}", hint="compile the model again") from error


def _from_metadata(metadata: Mapping[str, Any]) -> Description:
    tensors = tuple(_tensor(index, row) for index, row in enumerate(metadata["tensors"]))
    model_hash = bytes.fromhex(metadata["hash"])
    if len(model_hash) != HASH_BYTES:
        raise ValueError(f"hash has {len(model_hash)} bytes, not {HASH_BYTES}")
    return Description(
        name=str(metadata["name"]),
        model_hash=model_hash,
        tensors=tensors,
        inputs=tuple(tensors[index] for index in metadata["inputs"]),
        outputs=tuple(tensors[index] for index in metadata["outputs"]),
        operators=tuple(str(row["name"]) for row in metadata["operators"]),
        fused={str(key): str(value) for key, value in metadata.get("fused", {}).items()},
    )


def _tensor(index: int, row: Mapping[str, Any]) -> Tensor:
    dtype = np.dtype(row["dtype"]).newbyteorder("<")
    if dtype not in DTYPES.values():
        raise ValueError(f"tensor {row['name']} has the type {row['dtype']}")
    scale = row.get("scale")
    zero_point = row.get("zero_point")
    return Tensor(
        index=index,
        name=str(row["name"]),
        source=str(row.get("source") or row["name"]),
        shape=tuple(int(extent) for extent in row["shape"]),
        dtype=dtype,
        scale=float(scale) if isinstance(scale, int | float) else 0.0,
        zero_point=zero_point if isinstance(zero_point, int) else 0,
        live_from=int(row["live_from"]),
        live_to=int(row["live_to"]),
        channels=tuple(int(c) for c in row.get("channels") or ()) or None,
    )


class _Questions:
    """What a device is asked of itself: few things at once, and no more than it may answer."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._bytes = 0

    def ask(self, kind: Kind, count: int, prefix: bytes = b"") -> Iterator[Answer]:
        """The answers about 0 to `count` - 1; who takes them may refuse one before the next are
        asked for. DeviceError where the device refuses, LinkError where it says too much."""
        what = "asking for its description"
        for start in range(0, count, QUESTIONS_AT_ONCE):
            indices = range(start, min(count, start + QUESTIONS_AT_ONCE))
            requests = [Request(kind, prefix + number(index)) for index in indices]
            for answer in self._client.exchange(requests, what):
                if answer.status != Status.OK:
                    raise DeviceError(f"the device refused {what}: {describe(answer)}")
                self._bytes += len(answer.payload)
                if self._bytes > LARGEST_DESCRIPTION_BYTES:
                    raise LinkError(
                        "the device's description of its model has more than "
                        f"{LARGEST_DESCRIPTION_BYTES} bytes",
                        hint="give the model's metadata.json: then the device is not asked",
                    )
                yield answer


def ask_device(client: Client, hello: Hello) -> Description:
    """The description that the device gives of itself, for a host that has no `metadata.json`.

    DeviceError where it refuses. LinkError where it contradicts itself, or its description has more
    than LARGEST_DESCRIPTION_BYTES.
    """
    questions = _Questions(client)
    tensors = []
    for index, answer in enumerate(questions.ask(Kind.TENSOR, hello.tensor_count)):
        info = parse_tensor(answer.payload)
        if info.size_bytes > hello.arena_bytes:
            raise LinkError(
                f"the device says that tensor {info.name} of {info.size_bytes} bytes "
                f"lies in its arena of {hello.arena_bytes}"
            )
        tensors.append(
            Tensor(
                index=index,
                name=info.name,
                source=info.name,
                shape=info.shape,
                dtype=info.dtype,
                scale=info.scale,
                zero_point=info.zero_point,
                live_from=info.live_from,
                live_to=info.live_to,
            )
        )
    operators = [
        Reader(answer.payload, "OPERATOR").name("operator name")
        for answer in questions.ask(Kind.OPERATOR, hello.operator_count)
    ]
    ends = []
    for outputs, count in ((0, hello.input_count), (1, hello.output_count)):
        indices = [
            Reader(answer.payload, "LOOKUP").number("tensor", hello.tensor_count - 1)
            for answer in questions.ask(Kind.LOOKUP, count, number(outputs))
        ]
        ends.append(tuple(tensors[index] for index in indices))
    for names in ([tensor.name for tensor in tensors], operators):
        name, count = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
        if count > 1:
            raise LinkError(f"the device has two tensors or operators of one name: {name}")
    return Description(
        name=hello.model_name,
        model_hash=hello.model_hash,
        tensors=tuple(tensors),
        inputs=ends[0],
        outputs=ends[1],
        operators=tuple(operators),
    )
