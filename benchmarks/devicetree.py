"""Reads what a Zephyr tree says of a board in devicetree source, without the vendors' modules.

A board's `.dts` includes pin lists of modules that need not be there, so a file that is not found
counts as empty, and a reference to a label that nobody defines is left alone. Every property knows
the file that last set it. Devicetree Specification v0.4, chapters 2 and 6.
"""

from __future__ import annotations

import ast
import operator
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

_INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', re.MULTILINE)
_MARKER = re.compile(r'# \d+ "([^"]*)".*')
_TOKEN = re.compile(
    r'(?P<marker>^\# \d+ "[^"\n]*"[^\n]*$)|(?P<string>"(?:\\.|[^"\\])*")|(?P<punct>[{};=])'
    r'|(?P<word>[^\s{};="]+)',
    re.MULTILINE,
)
_LABEL = re.compile(r"(?P<label>\w+):(?P<rest>.*)", re.DOTALL)
_CELLS = re.compile(r"<([^>]*)>")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
}


class DeviceTreeError(Exception):
    """A source that this reader does not understand."""


@dataclass(frozen=True)
class Property:
    """A property as it was written."""

    raw: str
    file: str

    @property
    def strings(self) -> list[str]:
        """The quoted strings in it."""
        return [ast.literal_eval(text) for text in re.findall(r'"(?:\\.|[^"\\])*"', self.raw)]

    @property
    def cells(self) -> list[int]:
        """All 32-bit cells; DeviceTreeError if one is no number."""
        found: list[int] = []
        for group in _CELLS.findall(self.raw):
            found += [_number(word) for word in _words(group)]
        return found


@dataclass
class Node:
    """A node with what all files made of it."""

    name: str
    parent: Node | None = None
    labels: list[str] = field(default_factory=list)
    properties: dict[str, Property] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    def walk(self) -> Iterator[Node]:
        """The node and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    @property
    def compatible(self) -> list[str]:
        """Its drivers' names, the most special first."""
        prop = self.properties.get("compatible")
        return prop.strings if prop else []

    def number(self, key: str, default: int) -> int:
        """A property of one cell."""
        prop = self.properties.get(key)
        return prop.cells[0] if prop and prop.cells else default

    def regions(self) -> list[tuple[int, int]]:
        """(address, bytes) of each entry of `reg`, in the root's address space where it maps."""
        prop = self.properties.get("reg")
        if prop is None or self.parent is None:
            return []
        high = self.parent.number("#address-cells", 2)
        low = self.parent.number("#size-cells", 1)
        return [
            (self.parent.translated(start), size) for start, size in _pairs(prop.cells, high, low)
        ]

    def translated(self, address: int) -> int:
        """An address of a child's `reg`, by the `ranges` of this node and those above."""
        prop = self.properties.get("ranges")
        if prop is None or self.parent is None:
            return address
        cells = prop.cells
        own = self.number("#address-cells", 2)
        outer = self.parent.number("#address-cells", 2)
        step = own + outer + self.number("#size-cells", 1)
        for at in range(0, len(cells) - step + 1, step):
            child = _joined(cells[at : at + own])
            above = _joined(cells[at + own : at + own + outer])
            size = _joined(cells[at + own + outer : at + step])
            if child <= address < child + size:
                address += above - child
                break
        return self.parent.translated(address)


def read(file: Path, folders: list[Path], overlays: Sequence[Path] = ()) -> Node:
    """The root node of a board's source and what is laid over it.

    `folders` are looked through for what they include.
    """
    places = [file.parent, *folders]
    return parse(_preprocessed([file, *overlays], places))


def parse(text: str) -> Node:
    """The root node of preprocessed source."""
    return _Parser(text).run()


