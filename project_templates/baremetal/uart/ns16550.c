/* SPDX-License-Identifier: Apache-2.0
 *
 * The 16550 and its descendants, registers one byte apart. National Semiconductor PC16550D, section 8.
 */
#include "board.h"
#include "platform.h"

#define UART_RBR REGISTER8(BOARD_UART_BASE + 0u) /* reads receive, writes send; divisor if DLAB */
#define UART_IER REGISTER8(BOARD_UART_BASE + 1u)
#define UART_FCR REGISTER8(BOARD_UART_BASE + 2u)
#define UART_LCR REGISTER8(BOARD_UART_BASE + 3u)
#define UART_LSR REGISTER8(BOARD_UART_BASE + 5u)

#define FCR_ENABLE 0x01u
#define LCR_8_BITS 0x03u
#define LCR_DLAB 0x80u
#define LSR_DATA_READY 0x01u
#define LSR_TX_EMPTY 0x20u

#ifndef BOARD_UART_DIVISOR
#define BOARD_UART_DIVISOR 1u
#endif

void uart_init(void)
{
    UART_IER = 0;
    UART_LCR = LCR_DLAB;
    UART_RBR = (uint8_t)(BOARD_UART_DIVISOR & 0xFFu);
    UART_IER = (uint8_t)(BOARD_UART_DIVISOR >> 8);
    UART_LCR = LCR_8_BITS;
    /* Switching the FIFO on drops what it holds: a host that talked first, to an emulator, goes before speed. */
    if ((UART_LSR & LSR_DATA_READY) == 0) {
        UART_FCR = FCR_ENABLE;
    }
}

size_t uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;

    while (count < capacity && (UART_LSR & LSR_DATA_READY) != 0) {
        data[count++] = UART_RBR;
    }
    return count;
}

void uart_write(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        while ((UART_LSR & LSR_TX_EMPTY) == 0) {
        }
        UART_RBR = data[i];
    }
}
