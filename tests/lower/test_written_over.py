"""Every template: where a kernel is said to write over an input, no input is read too late.

The loop programs of random layers are executed, and each place is watched.
"""

from __future__ import annotations

import numpy as np
import pytest

from microtvm.errors import ScheduleError
from microtvm.graph.ir import Graph
from microtvm.isa.schedule import TEMPLATES, Choice
from microtvm.lower.kernel import Kernel, lower_group
from microtvm.passes import PASSES, run_passes
from microtvm.passes.fuse import Group, fuse
from microtvm.target import Cpu, load_cpu
from tests.lower.written_over import harmed
from tests.ops.network import Network
from tests.ops.oracle import imported
from tests.reference import Tensor

# A core, how the names of the templates begin that are looked at there, and which of them must be
# seen to write over an input.
FAMILIES = {
    "cortex-m4": ("dsp.", {"matrix_product", "window_product", "gather_product"}),
    "cortex-m55": ("helium.", {"matrix_product", "window_product", "elementwise"}),
    "cortex-m3": ("mla.", {"matrix_product", "window_product"}),
    "cortex-m0": ("thumb1.", {"matrix_product", "window_product"}),
    "rv32imc": ("riscv.", {"matrix_product", "window_product"}),
    "host": ("", {"generic", "elementwise"}),
}
KINDS = ("pointwise", "pointwise", "conv", "conv", "depthwise", "pool", "dense", "map", "sum")


def layer(rng: np.random.Generator, kind: str) -> Graph:
    """A layer whose output is as large as its input; mostly the other one is added, or an input."""
    net = Network(rng)
    height, width = (int(n) for n in rng.integers(2, 6, 2))
    channels = int(rng.choice([3, 4, 5, 8]))
    if kind in ("map", "sum"):
        channels *= 4
    x = net.input((1, channels * 2) if kind == "dense" else (1, height, width, channels))
    y = made(net, kind, x)
    if kind != "map" or rng.random() < 0.5:
        other = x if rng.random() < 0.3 else net.input(y.shape)
        pair = [y, other] if rng.random() < 0.5 else [other, y]
        y = net.binary(str(rng.choice(["ADD", "SUB", "MUL"])), *pair)
    return run_passes(imported(net.model(y)), PASSES)


def made(net: Network, kind: str, x: Tensor) -> Tensor:
    """A layer of a kind on x, of its shape."""
    if kind == "pointwise":
        return net.conv(x, x.shape[-1], 1)
    if kind == "conv":
        return net.conv(x, x.shape[-1], 3)
    if kind == "depthwise":
        return net.depthwise(x, 1, int(net.rng.choice([2, 3])))
    if kind == "pool":
        return net.pool(str(net.rng.choice(["AVERAGE_POOL_2D", "MAX_POOL_2D"])), x)
    if kind == "dense":
        return net.dense(x, x.shape[-1])
    if kind == "sum":
        return x
    return net.unary(str(net.rng.choice(["RELU", "LOGISTIC", "QUANTIZE", "SOFTMAX"])), x)


def lowered(
    rng: np.random.Generator, graph: Graph, group: Group, cpu: Cpu, family: str
) -> list[Kernel]:
    """A group under every template of a family that takes it, with knobs of any value."""
    kernels = []
    for template in TEMPLATES:
        if template.name.startswith(family) and all(cpu.has(f) for f in template.needs):
            knobs = {k: v[int(rng.integers(len(v)))] for k, v in template.space.items()}
            choice = Choice(template.name, knobs, small=bool(rng.random() < 0.3))
            try:
                kernels.append(lower_group(graph, group, cpu, choice))
            except ScheduleError:
                continue
    return kernels


def check(rng: np.random.Generator, kernel: Kernel) -> None:
    """Each input that the output may lie in is read before it is written."""
    program = kernel.program
    arrays = {
        b: rng.integers(-128, 128, b.shape).astype(b.dtype)
        for b in program.params
        if b.scope != "const" and b not in program.outputs
    }
    for position in kernel.in_place:
        late = harmed(program, arrays, program.params[position])
        assert late == [], (kernel.choice, program.notes)


@pytest.mark.parametrize("cpu", FAMILIES)
def test_what_may_be_written_over_is_not_read_later(cpu: str) -> None:
    family, expected = FAMILIES[cpu]
    seen = set()
    for seed, kind in enumerate(KINDS * 2):
        rng = np.random.default_rng(seed)
        graph = layer(rng, kind)
        for group in fuse(graph).groups:
            for kernel in lowered(rng, graph, group, load_cpu(cpu), family):
                check(rng, kernel)
                if kernel.in_place:
                    seen.add(kernel.choice.template.removeprefix(family))
    assert seen >= expected
