/* SPDX-License-Identifier: Apache-2.0 */
#include "platform.h"

/* The stack grows down: the first word from its low end that lost its paint is the deepest one used. */
uint32_t stack_peak(void)
{
    const uint32_t *low = mtvm_stack_start + STACK_GUARD_BYTES / sizeof(uint32_t);

    while (low < mtvm_stack_end && *low == STACK_PAINT) {
        low++;
    }
    return (uint32_t)((uintptr_t)mtvm_stack_end - (uintptr_t)low);
}

void stack_check(void)
{
    if (mtvm_stack_start[STACK_GUARD_BYTES / sizeof(uint32_t)] != STACK_PAINT) {
        fault_report("stack overflow", NULL, 0);
        board_reset();
    }
}
