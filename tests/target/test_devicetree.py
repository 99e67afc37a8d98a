"""The devicetree reader of the comparison: the parts of the language that Zephyr's boards use."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.devicetree import DeviceTreeError, Node, chosen, parse, read
from tests.conftest import require_tool

SOURCE = """
/dts-v1/;
# 1 "chip.dtsi"
/ {
    #address-cells = <1>;
    #size-cells = <1>;
    chosen { zephyr,sram = &sram0; };
    soc {
        #address-cells = <1>;
        #size-cells = <1>;
        ranges = <0x4000 0x50004000 0x1000>;
        sram0: memory@20000000 { compatible = "mmio-sram"; reg = <0x20000000 ((64) * 1024)>; };
        timer0: pwm: timer@4000 { reg = <0x4000 0x10>, <0x9000 16>; status = "disabled"; wakeup; };
        old: old@1 { reg = <1 1>; };
    };
};
# 9 "board.dts" 1
&timer0 { status = "okay"; pinctrl-0 = <&nobody>; };
&sram0 { reg = <0x20000000 (1 << 16 | 0x80)>; /delete-property/ compatible; };
&elsewhere { status = "okay"; };
/delete-node/ &old;
led: &timer0 {};
/ { soc { /omit-if-no-ref/ gone: gone { }; /delete-node/ gone; }; };
"""


def find(root: Node, label: str) -> Node:
    return next(node for node in root.walk() if label in node.labels)


def test_files_overlay_each_other_and_stay_known() -> None:
    root = parse(SOURCE)
    sram, timer = find(root, "sram0"), find(root, "led")
    assert sram.regions() == [(0x20000000, 0x10080)]
    assert sram.properties["reg"].file == "board.dts"
    assert sram.compatible == []
    assert timer is find(root, "pwm")
    assert timer.properties["status"].strings == ["okay"]
    assert timer.properties["wakeup"].raw == ""
    assert chosen(root, "zephyr,sram") is sram
    assert chosen(root, "zephyr,flash") is None
    assert [name for name in root.children["soc"].children if "@" not in name] == []
    assert not [node for node in root.walk() if "old" in node.labels]


def test_ranges_map_what_they_name_alone() -> None:
    assert find(parse(SOURCE), "timer0").regions() == [(0x50004000, 0x10), (0x9000, 16)]


def test_strings_are_read_before_punctuation() -> None:
    text = '/ { a { compatible = "one", "t;w{o"; }; };'
    assert parse(text).children["a"].compatible == ["one", "t;w{o"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/ { a = <1>", "ends within a node"),
        ("/ { a b }", "a is followed by 'b'"),
        ("a { };", "'a' at the top level"),
        ("&b ;", "followed by ';'"),
    ],
)
def test_what_is_no_devicetree_is_refused(text: str, message: str) -> None:
    with pytest.raises(DeviceTreeError, match=message):
        parse(text)


def test_a_cell_that_is_no_number_is_refused() -> None:
    with pytest.raises(DeviceTreeError, match="'&x' is no number"):
        _ = parse("/ { a = <&x 1>; };").properties["a"].cells


def test_files_that_are_not_there_count_as_empty(tmp_path: Path) -> None:
    require_tool("cc")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "mem.h").write_text("#define K(x) ((x) * 1024)\n")
    (tmp_path / "chip.dtsi").write_text(
        "#include <mem.h>\n/ { ram: ram@0 { reg = <0 K(4)>; }; };\n"
    )
    board = tmp_path / "board.dts"
    board.write_text('#include "chip.dtsi"\n#include <vendor/pins.dtsi>\n')
    overlay = tmp_path / "rev.overlay"
    overlay.write_text("&ram { reg = <0 K(8)>; };\n")
    root = read(board, [tmp_path / "include"], [overlay])
    assert find(root, "ram").properties["reg"].cells == [0, 8192]
    assert find(root, "ram").properties["reg"].file == str(overlay)
