/* SPDX-License-Identifier: Apache-2.0
 *
 * The system counter of Arm's SSE-300 (control frame). SSE-300 Technical Reference Manual (101773), section 6.3.
 */
#include "board.h"
#include "platform.h"

#define CNTCR REGISTER(BOARD_COUNTER_BASE + 0x00u)
#define CNTCV_LOW REGISTER(BOARD_COUNTER_BASE + 0x08u)

#define CNTCR_ENABLE 1u

void counter_init(void)
{
    CNTCR = CNTCR_ENABLE;
}

uint32_t counter_read(void)
{
    return CNTCV_LOW;
}
