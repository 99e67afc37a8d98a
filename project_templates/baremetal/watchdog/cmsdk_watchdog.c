/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm CMSDK APB watchdog, 32 bits, counts down. Cortex-M System Design Kit Technical Reference Manual (DDI 0479),
 * chapter 4, APB watchdog. When it expires it raises the NMI, and begins again; when it expires once more before the
 * interrupt was cleared, it resets the system: whatever keeps the NMI's handler from doing so.
 */
#include "board.h"
#include "platform.h"

#define WDOG_LOAD REGISTER(BOARD_WATCHDOG_BASE + 0x000u)
#define WDOG_CONTROL REGISTER(BOARD_WATCHDOG_BASE + 0x008u)
#define WDOG_INTCLR REGISTER(BOARD_WATCHDOG_BASE + 0x00Cu)
#define WDOG_RIS REGISTER(BOARD_WATCHDOG_BASE + 0x010u)
#define WDOG_LOCK REGISTER(BOARD_WATCHDOG_BASE + 0xC00u)

#define CONTROL_INTERRUPT_AND_RESET 3u
#define RIS_EXPIRED 1u

/* Any other value than the first makes all other registers read-only: a program that has gone astray can't stop it. */
#define LOCK_OPEN 0x1ACCE551u
#define LOCK_CLOSED 0u

void watchdog_start(void)
{
    /* A reset of the core alone leaves it running. */
    WDOG_LOCK = LOCK_OPEN;
    WDOG_CONTROL = 0;
    WDOG_INTCLR = 1;
    WDOG_LOAD = BOARD_WATCHDOG_TICKS;
    WDOG_CONTROL = CONTROL_INTERRUPT_AND_RESET;
    WDOG_LOCK = LOCK_CLOSED;
}

void watchdog_kick(void)
{
    if ((WDOG_RIS & RIS_EXPIRED) != 0) {
        return;
    }
    WDOG_LOCK = LOCK_OPEN;
    WDOG_INTCLR = 1; /* any value: loads the count again */
    WDOG_LOCK = LOCK_CLOSED;
}
