/* SPDX-License-Identifier: Apache-2.0
 *
 * The cycle counter of a RISC-V core. Privileged Architecture 1.10, section 3.1.11.
 */
#include "platform.h"

void counter_init(void)
{
}

uint32_t counter_read(void)
{
    uint32_t value;

    __asm__ volatile("csrr %0, mcycle" : "=r"(value));
    return value;
}
