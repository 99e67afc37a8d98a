"""Inheritance of TOML files: what merges, replaces, is refused, and where values came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from microtvm.errors import BoardError
from microtvm.target.document import Leaf, leaves, load_table, near

Files = dict[str, str]


def written(root: Path, files: Files) -> Path:
    """Writes the files and returns that of the first name."""
    for name, text in files.items():
        path = root / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / f"{next(iter(files))}.toml"


def plain(leaf: Leaf) -> object:
    return [plain(item) for item in leaf.value] if isinstance(leaf.value, tuple) else leaf.value


def merged(root: Path, files: Files) -> dict[str, object]:
    return {chain: plain(leaf) for chain, leaf in leaves(load_table(root, written(root, files)))}


def test_scalars_and_lists_replace_and_tables_merge(tmp_path: Path) -> None:
    files = {
        "board": 'inherits = ["soc/a"]\nx = 2\nlist = [9]\n[t]\nb = 3\n',
        "soc/a": "x = 1\ny = 1\nlist = [1, 2]\n[t]\na = 1\nb = 1\n",
    }
    assert merged(tmp_path, files) == {"x": 2, "y": 1, "list": [9], "t.a": 1, "t.b": 3}


def test_later_parents_win_over_earlier_ones(tmp_path: Path) -> None:
    files = {
        "board": 'inherits = ["a", "b"]\n',
        "a": "x = 1\ny = 1\n[t]\nx = 1\ny = 1\n",
        "b": "x = 2\n[t]\nx = 2\nz = 2\n",
    }
    assert merged(tmp_path, files) == {"x": 2, "y": 1, "t.x": 2, "t.y": 1, "t.z": 2}


def test_any_depth_and_a_shared_ancestor(tmp_path: Path) -> None:
    files = {
        "board": 'inherits = ["l", "r"]\n',
        "l": 'inherits = ["deep/base"]\nx = "l"\n',
        "r": 'inherits = ["deep/base"]\ny = "r"\n',
        "deep/base": 'inherits = ["deep/root"]\nz = "base"\n',
        "deep/root": 'x = "root"\nw = "root"\n',
    }
    assert merged(tmp_path, files) == {"x": "root", "y": "r", "z": "base", "w": "root"}


def test_lists_append_only_where_declared(tmp_path: Path) -> None:
    files = {
        "board": 'inherits = ["a"]\nflags.append = ["-z"]\nt.deep.append = [3]\n',
        "a": 'flags = ["-x", "-y"]\n[t]\ndeep = [1, 2]\n',
    }
    assert merged(tmp_path, files) == {"flags": ["-x", "-y", "-z"], "t.deep": [1, 2, 3]}


def test_every_value_knows_its_file(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {
            "board": 'inherits = ["a"]\nx = 2\nflags.append = ["-z"]\n',
            "a": 'x = 1\nflags = ["-x"]\n[t]\na = 1\n',
        },
    )
    table = load_table(tmp_path, file)
    origins = {chain: leaf.origin.stem for chain, leaf in leaves(table)}
    assert origins == {"x": "board", "flags": "board", "t.a": "a"}
    flags = table["flags"]
    assert isinstance(flags, Leaf)
    assert isinstance(flags.value, tuple)
    assert [item.origin.stem for item in flags.value] == ["a", "board"]


REFUSED: list[tuple[str, Files, str]] = [
    ("circle", {"a": 'inherits = ["b"]', "b": 'inherits = ["c"]', "c": 'inherits = ["b"]'},
     "boards inherit in a circle: b -> c -> b"),
    ("itself", {"a": 'inherits = ["a"]'}, "inherit in a circle: a -> a"),
    ("twice", {"a": 'inherits = ["b", "b"]', "b": ""}, r"a\.toml: inherits names 'b' twice"),
    ("absent", {"a": 'inherits = ["soc/mps3"]', "soc/mps2": ""},
     r"a\.toml: inherits names 'soc/mps3', but there is no file .*mps3\.toml"),
    ("not a list", {"a": 'inherits = "b"'}, "inherits must be a list of names, found 'b'"),
    ("not TOML", {"a": "x = = 1"}, r"a\.toml is not TOML: .*line 1"),
    ("duplicate key", {"a": "x = 1\nx = 2"}, r"a\.toml is not TOML: Cannot overwrite a value"),
    ("duplicate table", {"a": "[t]\nx = 1\n[t]\ny = 2"}, r"is not TOML: .*declare.*twice"),
    ("date", {"a": "[t]\nx = 1979-05-27"}, r"a\.toml: t\.x has a value of a kind not used here"),
    ("nothing to append to", {"a": "x.append = [1]"}, r"x\.append has no inherited list"),
    ("append to a scalar", {"a": 'inherits = ["b"]\nx.append = [1]', "b": "x = 1"},
     r"a\.toml: x\.append has no inherited list"),
    ("append of a scalar", {"a": 'inherits = ["b"]\nx.append = 1', "b": "x = [1]"},
     r"x\.append must be a list, found 1"),
    ("table over value", {"a": 'inherits = ["b"]\n[t.x]\ny = 1', "b": "t.x = 1"},
     r"a\.toml: t\.x is a table, but a value in .*b\.toml"),
    ("value over table", {"a": 'inherits = ["b"]\nt.x = 1', "b": "[t.x]\ny = 1"},
     r"a\.toml: t\.x is a value, but a table in .*b\.toml"),
    ("parents differ", {"a": 'inherits = ["b", "c"]', "b": "t.x = 1", "c": "t.x.y = 1"},
     r"t\.x is a table in .*c\.toml, but a value in .*b\.toml"),
    ("parents differ otherwise", {"a": 'inherits = ["c", "b"]', "b": "t.x = 1", "c": "t.x.y = 1"},
     r"t\.x is a table in .*c\.toml, but a value in .*b\.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), [case[1:] for case in REFUSED],
                         ids=[case[0] for case in REFUSED])  # fmt: skip
def test_refused(files: Files, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, files)
    with pytest.raises(BoardError, match=message):
        load_table(tmp_path, file)


def test_near_parents_are_offered(tmp_path: Path) -> None:
    file = written(tmp_path, {"a": 'inherits = ["soc/mps3"]', "soc/mps2": "", "cpu/x": ""})
    with pytest.raises(BoardError) as caught:
        load_table(tmp_path, file)
    assert caught.value.hint == "did you mean soc/mps2?"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BoardError, match=re.escape(f"{tmp_path / 'x.toml'} can't be read")):
        load_table(tmp_path, tmp_path / "x.toml")
    (tmp_path / "y.toml").write_bytes(b"x = '\xff'")
    with pytest.raises(BoardError, match=r"y\.toml is not UTF-8"):
        load_table(tmp_path, tmp_path / "y.toml")


def test_near_names_else_all() -> None:
    assert near("mps2-an38", ["qemu-mps2-an385", "host"]) == "did you mean qemu-mps2-an385?"
    assert near("qemu", ["qemu-riscv32", "host"]) == "did you mean qemu-riscv32?"
    assert near("nope", ["openocd", "pyocd"]) == "there are: openocd, pyocd"
    assert near("watchdog_s", ["author"], otherwise="there is none") == "there is none"
    assert near("zzz", ["a", "b"]) == "there are: a, b"
    assert near("zzz", []) == ""
