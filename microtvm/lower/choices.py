"""Stored choices: how each kernel is scheduled, as data that can be edited and read back.

A file is a `metadata.json`, or any JSON object that has its `operators` with `name`, `template` and
`knobs`; kernels that it does not name are scheduled as without it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtvm.errors import ScheduleError, UserError
from microtvm.graph.ir import Graph
from microtvm.isa.schedule import BY_NAME, TEMPLATES, Choice
from microtvm.isa.template import Knob
from microtvm.lower.kernel import Kernel, lower_group, notes_of
from microtvm.passes.fuse import Group
from microtvm.target import Cpu


@dataclass(frozen=True)
class Choices:
    """Choices for some kernels of a model, by their names.

    `origin` is the file that they are from, for messages. `expressions` says of some kernels what
    they compute (`notes_of`), so that choices for another model are noticed.
    """

    kernels: Mapping[str, Choice]
    origin: str = "schedules"
    expressions: Mapping[str, tuple[str, ...]] | None = None

    @staticmethod
    def of(source: Path | Mapping[str, Choice] | None) -> Choices:
        """Those of a file, those of a program, or none. UserError for a file that is no such."""
        if source is None:
            return Choices({})
        return _load(source) if isinstance(source, Path) else Choices(source)

    def checked(
        self, graph: Graph, groups: Sequence[Group], cpu: Cpu, small: set[str]
    ) -> dict[str, Choice]:
        """The choices, with what they leave open, for the kernels of a graph on a core.

        `small` are the names of groups whose code shall be shared. UserError for a kernel that the
        graph does not have or that computes something else, and for a template or a knob that
        there is not, or not on this core.
        """
        named = {group.name: group for group in groups}
        found = {}
        for name, choice in self.kernels.items():
            if name not in named:
                near = difflib.get_close_matches(name, named, 1)
                raise UserError(
                    f"{self.origin}: the model has no kernel {name!r}",
                    hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(named)}",
                )
            self._check_expression(graph, named[name])
            found[name] = self._checked(name, choice, cpu, small=name in small)
        return found

    def _check_expression(self, graph: Graph, group: Group) -> None:
        wanted = (self.expressions or {}).get(group.name)
        computed = notes_of(graph, group)
        if wanted is not None and wanted != computed:
            raise UserError(
                f"{self.origin}: kernel {group.name!r} is for {'; '.join(wanted)}, "
                f"the model's computes {'; '.join(computed)}",
                hint="the file is of another model or of other options; "
                "without `expression` it is not compared",
            )

    def _checked(self, name: str, choice: Choice, cpu: Cpu, *, small: bool) -> Choice:
        where = f"{self.origin}: kernel {name!r}"
        template = BY_NAME.get(choice.template)
        if template is None:
            raise UserError(
                f"{where}: there is no template {choice.template!r}",
                hint=f"{cpu.name} has {', '.join(_usable(cpu))}",
            )
        lacking = sorted(f for f in template.needs if not cpu.has(f))
        if lacking:
            raise UserError(
                f"{where}: template {template.name} needs {' and '.join(lacking)}, "
                f"which {cpu.name} does not have",
                hint=f"{cpu.name} has {', '.join(_usable(cpu))}",
            )
        try:
            knobs = template.knobs(choice.knobs)
        except ScheduleError as error:
            raise UserError(f"{where}: {error.message}", hint=error.hint) from None
        return Choice(template.name, knobs, small=small)

    def lower(self, graph: Graph, group: Group, cpu: Cpu, choice: Choice) -> Kernel:
        """`lower_group`, with a UserError where a choice from here does not take the group."""
        try:
            return lower_group(graph, group, cpu, choice)
        except ScheduleError as error:
            if group.name not in self.kernels:
                raise
            knobs = ", ".join(f"{k} = {v}" for k, v in choice.knobs.items())
            taken = ", ".join(
                w.template for w in ways(graph, group, cpu, small=choice.small)
            )  # fmt: skip
            raise UserError(
                f"{self.origin}: kernel {group.name!r}: template {choice.template} "
                f"{f'with {knobs} ' if knobs else ''}does not take it on {cpu.name}",
                hint=f"these do, with the defaults of their knobs: {taken}",
            ) from error


@dataclass(frozen=True)
class Way:
    """A template that takes a kernel, and its knobs: all values of each, the default first."""

    template: str
    space: Mapping[str, tuple[Knob, ...]]


def ways(graph: Graph, group: Group, cpu: Cpu, *, small: bool = False) -> tuple[Way, ...]:
    """The templates that schedule a group on a core, with the defaults of their knobs at least."""
    found = []
    for name in _usable(cpu):
        try:
            lower_group(graph, group, cpu, Choice(name, small=small))
        except ScheduleError:
            continue
        found.append(Way(name, BY_NAME[name].space))
    return tuple(found)


def _usable(cpu: Cpu) -> list[str]:
    """Names of the templates for which a core has what they need."""
    return [t.name for t in TEMPLATES if all(cpu.has(f) for f in t.needs)]


def _load(file: Path) -> Choices:
    try:
        # Editors of Windows begin a file with a mark of its encoding.
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            f"can't read the schedules {file}: {error.strerror}",
            hint="`microtvm schedules --json` writes what can be edited and read back",
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is not JSON: {error}", hint="give a metadata.json that `compile` wrote"
        ) from None
    operators = content.get("operators") if isinstance(content, dict) else None
    if not isinstance(operators, list):
        raise UserError(
            f"{file} has no list `operators`", hint="give a metadata.json that `compile` wrote"
        )
    if not operators:
        raise UserError(
            f"{file} names no kernel: its list `operators` is empty",
            hint="`microtvm schedules --json` writes what can be edited and read back",
        )
    kernels: dict[str, Choice] = {}
    expressions: dict[str, tuple[str, ...]] = {}
    for index, entry in enumerate(operators):
        where = f"{file}: operators[{index}]"
        name = _member(entry, "name", str, where)
        where = f"{file}: kernel {name!r}"
        if name in kernels:
            raise UserError(f"{where} is there twice")
        template, knobs = (
            _member(entry, "template", str, where),
            _member(entry, "knobs", dict, where),
        )
        for knob, value in knobs.items():
            if not isinstance(value, int | bool | str):
                raise UserError(
                    f"{where}: knob {knob} is {json.dumps(value)}",
                    hint="a knob's value is an integer, true, false or a string",
                )
        kernels[name] = Choice(template, knobs)
        if "expression" in entry:
            lines = _member(entry, "expression", list, where)
            expressions[name] = tuple(str(line) for line in lines)
    return Choices(kernels, str(file), expressions)


_KINDS: dict[type, str] = {str: "string", dict: "object", list: "list"}


def _member(entry: Any, key: str, kind: type, where: str) -> Any:
    """A member of a JSON object, which must be of a type."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise UserError(
            f"{where} has no {_KINDS[kind]} `{key}`",
            hint="`microtvm schedules --json` writes what can be edited and read back",
        )
    return value
