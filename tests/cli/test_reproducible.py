"""The same bytes every time, and models that share an image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microtvm.pipeline import compile_model
from microtvm.target import data_folder, load_cpu
from tests.conftest import require_tool
from tests.golden.mlperf import difference, goldens, model_file


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55"])
def test_hash_seed_changes_nothing(tmp_path: Path, cpu: str) -> None:
    for seed in ("0", "1", "4242"):
        argv = [sys.executable, "-m", "microtvm", "compile", str(model_file("strww_int8"))]
        subprocess.run(
            [*argv, "--cpu", cpu, "-o", str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    files = sorted(each.name for each in (tmp_path / "0").iterdir())
    assert files == ["metadata.json", "mtvm_model.h", "strww_int8.c", "strww_int8.h"]
    for seed in ("1", "4242"):
        for name in files:
            assert (tmp_path / seed / name).read_bytes() == (tmp_path / "0" / name).read_bytes()


def test_folder_changes_nothing(tmp_path: Path, pair: Path) -> None:
    """Nor does it get into the files where the model lay."""
    other = tmp_path / "elsewhere" / "pair.tflite"
    other.parent.mkdir()
    other.write_bytes(pair.read_bytes())
    cpu = load_cpu("cortex-m4")
    first, second = (compile_model(file, cpu).library.files for file in (pair, other))
    assert first == second
    assert not any(str(tmp_path) in text for text in second.values())


MAIN = """\
#include <stdio.h>
{includes}
{arenas}
int main(void)
{{
    {checks}
    return 0;
}}
"""

CALL = """
    {{
        const struct {p}_io io = {p}_bind({p}_arena);
        if (fread(io.{input}, 1, {input_bytes}, stdin) != {input_bytes}) {{
            return 1;
        }}
    }}"""

ANSWER = """
    {{
        const struct {p}_io io = {p}_bind({p}_arena);
        {p}_run({p}_arena);
        (void)fwrite(io.{output}, 1, {output_bytes}, stdout);
    }}"""


def test_models_share_an_image(tmp_path: Path) -> None:
    """Two models, one of them twice: all inputs are filled before any of them runs."""
    cc = require_tool("cc")
    parts: dict[str, list[str]] = {"includes": [], "arenas": [], "calls": [], "answers": []}
    content, expected = b"", []
    for prefix, name, index in (
        ("kws", "kws_int8", 0),
        ("ad", "ad01_int8", 1),
        ("k2", "kws_int8", 2),
    ):
        library = compile_model(model_file(name), load_cpu("host"), prefix=prefix).library
        library.write(tmp_path)
        x, y = (array[index] for array in goldens(name))
        content += x.tobytes()
        expected.append(y)
        tensors = library.metadata["tensors"]
        words = {
            "p": prefix,
            "input": tensors[library.metadata["inputs"][0]]["name"],
            "output": tensors[library.metadata["outputs"][0]]["name"],
            "input_bytes": x.nbytes,
            "output_bytes": y.nbytes,
        }
        parts["includes"].append(f'#include "{prefix}.h"')
        upper = prefix.upper()
        parts["arenas"].append(
            f"MTVM_ALIGN({upper}_ARENA_ALIGN) static uint8_t {prefix}_arena[{upper}_ARENA_BYTES];"
        )
        parts["calls"].append(CALL.format(**words))
        parts["answers"].append(ANSWER.format(**words))
    main = tmp_path / "main.c"
    main.write_text(
        MAIN.format(
            includes="\n".join(parts["includes"]),
            arenas="\n".join(parts["arenas"]),
            checks="".join(parts["calls"] + parts["answers"]),
        )
    )
    sources = [main, *(tmp_path / f"{prefix}.c" for prefix in ("kws", "ad", "k2"))]
    include = data_folder("runtime_c") / "include"
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{include}"]
    image = tmp_path / "image"
    subprocess.run([cc, *flags, *map(str, sources), "-o", str(image), "-lm"], check=True)
    answer = subprocess.run([image], input=content, capture_output=True, check=True).stdout
    for y in expected:
        found = np.frombuffer(answer[: y.nbytes], y.dtype).reshape(y.shape)
        answer = answer[y.nbytes :]
        assert not difference(found, y)
    assert answer == b""
