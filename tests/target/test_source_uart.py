"""What a board's source says of its console, in each chip maker's spelling of pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.devicetree import DeviceTreeError, read
from benchmarks.source_uart import page_facts, uart_facts

SOURCE = """
#include "own-pinctrl.dtsi"
/ {
    chosen { zephyr,console = &%(label)s; };
    soc { %(label)s: uart { current-speed = <115200>; pinctrl-0 = <%(pins)s>; %(more)s }; };
};
"""


def facts(folder: Path, source: str, pins: str = "") -> dict[str, object]:
    board = folder / "boards" / "maker" / "own"
    board.mkdir(parents=True, exist_ok=True)
    (board / "own.dts").write_text(source)
    (board / "own-pinctrl.dtsi").write_text(pins)
    root = read(board / "own.dts", [])
    return {fact.kind: fact.value for fact in uart_facts(root, board / "own.dts", folder)}


@pytest.mark.parametrize(
    ("block", "tx", "rx"),
    [
        ("psels = <NRF_PSEL(UART_TX, 0, 6)>, <NRF_PSEL(UART_RX, 1, 10)>;", "P0.06", "P1.10"),
        ("pinmux = <UART0_TX_P0>; }; g { pinmux = <UART0_RX_P1>;", "GPIO0", "GPIO1"),
        ("pinmux = <UART0_TX_GPIO43>, <UART0_RX_GPIO44>;", "GPIO43", "GPIO44"),
        ("pinmux = <USART0_TX_PA9_NORMP>, <USART0_RX_PA10_NORMP>;", "PA9", "PA10"),
        ("pinmux = <UART0_RX_PTB16>, <UART0_TX_PTB17>;", "PTB17", "PTB16"),
        (
            "pinmux = <&iomuxc_gpio_ad_25_lpuart1_rx>, <&iomuxc_gpio_ad_24_lpuart1_tx>;",
            "GPIO_AD_24",
            "GPIO_AD_25",
        ),
        ("pinmux = <FC4_P0_PIO1_8>, <FC4_P1_PIO1_9>;", "P1_9", "P1_8"),
        ("pinmux = <PA8A_UART_RXD>, <PA9A_UART_TXD>;", "PA9", "PA8"),
        ("pinmux = <P301_RXD2>, <P302_TXD2>;", "P302", "P301"),
        ("/* tx rx */ psels = <RA_PSEL(RA_PSEL_SCI_0, 4, 11)>,"
         "<RA_PSEL(RA_PSEL_SCI_0, 10, 5)>;", "P411", "PA05"),
    ],
)  # fmt: skip
def test_pins_of_lists(tmp_path: Path, block: str, tx: str, rx: str) -> None:
    found = facts(
        tmp_path,
        SOURCE % {"label": "uart0", "pins": "&own_default", "more": ""},
        f"&pinctrl {{\n own_default: own {{ g {{ {block} }}; }};\n"
        " other: own2 { g { pinmux = <UART0_TX_P9>; }; };\n};\n",
    )
    assert found == {"uart.name": "uart0", "uart.baud": 115200, "uart.tx": tx, "uart.rx": rx}


def test_pins_of_nodes_names(tmp_path: Path) -> None:
    pins = "&usart2_tx_pa2 &usart2_rx_pa3"
    found = facts(tmp_path, SOURCE % {"label": "usart2", "pins": pins, "more": ""})
    assert (found["uart.tx"], found["uart.rx"]) == ("PA2", "PA3")


def test_pads_of_a_sercom(tmp_path: Path) -> None:
    """Which pad sends and which receives, the UART's node says."""
    found = facts(
        tmp_path,
        SOURCE % {"label": "sercom5", "pins": "&own", "more": "rxpo = <3>; txpo = <1>;"},
        "&pinctrl {\n own: own { g { pinmux = <PB23D_SERCOM5_PAD3>,"
        " <PB22D_SERCOM5_PAD2>; }; };\n};",
    )
    assert (found["uart.tx"], found["uart.rx"]) == ("PB22", "PB23")


def test_list_that_is_not_closed(tmp_path: Path) -> None:
    source = SOURCE % {"label": "uart0", "pins": "&own", "more": ""}
    facts(tmp_path, source)
    file = tmp_path / "boards/maker/own/own.dts"
    root = read(file, [])
    file.with_name("own-pinctrl.dtsi").write_text(" own: own { g {")
    with pytest.raises(DeviceTreeError, match="own is not closed"):
        list(uart_facts(root, file, tmp_path))


def test_consoles_on_the_chips_usb(tmp_path: Path) -> None:
    source = SOURCE % {"label": "cdc", "pins": "", "more": 'compatible = "zephyr,cdc-acm-uart";'}
    kconfig = tmp_path / "subsys/usb/device/Kconfig"
    kconfig.parent.mkdir(parents=True)
    kconfig.write_text(
        'config USB_DEVICE_VID\n\thex "Vendor"\n\tdefault 0x2FE3\n'
        'config USB_DEVICE_PID\n\thex "Product"\n\tdefault 0x0100\n'
    )
    found = facts(tmp_path, source)
    assert found["uart.via"] == "usb"
    assert found["platform.zephyr.usb"] == "2fe3:0100"
    board = tmp_path / "boards/maker/own"
    (board / "own_defconfig").write_text(
        "CONFIG_USB_DEVICE_VID=0x2886\nCONFIG_USB_DEVICE_PID=0x802D\n"
    )
    assert facts(tmp_path, source)["platform.zephyr.usb"] == "2886:802d"


def test_boards_without_a_console(tmp_path: Path) -> None:
    assert facts(tmp_path, "/ { chosen { zephyr,sram = &ram; }; };") == {}
    assert facts(tmp_path, "/ { };") == {}


def test_page_that_sends_to_the_pins(tmp_path: Path) -> None:
    page = tmp_path / "boards/own/doc/index.rst"
    page.parent.mkdir(parents=True)
    page.write_text("Note that ST-Link Virtual Com\nPort is not wired to the chip.")
    (found,) = page_facts(page.parent.parent, tmp_path)
    assert (found.kind, found.value, found.file) == ("uart.via", "pins", "boards/own/doc/index.rst")
    page.write_text("Virtual COM port of the ST-LINK")
    assert not list(page_facts(page.parent.parent, tmp_path))
