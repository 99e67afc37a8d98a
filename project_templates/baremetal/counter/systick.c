/* SPDX-License-Identifier: Apache-2.0
 *
 * SysTick, which every M-profile core has: 24 bits, counts down. An interrupt counts the wraps, so prefer a
 * counter of 32 bits where instructions are counted exactly. Armv7-M ARM B3.3.
 */
#include "board.h"
#include "platform.h"

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define SYST_CVR REGISTER(0xE000E018u)

#define SCB_ICSR REGISTER(0xE000ED04u)

#define ICSR_PENDSTSET 0x4000000u
#define CSR_ENABLE_INTERRUPT_CORE_CLOCK 7u
#define TICKS_PER_WRAP 0x1000000u

void mtvm_systick(void);

static volatile uint32_t wraps;

void mtvm_systick(void)
{
    wraps++;
}

void counter_init(void)
{
    SYST_RVR = TICKS_PER_WRAP - 1u;
    SYST_CVR = 0;
    SYST_CSR = CSR_ENABLE_INTERRUPT_CORE_CLOCK;
    /* It counts from zero to the reload value first, which is no wrap. */
    while (SYST_CVR == 0) {
    }
}

uint32_t counter_read(void)
{
    uint32_t before;
    uint32_t pending;
    uint32_t value;

    /* A wrap between the reads would pair the new count with the old value, and one whose interrupt is still to
     * come would be missed. */
    do {
        before = wraps;
        value = SYST_CVR;
        pending = SCB_ICSR & ICSR_PENDSTSET;
        if (pending != 0) {
            value = SYST_CVR;
        }
    } while (before != wraps);
    return (before + (pending != 0 ? 1u : 0u)) * TICKS_PER_WRAP + (TICKS_PER_WRAP - 1u - value);
}
