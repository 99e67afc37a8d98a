/* SPDX-License-Identifier: Apache-2.0 */
#include "timing.h"

static struct count_timing of_kind(enum count_time kind)
{
    const struct count_timing insn = {.kind = kind};
    return insn;
}

static struct count_timing branch(void)
{
    const struct count_timing insn = {
        .kind = COUNT_TIME_BRANCH, .is_branch = true, .is_conditional = true};
    return insn;
}

static struct count_timing rv16(unsigned hw)
{
    const unsigned quadrant = hw & 3;
    const unsigned function = hw >> 13;

    if (quadrant == 1 && (function == 1 || function == 5)) { /* C.JAL, C.J */
        return of_kind(COUNT_TIME_JUMP);
    }
    if (quadrant == 1 && function >= 6) { /* C.BEQZ, C.BNEZ */
        return branch();
    }
    if (quadrant == 2 && function == 4) { /* C.JR, C.JALR; else C.MV, C.ADD, C.EBREAK */
        const bool jumps = (hw & 0x007C) == 0 && (hw & 0x0F80) != 0;
        return of_kind(jumps ? COUNT_TIME_JUMP : COUNT_TIME_OTHER);
    }
    if (quadrant != 1 && (function & 3) != 0) { /* else C.ADDI4SPN, C.SLLI */
        return of_kind(function < 4 ? COUNT_TIME_LOAD : COUNT_TIME_STORE);
    }
    return of_kind(COUNT_TIME_OTHER);
}

static struct count_timing rv32(uint32_t word)
{
    const unsigned function = (word >> 12) & 7;

    switch (word & 0x7F) {
    case 0x03: /* LOAD */
    case 0x07: /* LOAD-FP */
    case 0x2F: /* AMO: as the load that it begins with */
        return of_kind(COUNT_TIME_LOAD);
    case 0x23: /* STORE */
    case 0x27: /* STORE-FP */
        return of_kind(COUNT_TIME_STORE);
    case 0x63: /* BRANCH */
        return branch();
    case 0x67: /* JALR */
    case 0x6F: /* JAL */
        return of_kind(COUNT_TIME_JUMP);
    case 0x33: /* OP */
        if (word >> 25 != 1) {
            return of_kind(COUNT_TIME_OTHER);
        }
        return of_kind(function >= 4   ? COUNT_TIME_DIVIDE
                       : function == 0 ? COUNT_TIME_MULTIPLY
                                       : COUNT_TIME_MULTIPLY_LONG);
    default:
        return of_kind(COUNT_TIME_OTHER);
    }
}

struct count_timing count_timing_rv32(const uint8_t *bytes)
{
    const uint32_t low = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;

    return (low & 3) != 3 ? rv16(low)
                          : rv32(low | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
}
