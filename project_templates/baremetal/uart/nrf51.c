/* SPDX-License-Identifier: Apache-2.0
 *
 * Nordic nRF51 UART. nRF51 Series Reference Manual v3.0, chapter 29.
 */
#include "board.h"
#include "platform.h"

#define UART_STARTRX REGISTER(BOARD_UART_BASE + 0x000u)
#define UART_STARTTX REGISTER(BOARD_UART_BASE + 0x008u)
#define UART_RXDRDY REGISTER(BOARD_UART_BASE + 0x108u)
#define UART_TXDRDY REGISTER(BOARD_UART_BASE + 0x11Cu)
#define UART_ENABLE REGISTER(BOARD_UART_BASE + 0x500u)
#define UART_PSELTXD REGISTER(BOARD_UART_BASE + 0x50Cu)
#define UART_PSELRXD REGISTER(BOARD_UART_BASE + 0x514u)
#define UART_RXD REGISTER(BOARD_UART_BASE + 0x518u)
#define UART_TXD REGISTER(BOARD_UART_BASE + 0x51Cu)
#define UART_BAUDRATE REGISTER(BOARD_UART_BASE + 0x524u)
#define GPIO_OUTSET 0x50000508u
#define GPIO_DIRSET 0x50000518u

#define ENABLE_ON 4u
#define BAUDRATE_115200 0x01D7E000u

void uart_init(void)
{
    /* The pin drives the idle level before the UART takes it over, as the manual asks. */
    REGISTER(GPIO_OUTSET) = 1u << BOARD_UART_PIN_TX;
    REGISTER(GPIO_DIRSET) = 1u << BOARD_UART_PIN_TX;
    UART_PSELTXD = BOARD_UART_PIN_TX;
    UART_PSELRXD = BOARD_UART_PIN_RX;
    UART_BAUDRATE = BAUDRATE_115200;
    UART_ENABLE = ENABLE_ON;
    UART_RXDRDY = 0;
    UART_TXDRDY = 0;
    UART_STARTTX = 1;
    UART_STARTRX = 1;
}

size_t uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;

    while (count < capacity && UART_RXDRDY != 0) {
        UART_RXDRDY = 0; /* before the read, which brings up the next byte and its event */
        data[count++] = (uint8_t)UART_RXD;
    }
    return count;
}

void uart_write(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        UART_TXD = data[i];
        while (UART_TXDRDY == 0) {
        }
        UART_TXDRDY = 0;
    }
}
