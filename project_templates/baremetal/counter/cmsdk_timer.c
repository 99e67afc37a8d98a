/* SPDX-License-Identifier: Apache-2.0
 *
 * Arm CMSDK APB timer, 32 bits, counts down. DDI 0479, section 4.4.
 */
#include "board.h"
#include "platform.h"

#define TIMER_CTRL REGISTER(BOARD_COUNTER_BASE + 0x00u)
#define TIMER_VALUE REGISTER(BOARD_COUNTER_BASE + 0x04u)
#define TIMER_RELOAD REGISTER(BOARD_COUNTER_BASE + 0x08u)

#define CTRL_ENABLE 1u

void counter_init(void)
{
    TIMER_CTRL = 0;
    TIMER_VALUE = UINT32_MAX;
    TIMER_RELOAD = UINT32_MAX;
    TIMER_CTRL = CTRL_ENABLE;
}

uint32_t counter_read(void)
{
    return UINT32_MAX - TIMER_VALUE;
}
