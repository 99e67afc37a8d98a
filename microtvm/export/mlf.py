"""Model Library Format, version 7: what TVM v0.18 wrote for a model that is compiled ahead of time.

The layout is TVM's (`codegen/host/{src,include}`, `parameters`, `src`, `metadata.json`), and so is
the C interface, `tvmgen_<name>_run(inputs, outputs)`. Beyond TVM's keys, `metadata.json` has
`microtvm` in the module, the library's own metadata, and `content_sha256` at the top, the SHA-256
of the lines `<sha256 of a file>  <its path>`, sorted by path, of every other file. The time of
export is always the same, so that the same model gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from microtvm.project import Library
from microtvm.version import VERSION

FORMAT = "mlf"
MLF_VERSION = 7
METADATA = "metadata.json"

_CPU_DEVICE = 1
"""kDLCPU of DLPack."""
_LIST_MAGIC = 0xF7E58D4F05049CB7
"""Begins TVM's parameter files."""


def complete(
    files: Mapping[str, bytes],
    library: Library,
    io: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    runtime: bool,
) -> dict[str, bytes]:
    """The files with parameters and metadata, which describes them all."""
    result = dict(files)
    result[f"parameters/{library.prefix}.params"] = no_parameters()
    metadata = {
        "version": MLF_VERSION,
        "modules": {library.prefix: _module(library, io, runtime=runtime)},
        "content_sha256": content_hash(result),
    }
    text = json.dumps(metadata, indent=2, sort_keys=True) + "\n"
    result[METADATA] = text.encode("utf-8")
    return dict(sorted(result.items()))


def content_hash(files: Mapping[str, bytes]) -> str:
    """Of all files but `metadata.json`, 64 hex digits."""
    lines = (
        f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n"
        for path in sorted(files)
        if path != METADATA
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def no_parameters() -> bytes:
    """A parameter file without parameters: an ahead-of-time model has its constants in its code.

    Magic number, reserved, the count of names, the count of arrays, 64 bits each.
    """
    return struct.pack("<QQQQ", _LIST_MAGIC, 0, 0, 0)


def _module(
    library: Library, io: Mapping[str, Sequence[Mapping[str, Any]]], *, runtime: bool
) -> dict[str, Any]:
    sizes = {
        kind: {str(t["member"]): {"dtype": t["dtype"], "size": t["size"]} for t in io[kind]}
        for kind in ("inputs", "outputs")
    }
    module: dict[str, Any] = {
        "model_name": library.prefix,
        "export_datetime": "1970-01-01 00:00:00Z",
        "memory": {
            "functions": {
                "main": [
                    {
                        "device": _CPU_DEVICE,
                        "workspace_size_bytes": library.arena_bytes,
                        "constants_size_bytes": library.weights_bytes or 0,
                        "io_size_bytes": sum(t["size"] for kind in io.values() for t in kind),
                        **sizes,
                    }
                ],
                # What a kernel needs is a part of the one arena, which main has.
                "operator_functions": [
                    {
                        "function_name": operator["function"],
                        "workspace": [{"device": _CPU_DEVICE, "workspace_size_bytes": 0}],
                    }
                    for operator in library.metadata["operators"]
                ],
            }
        },
        "target": [_target(str(library.metadata.get("cpu", "")))],
        "executors": ["aot"],
        "style": "full-model",
        "microtvm": dict(library.metadata),
    }
    if runtime:
        module["external_dependencies"] = [
            {
                "short_name": "microtvm_runtime",
                "url": "./runtime",
                "url_type": "mlf_path",
                "version_spec": VERSION,
            }
        ]
    return module


def _target(cpu: str) -> str:
    """A target in TVM's words."""
    if cpu.startswith("cortex-"):
        return f"c -keys=arm_cpu,cpu -mcpu={cpu}"
    return "c -keys=cpu"
