/* SPDX-License-Identifier: Apache-2.0 */
#include "decode.h"

static unsigned halfword(const uint8_t *bytes)
{
    return (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
}

static bool matches(unsigned word, unsigned mask, unsigned value)
{
    return (word & mask) == value;
}

static struct count_insn thumb16(unsigned hw)
{
    struct count_insn insn = {2, COUNT_FLOW_OTHER, false, 0, 0};

    if (matches(hw, 0xFF80, 0x4780)) { /* BLX, BLXNS */
        insn.flow = COUNT_FLOW_CALL;
    } else if (matches(hw, 0xFF80, 0x4700)     /* BX, BXNS */
               || matches(hw, 0xFF87, 0x4687)  /* MOV pc, Rm */
               || matches(hw, 0xFF87, 0x4487)  /* ADD pc, Rm */
               || matches(hw, 0xFF00, 0xBD00)) /* POP {..., pc} */ {
        insn.flow = COUNT_FLOW_INDIRECT;
    }
    if (matches(hw, 0xF000, 0x5000)) { /* register offset: STR STRH STRB LDRSB LDR ... */
        insn.is_load = ((hw >> 9) & 7) >= 3;
    } else if (matches(hw, 0xF800, 0x4800)) { /* LDR literal */
        insn.is_load = true;
    } else { /* immediate offset, stack, multiple, PUSH and POP */
        insn.is_load = (hw & 0x0800) != 0;
    }
    return insn;
}

static struct count_insn thumb32(unsigned first, unsigned second)
{
    struct count_insn insn = {4, COUNT_FLOW_OTHER, false, 0, 0};

    if (matches(first, 0xF800, 0xF000) && matches(second, 0xD000, 0xD000)) { /* BL */
        insn.flow = COUNT_FLOW_CALL;
    } else if ((matches(first, 0xFE50, 0xE810) && (second & 0x8000)) /* LDM {..., pc} */
               || (matches(first, 0xFF70, 0xF850) && matches(second, 0xF000, 0xF000))) {
        insn.flow = COUNT_FLOW_INDIRECT; /* ... LDR.W pc */
    }
    /* Bit 20 is L in each 32-bit encoding that accesses memory, Helium's and VFP's too. */
    insn.is_load = (first & 0x0010) != 0;
    if (matches(first, 0xFFF0, 0xE840) && !matches(second, 0xF000, 0xF000)) { /* STREX, not TT */
        insn.atomic_stores = 1;
    } else if (matches(first, 0xFFF0, 0xE8C0) && (second & 0x0040)) { /* STREXB, STLEX, ... */
        insn.atomic_stores = 1;
    }
    return insn;
}

struct count_insn count_decode_thumb(const uint8_t *bytes)
{
    const unsigned first = halfword(bytes);

    return first < 0xE800 ? thumb16(first) : thumb32(first, halfword(bytes + 2));
}

static struct count_insn rv16(unsigned hw)
{
    struct count_insn insn = {2, COUNT_FLOW_OTHER, false, 0, 0};
    const bool names_a_register = (hw & 0x0F80) != 0;

    if (matches(hw, 0xE003, 0x2001)) { /* C.JAL */
        insn.flow = COUNT_FLOW_CALL;
    } else if (matches(hw, 0xF07F, 0x9002) && names_a_register) { /* C.JALR */
        insn.flow = COUNT_FLOW_CALL;
    } else if (matches(hw, 0xF07F, 0x8002) && names_a_register) { /* C.JR */
        insn.flow = COUNT_FLOW_INDIRECT;
    }
    /* C.LW C.FLW C.FLD and their stack forms have the top bit clear, the stores have it set. */
    insn.is_load = (hw & 0x8000) == 0;
    return insn;
}

static struct count_insn rv32(uint32_t word)
{
    struct count_insn insn = {4, COUNT_FLOW_OTHER, false, 0, 0};
    const uint32_t opcode = word & 0x7F;
    const bool links = (word & 0xF80) != 0;

    if ((opcode == 0x6F || opcode == 0x67) && links) { /* JAL, JALR */
        insn.flow = COUNT_FLOW_CALL;
    } else if (opcode == 0x67 || word == 0x30200073u || word == 0x10200073u) { /* JR, MRET, SRET */
        insn.flow = COUNT_FLOW_INDIRECT;
    }
    insn.is_load = opcode == 0x03 || opcode == 0x07; /* LOAD, LOAD-FP */
    if (opcode == 0x2F) { /* AMO: LR, SC, or both ways */
        const uint32_t function = word >> 27;
        insn.atomic_loads = function == 3 ? 0 : 1;
        insn.atomic_stores = function == 2 ? 0 : 1;
    }
    return insn;
}

struct count_insn count_decode_rv32(const uint8_t *bytes)
{
    if ((bytes[0] & 3) != 3) {
        return rv16(halfword(bytes));
    }
    return rv32((uint32_t)halfword(bytes) | (uint32_t)halfword(bytes + 2) << 16);
}
