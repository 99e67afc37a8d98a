/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm CMSDK APB UART. Cortex-M System Design Kit Technical Reference Manual (DDI 0479), section 4.3.
 */
#include "board.h"
#include "platform.h"

#define UART_DATA REGISTER(BOARD_UART_BASE + 0x00u)
#define UART_STATE REGISTER(BOARD_UART_BASE + 0x04u)
#define UART_CTRL REGISTER(BOARD_UART_BASE + 0x08u)
#define UART_BAUDDIV REGISTER(BOARD_UART_BASE + 0x10u)

#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_RX 3u

#ifndef BOARD_UART_DIVISOR
#define BOARD_UART_DIVISOR 16u /* the smallest that the hardware takes */
#endif

void uart_init(void)
{
    UART_BAUDDIV = BOARD_UART_DIVISOR;
    UART_CTRL = CTRL_TX_RX;
    /* QEMU holds back what came before the receiver was on; a read makes it look again, at once instead of within
     * a second. */
    if ((UART_STATE & STATE_RX_FULL) == 0) {
        (void)UART_DATA;
    }
}

size_t uart_read(uint8_t *data, size_t capacity)
{
    size_t count = 0;

    while (count < capacity && (UART_STATE & STATE_RX_FULL) != 0) {
        data[count++] = (uint8_t)UART_DATA;
    }
    return count;
}

void uart_write(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        while ((UART_STATE & STATE_TX_FULL) != 0) {
        }
        UART_DATA = data[i];
    }
}
