"""Where a device first computes something else than the reference, found over the wire.

The reference is the numpy meaning of the graph that the kernels were made of (`ops/`), and, for the
outputs, that of the graph as it was imported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from microtvm.attach import ANYWHERE, Place
from microtvm.device import Session
from microtvm.errors import UserError
from microtvm.frontend import load_model
from microtvm.graph.ir import Graph
from microtvm.inference import Heard, Progress, boot, silent
from microtvm.npz import Inputs, random_inputs
from microtvm.ops.evaluate import evaluate_graph
from microtvm.pipeline import transform
from microtvm.project import Project, Value
from microtvm.util import Array

DEFAULT_TOLERANCE = 1e-4
"""Of floats: kernels add in another order than numpy."""


@dataclass(frozen=True)
class Difference:
    """The first element, in row-major order, that differs in one tensor."""

    tensor: str
    index: tuple[int, ...]
    expected: float
    found: float
    count: int
    """How many elements of the tensor differ, out of `size`."""
    size: int
    largest: float
    """The largest distance of two elements."""

    def __str__(self) -> str:
        at = ", ".join(str(i) for i in self.index)
        return (
            f"{self.tensor}[{at}] is {self.found:g}, expected {self.expected:g}; {self.count:,} of "
            f"{self.size:,} elements differ, by at most {self.largest:g}"
        )


@dataclass(frozen=True)
class Finding:
    """An operator whose inputs are right and whose output is not."""

    run: int
    """Which of the inputs shows it, from 0."""
    operator: str
    """Empty where no operator is to blame: the graph's passes are then."""
    ops: tuple[str, ...]
    """The graph's operators that the kernel does."""
    kernel: str
    """The C function."""
    difference: Difference


@dataclass(frozen=True)
class Report:
    """What a comparison found."""

    board: str
    model: str
    runs: int
    compared: int
    """How many tensors were read and compared."""
    finding: Finding | None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        found = self.finding
        where = found and {
            "run": found.run,
            "operator": found.operator,
            "ops": list(found.ops),
            "kernel": found.kernel,
            "tensor": found.difference.tensor,
            "index": list(found.difference.index),
            "expected": found.difference.expected,
            "found": found.difference.found,
            "differing": found.difference.count,
            "elements": found.difference.size,
            "largest": found.difference.largest,
        }
        return {
            "board": self.board,
            "model": self.model,
            "runs": self.runs,
            "compared": self.compared,
            "equal": found is None,
            "difference": where,
        }


def compare(name: str, expected: Array, found: Array, tolerance: float) -> Difference | None:
    """The first difference of two arrays of one shape and type, None if there is none.

    Integers must be equal. Floats may be `tolerance` apart, absolute or relative to the expected
    value; NaN equals NaN.
    """
    if expected.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            distance = np.abs(found.astype(np.float64) - expected.astype(np.float64))
            limit = tolerance * np.maximum(1.0, np.abs(expected))
            same = (np.isfinite(expected) & (distance <= limit)) | (expected == found)
        same |= np.isnan(expected) & np.isnan(found)
    else:
        distance = np.abs(found.astype(np.int64) - expected.astype(np.int64))
        same = distance == 0
    if same.all():
        return None
    wrong = ~same
    first = int(np.argmax(wrong))
    index = tuple(int(i) for i in np.unravel_index(first, expected.shape))
    return Difference(
        tensor=name,
        index=index,
        expected=float(expected.ravel()[first]),
        found=float(found.ravel()[first]),
        count=int(wrong.sum()),
        size=expected.size,
        largest=float(np.max(distance[wrong])),
    )


