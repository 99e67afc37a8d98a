/* SPDX-License-Identifier: Apache-2.0
 *
 * Nordic nRF51 TIMER0, the one that has 32 bits. nRF51 Series Reference Manual v3.0, chapter 18.
 */
#include "board.h"
#include "platform.h"

#define TIMER_START REGISTER(BOARD_COUNTER_BASE + 0x000u)
#define TIMER_CLEAR REGISTER(BOARD_COUNTER_BASE + 0x00Cu)
#define TIMER_CAPTURE0 REGISTER(BOARD_COUNTER_BASE + 0x040u)
#define TIMER_MODE REGISTER(BOARD_COUNTER_BASE + 0x504u)
#define TIMER_BITMODE REGISTER(BOARD_COUNTER_BASE + 0x508u)
#define TIMER_PRESCALER REGISTER(BOARD_COUNTER_BASE + 0x510u)
#define TIMER_CC0 REGISTER(BOARD_COUNTER_BASE + 0x540u)

#define MODE_TIMER 0u
#define BITMODE_32 3u

void counter_init(void)
{
    TIMER_MODE = MODE_TIMER;
    TIMER_BITMODE = BITMODE_32;
    TIMER_PRESCALER = 0;
    TIMER_CLEAR = 1;
    TIMER_START = 1;
}

uint32_t counter_read(void)
{
    TIMER_CAPTURE0 = 1;
    return TIMER_CC0;
}