def _preprocessed(files: list[Path], folders: list[Path]) -> str:
    with TemporaryDirectory() as stubs:
        missing, seen = set(), set(files)
        todo = list(files)
        while todo:
            here = todo.pop()
            for name in _INCLUDE.findall(here.read_text(encoding="utf-8")):
                places = [folder / name for folder in (here.parent, *folders)]
                found = next((place for place in places if place.is_file()), None)
                if found is None:
                    missing.add(name)
                elif found not in seen:
                    seen.add(found)
                    todo.append(found)
        for name in missing:
            stub = Path(stubs) / name
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text("")
        together = Path(stubs) / "together.dts"
        together.write_text("".join(f'#include "{file}"\n' for file in files))
        include = [word for folder in (*folders, Path(stubs)) for word in ("-I", str(folder))]
        return subprocess.run(
            ["cc", "-E", "-undef", "-nostdinc", "-D__DTS__", "-x", "assembler-with-cpp",
             *include, str(together)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout  # fmt: skip


class _Parser:
    """One pass over the tokens; nodes that are named again are merged."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._file = ""
        self._tokens = list(_TOKEN.finditer(text))
        self._at = 0
        self._root = Node("/")
        self._labels: dict[str, Node] = {}

    def run(self) -> Node:
        while (token := self._next()) is not None:
            word = token.group()
            if word == ";":
                continue
            if word.startswith("/") and word.endswith("/") and len(word) > 1:
                if word == "/delete-node/":
                    self._delete(self._root, self._require())
                continue
            labels, name = self._name(word)
            if name == "/":
                self._body(self._root)
            elif name.startswith("&"):
                node = self._referenced(name)
                node.labels += labels
                self._label(node)
                self._body(node)
            else:
                raise DeviceTreeError(f"{self._file}: {name!r} at the top level")
        return self._root

    def _next(self) -> re.Match[str] | None:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            marker = token.group("marker")
            if marker is None:
                return token
            match = _MARKER.match(marker)
            assert match is not None
            self._file = match[1]
        return None

    def _require(self) -> str:
        token = self._next()
        if token is None:
            raise DeviceTreeError(f"{self._file}: ends within a node")
        return token.group()

    def _name(self, word: str) -> tuple[list[str], str]:
        """Labels, and the node's or property's name behind them."""
        labels = []
        while True:
            while match := _LABEL.fullmatch(word):
                labels.append(match["label"])
                word = match["rest"]
            if word and word != "/omit-if-no-ref/":
                return labels, word
            word = self._require()

    def _referenced(self, name: str) -> Node:
        node = self._labels.get(name[1:])
        if node is None and name.startswith("&{/"):
            node = self._root
            for part in name[3:-1].split("/"):
                node = node.children.setdefault(part, Node(part, node))
        return node or Node(name)

    def _label(self, node: Node) -> None:
        for label in node.labels:
            self._labels[label] = node

    def _body(self, node: Node) -> None:
        if (word := self._require()) != "{":
            raise DeviceTreeError(f"{self._file}: {node.name} is followed by {word!r}, not by {{")
        while (word := self._require()) != "}":
            if word == ";":
                continue
            if word == "/delete-node/":
                self._delete(node, self._require())
                continue
            if word == "/delete-property/":
                node.properties.pop(self._require(), None)
                continue
            labels, name = self._name(word)
            follows = self._require()
            if follows == "{":
                self._at -= 1
                child = node.children.setdefault(name, Node(name, node))
                child.labels += [label for label in labels if label not in child.labels]
                self._label(child)
                self._body(child)
            elif follows == "=":
                file = self._file
                node.properties[name] = Property(self._value(), file)
            elif follows == ";":
                node.properties[name] = Property("", self._file)
            else:
                raise DeviceTreeError(f"{self._file}: {name} is followed by {follows!r}")

    def _value(self) -> str:
        words = []
        while (word := self._require()) != ";":
            words.append(word)
        return " ".join(words)

    def _delete(self, node: Node, word: str) -> None:
        if word.startswith("&"):
            found = self._labels.get(word[1:])
            if found is not None and found.parent is not None:
                found.parent.children.pop(found.name, None)
        else:
            node.children.pop(word, None)


def chosen(root: Node, key: str) -> Node | None:
    """The node that `/chosen` names, None if it names none that is there."""
    node = root.children.get("chosen")
    prop = node.properties.get(key) if node else None
    if prop is None:
        return None
    label = prop.raw.strip().lstrip("&")
    return next((each for each in root.walk() if label in each.labels), None)


def _words(group: str) -> Iterator[str]:
    """The cells of `< >`: words, and expressions in brackets."""
    depth, start = 0, None
    for at, char in enumerate(group + " "):
        depth += (char == "(") - (char == ")")
        if depth == 0 and char.isspace():
            if start is not None:
                yield group[start:at]
            start = None
        elif start is None:
            start = at


def _number(word: str) -> int:
    text = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", word)
    text = re.sub(r"\b0+(\d)", r"\1", text)
    try:
        return _evaluated(ast.parse(text, mode="eval").body)
    except (SyntaxError, KeyError, ValueError) as error:
        raise DeviceTreeError(f"{word!r} is no number: {error}") from None


def _evaluated(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.BinOp):
        return int(_OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand)
    raise ValueError(ast.dump(node))


def _joined(cells: list[int]) -> int:
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def _pairs(cells: list[int], high: int, low: int) -> Iterator[tuple[int, int]]:
    step = high + low
    for at in range(0, len(cells) - step + 1, step):
        yield _joined(cells[at : at + high]), _joined(cells[at + high : at + step])