class _Search:
    """One inference, looked at operator by operator."""

    def __init__(
        self,
        session: Session,
        operators: Sequence[Mapping[str, Any]],
        values: Mapping[str, Array],
        inputs: Mapping[str, Array],
        tolerance: float,
        progress: Progress,
    ) -> None:
        self._session = session
        self._operators = operators
        self._values = values
        self._inputs = inputs
        self._tolerance = tolerance
        self._progress = progress
        self.compared = 0

    def first(self, *, every: bool) -> tuple[int, Difference] | None:
        """The first operator, with `every` looked at one by one, else by bisection from a wrong
        output, whose inputs are right and whose output is not."""
        if every:
            return self._one_by_one()
        last = len(self._operators) - 1
        self._run_through(last)
        if not any(self._differs(tensor.name) for tensor in self._session.model.outputs):
            return None
        wrong = self._bisect(-1, last)
        # A later operator may hide what an earlier one got wrong: what this one read decides.
        while (earlier := self._wrong_input(wrong)) is not None:
            wrong = self._bisect(-1, earlier)
        self._run_through(wrong)
        difference = self._output(wrong)
        if difference is None:
            return None
        return wrong, difference

    def _one_by_one(self) -> tuple[int, Difference] | None:
        for index in range(len(self._operators)):
            self._progress("comparing operators", index, len(self._operators))
            self._run_through(index)
            difference = self._output(index)
            if difference is not None:
                return index, difference
        return None

    def _bisect(self, right: int, wrong: int) -> int:
        """An operator whose output is wrong after one whose output is right; `right` may be -1."""
        while wrong - right > 1:
            middle = (right + wrong) // 2
            self._progress(
                "bisecting", len(self._operators) - (wrong - right), len(self._operators)
            )
            self._run_through(middle)
            if self._output(middle) is None:
                right = middle
            else:
                wrong = middle
        return wrong

    def _run_through(self, index: int) -> None:
        # From the start each time: what a wrong kernel wrote elsewhere must not stay.
        self._session.run_through(index, self._inputs)

    def _output(self, index: int) -> Difference | None:
        for name in self._operators[index]["outputs"]:
            difference = self._differs(name)
            if difference is not None:
                return difference
        return None

    def _wrong_input(self, index: int) -> int | None:
        """The operator that made an input of this one wrong; None if all are right."""
        if index == 0:
            return None
        self._run_through(index - 1)
        for name in self._operators[index]["inputs"]:
            maker = self._maker(name)
            if maker is not None and maker < index and self._differs(name) is not None:
                return maker
        return None

    def _maker(self, name: str) -> int | None:
        for index, operator in enumerate(self._operators):
            if name in operator["outputs"]:
                return index
        return None

    def _differs(self, name: str) -> Difference | None:
        tensor = self._session.model.tensor(name)
        expected = self._values[tensor.name]
        self.compared += 1
        found = self._session.read(tensor.name)
        return compare(tensor.name, expected.reshape(found.shape), found, self._tolerance)


def diff_project(
    project: Project,
    model: Path,
    inputs: Inputs | None = None,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
    every: bool = False,
    strip_edges: bool = False,
    fold_channels: bool = True,
    progress: Progress = silent,
    place: Place = ANYWHERE,
    options: Mapping[str, Value] | None = None,
    on_log: Heard | None = None,
) -> Report:
    """Compares a built project of `model` with the reference, for all inputs until one differs: in
    its emulator, or on the board at `place`, reached with the platform's `options`.

    Without inputs, one run from a fixed seed. With `every` each operator is looked at, not only
    those that bisection needs: this finds also what later operators hide. `strip_edges` and
    `fold_channels` are what the project was compiled with. UserError if the model isn't the
    project's.
    """
    imported = load_model(model, strip_edges=strip_edges)
    graph = transform(imported, fold_channels=fold_channels)
    operators = project.library.metadata["operators"]
    with tempfile.TemporaryDirectory(prefix="microtvm-") as scratch:
        booted = boot(project, Path(scratch), place=place, options=options)
        with booted.session as session:
            session.on_log(on_log)
            _check_model(session, graph, model)
            given = random_inputs(session.model) if inputs is None else inputs
            compared = 0
            for number, run in enumerate(given.runs):
                progress("comparing inferences", number, len(given.runs))
                arrays = {session.model.tensor(name).name: a for name, a in run.items()}
                values = evaluate_graph(graph, arrays)
                search = _Search(session, operators, values, run, tolerance, progress)
                first = search.first(every=every)
                compared += search.compared
                finding = None
                if first is not None:
                    index, difference = first
                    operator = operators[index]
                    finding = Finding(
                        number,
                        operator["name"],
                        tuple(operator["ops"]),
                        operator["kernel"],
                        difference,
                    )
                else:
                    finding = _passes_differ(number, imported, graph, arrays, values, tolerance)
                if finding is not None:
                    name = session.model.name
                    return Report(project.board.name, name, number + 1, compared, finding)
            return Report(project.board.name, session.model.name, len(given.runs), compared, None)


def _check_model(session: Session, graph: Graph, model: Path) -> None:
    for tensor in session.model.tensors:
        if tensor.name not in graph.types:
            raise UserError(
                f"{model} has no value {tensor.name!r}, which the project's model has",
                hint="give the model that the project was made from, and the same options",
            )


def _passes_differ(
    run: int,
    imported: Graph,
    graph: Graph,
    inputs: Mapping[str, Array],
    values: Mapping[str, Array],
    tolerance: float,
) -> Finding | None:
    """The device agrees with the graph after the passes; whether that agrees with the model."""
    original = evaluate_graph(imported, inputs)
    for before, after in zip(imported.outputs, graph.outputs, strict=True):
        difference = compare(before, original[before], values[after], tolerance)
        if difference is not None:
            return Finding(run, "", (), "", difference)
    return None
