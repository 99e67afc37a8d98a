"""`microtvm boards`: filters, and where each value comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtvm.target import list_boards, load_board
from tests.cli.conftest import CommandLine


def names(cli: CommandLine, *words: object) -> list[str]:
    return [board["name"] for board in cli.ok("boards", *words, "--json").json["boards"]]


def test_filters_narrow_the_list(cli: CommandLine) -> None:
    every = [load_board(name) for name in list_boards()]
    assert names(cli, "--cpu", "cortex-m7") == [b.name for b in every if b.cpu.name == "cortex-m7"]
    assert names(cli, "--platform", "baremetal") == [
        b.name for b in every if "baremetal" in b.platforms
    ]
    assert names(cli, "--feature", "mve", "--feature", "dsp") == [
        b.name for b in every if b.cpu.has("mve", "dsp")
    ]
    assert names(cli, "--min-ram", "512K") == [
        b.name for b in every if any(p.size_bytes >= 512 * 1024 for p in b.arena_pools)
    ]
    assert "teensy41" in names(cli, "--min-ram", "512K"), "its second on-chip RAM"
    assert names(cli, "--search", "NANO 33") == ["arduino_nano_33_ble"]
    assert names(cli, "--search", "metrom4") == ["adafruit_metro_m4"]
    assert "rpi_pico" in names(cli, "--cpu", "cortex-m0plus", "--search", "raspberry")


def test_nothing_is_like_that(cli: CommandLine) -> None:
    assert names(cli, "--search", "abacus") == []
    assert cli.ok("boards", "--search", "abacus").out == "no board is like that\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cpu", "cortex-m5"), "there is no CPU 'cortex-m5'\nhint: did you mean cortex-m"),
        (("--platform", "mbed"), "there is no platform 'mbed'"),
        (("--feature", "dps"), "there is no feature 'dps'\nhint: did you mean dsp"),
        (("--min-ram", "5X"), "'5X' is no number of bytes such as 4096, 64K or 1M"),
        (("--min-ram", "\N{SUPERSCRIPT TWO}"), "is no number of bytes such as 4096, 64K or 1M"),
        (("--min-ram", "9" * 5000), "is no number of bytes such as 4096, 64K or 1M"),
        (("show", "nucleo_f411er"), "there is no board 'nucleo_f411er'\nhint: did you mean nucleo"),
    ],
)
def test_mistakes_are_named(cli: CommandLine, words: tuple[str, ...], message: str) -> None:
    assert message in cli.refused("boards", *words)


def test_sizes_are_written_as_people_do(cli: CommandLine) -> None:
    text = cli.ok("boards", "--search", "esp32_devkitc").out
    assert " 4M " in text
    assert " 176.5K " in text
    assert names(cli, "--min-ram", 4 * 1024**2) == names(cli, "--min-ram", "4MB")


def test_every_value_says_where_it_is_from(cli: CommandLine) -> None:
    found = cli.ok("boards", "show", "nucleo_f411re", "--explain", "--json").json
    values = {row["key"]: row for row in found["values"]}
    assert values["memory.flash.start"]["file"] == "boards/soc/stm32.toml"
    assert values["memory.flash.size_bytes"]["file"] == "boards/nucleo_f411re.toml"
    second = values["memory.flash.size_bytes"]["second"]
    assert second["source"] == "Zephyr 3.7.1"
    assert second["file"] == "dts/arm/st/f4/stm32f411Xe.dtsi"
    assert values["stack_bytes"]["second"] is None
    assert values["cpu/features"]["file"] == "boards/cpu/cortex-m4.toml"
    text = cli.ok("boards", "show", "nucleo_f411re", "--explain").out
    (line,) = [each for each in text.splitlines() if each.startswith("memory.flash.size_bytes ")]
    assert "Zephyr 3.7.1 dts/arm/st/f4/stm32f411Xe.dtsi" in line


def test_show_without_explanation(cli: CommandLine) -> None:
    text = cli.ok("boards", "show", "rpi_pico").out
    assert "0x10000000" in text
    assert "Zephyr 3.7.1" not in text
    found = cli.ok("boards", "show", "rpi_pico", "--json").json
    assert "values" not in found
    assert found["usb"] == []
    assert found["links"]["arduino"]["usb"] == ["2e8a:000a"]
    assert found["links"]["zephyr"]["usb"] == []
    assert found["uart"]["tx"] == "GPIO0"
    assert "link, zephyr" in text
    assert "connect a serial adapter" in text
    assert found["names"]["tvm"] == "rpipico"
    upload = next(tool for tool in found["flash_tools"] if tool["name"] == "arduino-cli")
    assert "rp2040:rp2040:rpipico" in upload["argv"]


def test_what_is_not_known_is_said(cli: CommandLine) -> None:
    text = cli.ok("boards", "show", "nrf5340dk").out
    assert "unknown: no second source has it" in text
    assert "uart0 (TX P0.20, RX P0.22), by the board's debug probe" in text
    assert "no USB id known: give --port" in cli.ok("boards", "show", "ek_ra6m4").out
    assert "unknown" not in cli.ok("boards", "show", "rpi_pico").out


def test_timings_are_shown_only_when_asked_for(cli: CommandLine) -> None:
    assert "timing" not in cli.ok("boards", "show", "nucleo_f411re").out
    assert "cpu/timing.multiply" in cli.ok("boards", "show", "nucleo_f411re", "--explain").out


def test_what_has_changed_since_the_comparison_has_no_second_source(
    cli: CommandLine, tmp_path: Path
) -> None:
    """A copy by the same name, with more RAM."""
    own = tmp_path / "nucleo_f411re.toml"
    own.write_text('inherits = ["nucleo_f411re"]\nmemory.ram.size_bytes = 0x30000\n')
    found = cli.ok("boards", "show", own, "--explain", "--json").json
    values = {row["key"]: row for row in found["values"]}
    assert values["memory.ram.size_bytes"]["second"] is None
    assert values["memory.ram.size_bytes"]["file"] == str(own)
    assert values["memory.ram.start"]["second"] is not None
