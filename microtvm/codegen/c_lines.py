"""Lines of a C function: indentation, and names that no open scope has."""

from __future__ import annotations


class Lines:
    """Printed lines with the scopes that are open."""

    def __init__(self) -> None:
        self.scopes: list[set[str]] = [set()]
        self.lines: list[str] = []

    def fresh(self, wanted: str) -> str:
        """A name that no open scope has, in the innermost one."""
        name, n = wanted, 1
        while any(name in scope for scope in self.scopes):
            n += 1
            name = f"{wanted}{n}" if not wanted[-1].isdigit() else f"{wanted}_{n}"
        self.scopes[-1].add(name)
        return name

    def temporary(self) -> str:
        """t0, t1 and so on."""
        n = 0
        while any(f"t{n}" in scope for scope in self.scopes):
            n += 1
        self.scopes[-1].add(f"t{n}")
        return f"t{n}"

    def emit(self, line: str) -> None:
        """A line; directives of the preprocessor are not indented."""
        self.lines.append(line if line[:1] == "#" else "    " * (len(self.scopes) - 1) + line)

    def open(self, head: str = "") -> None:
        """A new scope, after the line `head` if any."""
        if head:
            self.emit(head)
        self.scopes.append(set())

    def close(self, tail: str = "") -> None:
        """Leave the innermost scope, with the line `tail` if any."""
        self.scopes.pop()
        if tail:
            self.emit(tail)
