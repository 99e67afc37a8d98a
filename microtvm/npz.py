"""Arrays in .npz files: the inputs that a run asks for, and the outputs that it gives."""

from __future__ import annotations

import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from microtvm.device import Description, Tensor
from microtvm.errors import UserError
from microtvm.util import Array

RANDOM_SEED = 20240229
"""Of the inputs that are made up where none are given."""

# What numpy and zipfile raise for a file that is damaged, found by damaging files.
_DAMAGE = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Inputs:
    """Arrays by input name for each run, one run or more."""

    runs: tuple[Mapping[str, Array], ...]
    stacked: bool
    """Whether they came with one more leading dimension, so that outputs are to be stacked too."""


def random_inputs(model: Description) -> Inputs:
    """One run that is made up, always the same: any integer of the type, standard normal floats."""
    generator = np.random.default_rng(RANDOM_SEED)
    run: dict[str, Array] = {}
    for tensor in model.inputs:
        dtype = tensor.dtype
        if dtype.kind == "f":
            run[tensor.name] = generator.standard_normal(tensor.shape).astype(dtype)
        elif dtype.kind == "b":
            run[tensor.name] = generator.integers(0, 2, tensor.shape).astype(dtype)
        else:
            info = np.iinfo(dtype)
            run[tensor.name] = generator.integers(
                info.min, info.max, tensor.shape, dtype, endpoint=True
            )
    return Inputs((run,), stacked=False)


def load_inputs(file: Path, model: Description) -> Inputs:
    """The runs that an .npz file asks for: one, or one for each index of one more first dimension.

    Arrays are matched by name if all names are the model's, by order otherwise. UserError for a
    file that can't be read, and for wrong counts, shapes or types.
    """
    arrays = _load(file)
    wanted = model.inputs
    if len(arrays) != len(wanted):
        raise UserError(
            f"{file} has {_count(len(arrays), 'array')}, model {model.name} has "
            f"{_count(len(wanted), 'input')}",
            hint="give " + ", ".join(f"{t.name}: {_type(t.dtype, t.shape)}" for t in wanted),
        )
    names = [t.name for t in wanted]
    keys = names if set(names) == set(arrays) else list(arrays)
    counts = {
        key: _runs(file, key, arrays[key], tensor) for key, tensor in zip(keys, wanted, strict=True)
    }
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{key} for {count or 'one'}" for key, count in counts.items())
        raise UserError(f"the arrays of {file} ask for different numbers of runs: {listed}")
    stacked = next(iter(counts.values()), None)
    if stacked is None:
        return Inputs(({n: arrays[k] for n, k in zip(names, keys, strict=True)},), stacked=False)
    return Inputs(
        tuple(
            {n: arrays[k][index] for n, k in zip(names, keys, strict=True)}
            for index in range(stacked)
        ),
        stacked=True,
    )


def save_outputs(file: Path, outputs: Mapping[str, Array]) -> None:
    """An .npz file with the arrays in their order; UserError where it can't be written."""
    try:
        # numpy.savez takes names as keywords, and has some of its own that an output may be called.
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)
    except OSError as error:
        raise UserError(f"can't write {file}: {error.strerror}") from None


def check_writable(file: Path) -> None:
    """UserError where `file` can't be written: known before a long run, not after it."""
    if file.is_dir():
        raise UserError(f"can't write {file}: it is a folder")
    if not file.parent.is_dir():
        raise UserError(f"can't write {file}: there is no folder {file.parent}")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"can't write {file}: no permission")


def _load(file: Path) -> dict[str, Array]:
    try:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise UserError(f"{file} is a single array", hint="write it with numpy.savez")
        with content:
            return {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise UserError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise UserError(f"{file} is a folder, not an .npz file") from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        if "pickle" in reason:
            # NumPy takes for a pickle what it does not know, and advises to load it unsafely.
            reason = "no .npz archive, or arrays of Python objects"
        raise UserError(
            f"{file} is not an .npz file, or damaged: {reason}",
            hint="write it with numpy.savez",
        ) from None


def _runs(file: Path, key: str, array: Array, tensor: Tensor) -> int | None:
    """How many runs an array asks for, None if it is of the input's shape; UserError if neither."""
    if array.dtype.newbyteorder("<") != tensor.dtype:
        raise UserError(
            f"array {key!r} of {file} is {array.dtype}, input {tensor.name} is {tensor.dtype}",
            hint=_conversion(array, tensor),
        )
    if array.shape == tensor.shape:
        return None
    if array.shape[1:] == tensor.shape and array.ndim > 0 and array.shape[0] > 0:
        return int(array.shape[0])
    stacked = ", ".join(["n", *map(str, tensor.shape)])
    raise UserError(
        f"array {key!r} of {file} has shape {list(array.shape)}, "
        f"input {tensor.name} has {list(tensor.shape)}",
        hint=f"give that shape, or [{stacked}] for n runs",
    )


def _conversion(array: Array, tensor: Tensor) -> str:
    """How to make an array what an input takes."""
    name = tensor.dtype.name
    if array.dtype.kind == "f" and tensor.dtype.kind in "iu" and tensor.scale:
        low, high = np.iinfo(tensor.dtype).min, np.iinfo(tensor.dtype).max
        sign, shift = "-" if tensor.zero_point < 0 else "+", abs(tensor.zero_point)
        return (
            f"quantise it: numpy.clip(numpy.round(x / {tensor.scale:.9g}) {sign} {shift}, "
            f"{low}, {high}).astype(numpy.{name})"
        )
    return f"convert it with .astype(numpy.{name}), if its values fit"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _type(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> str:
    return f"{dtype.name}{list(shape)}"
