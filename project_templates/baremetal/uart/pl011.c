/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm PrimeCell UART PL011. Technical Reference Manual (DDI 0183), chapter 3.
 */
#include "board.h"
#include "platform.h"

#define UART_DR REGISTER(BOARD_UART_BASE + 0x00u)
#define UART_FR REGISTER(BOARD_UART_BASE + 0x18u)
#define UART_IBRD REGISTER(BOARD_UART_BASE + 0x24u)
#define UART_FBRD REGISTER(BOARD_UART_BASE + 0x28u)
#define UART_LCRH REGISTER(BOARD_UART_BASE + 0x2Cu)
#define UART_CR REGISTER(BOARD_UART_BASE + 0x30u)

#define FR_RX_EMPTY 0x10u
#define FR_TX_FULL 0x20u
#define LCRH_8_BITS 0x60u
#define LCRH_FIFO 0x10u
#define CR_ENABLE_TX_RX 0x301u

#ifndef BOARD_UART_DIVISOR
#define BOARD_UART_DIVISOR 1u
#endif

void uart_init(void)
{
    UART_CR = 0;
    UART_IBRD = BOARD_UART_DIVISOR;
    UART_FBRD = 0;
    /* Also latches the divisor. Switching the FIFO on drops what it holds: a host that talked first, to an
     * emulator, goes before speed. */
    UART_LCRH = (UART_FR & FR_RX_EMPTY) != 0 ? LCRH_8_BITS | LCRH_FIFO : LCRH_8_BITS;
    UART_CR = CR_ENABLE_TX_RX;
}

size_t uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;

    while (count < capacity && (UART_FR & FR_RX_EMPTY) == 0) {
        data[count++] = (uint8_t)UART_DR;
    }
    return count;
}

void uart_write(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        while ((UART_FR & FR_TX_FULL) != 0) {
        }
        UART_DR = data[i];
    }
}
