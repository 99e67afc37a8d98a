/* SPDX-License-Identifier: Apache-2.0 */
#include "timing.h"

enum { SP = 13, PC = 15 };

static bool matches(unsigned word, unsigned mask, unsigned value)
{
    return (word & mask) == value;
}

static unsigned field(unsigned word, unsigned low, unsigned bits)
{
    return (word >> low) & ((1u << bits) - 1);
}

static uint32_t bit(unsigned position)
{
    return (uint32_t)1 << position;
}

static unsigned ones(unsigned word)
{
    unsigned count = 0;

    for (; word != 0; word &= word - 1) {
        count++;
    }
    return count;
}

static struct count_timing of_kind(enum count_time kind)
{
    const struct count_timing insn = {.kind = kind};
    return insn;
}

static struct count_timing branch(enum count_time kind, bool is_conditional)
{
    const struct count_timing insn = {
        .kind = kind, .is_branch = true, .is_conditional = is_conditional};
    return insn;
}

static struct count_timing load(unsigned target, uint32_t address)
{
    const struct count_timing insn = {.kind = COUNT_TIME_LOAD,
                                      .is_branch = target == PC,
                                      .address = address,
                                      .loaded = bit(target)};
    return insn;
}

static struct count_timing store(enum count_time kind, uint32_t address)
{
    const struct count_timing insn = {.kind = kind, .address = address};
    return insn;
}

static struct count_timing multiple(unsigned registers, bool loads_pc)
{
    const struct count_timing insn = {
        .kind = loads_pc ? COUNT_TIME_MULTIPLE_PC : COUNT_TIME_MULTIPLE,
        .registers = registers,
        .is_branch = loads_pc};
    return insn;
}

static struct count_timing it(unsigned mask)
{
    struct count_timing insn = of_kind(COUNT_TIME_OTHER);

    insn.predicates = (mask & 1) ? 4 : (mask & 2) ? 3 : (mask & 4) ? 2 : 1;
    return insn;
}

static struct count_timing misc16(unsigned hw)
{
    if (matches(hw, 0xFE00, 0xB400)) { /* PUSH */
        return multiple(ones(hw & 0x1FF), false);
    }
    if (matches(hw, 0xFE00, 0xBC00)) { /* POP */
        return multiple(ones(hw & 0x1FF), (hw & 0x100) != 0);
    }
    if (matches(hw, 0xF500, 0xB100)) { /* CBZ, CBNZ */
        return branch(COUNT_TIME_BRANCH, true);
    }
    if (matches(hw, 0xFF00, 0xBF00) && (hw & 0xF) != 0) {
        return it(hw & 0xF);
    }
    return of_kind(COUNT_TIME_OTHER);
}

static struct count_timing thumb16(unsigned hw)
{
    const uint32_t base = bit(field(hw, 3, 3));
    const bool loads = (hw & 0x0800) != 0;

    switch (hw >> 12) {
    case 0x4:
        if (matches(hw, 0xFFC0, 0x4340)) { /* MULS */
            return of_kind(COUNT_TIME_MULTIPLY);
        }
        if (matches(hw, 0xFF00, 0x4700)              /* BX, BLX */
            || matches(hw, 0xFD87, 0x4487)) { /* ADD, MOV to pc */
            return branch(COUNT_TIME_BRANCH, false);
        }
        return loads ? load(field(hw, 8, 3), 0) /* literal */ : of_kind(COUNT_TIME_OTHER);
    case 0x5: { /* register offset: STR STRH STRB LDRSB LDR ... */
        const uint32_t address = base | bit(field(hw, 6, 3));
        return field(hw, 9, 3) >= 3 ? load(field(hw, 0, 3), address)
                                    : store(COUNT_TIME_STORE_REGISTER, address);
    }
    case 0x6:
    case 0x7:
    case 0x8:
        return loads ? load(field(hw, 0, 3), base) : store(COUNT_TIME_STORE, base);
    case 0x9:
        return loads ? load(field(hw, 8, 3), bit(SP)) : store(COUNT_TIME_STORE, bit(SP));
    case 0xB:
        return misc16(hw);
    case 0xC: /* STM, LDM */
        return multiple(ones(hw & 0xFF), false);
    case 0xD: /* but for UDF and SVC */
        return field(hw, 8, 4) < 14 ? branch(COUNT_TIME_BRANCH, true)
                                    : of_kind(COUNT_TIME_OTHER);
    case 0xE:
        return branch(COUNT_TIME_BRANCH, false);
    default:
        return of_kind(COUNT_TIME_OTHER);
    }
}

/* LDM, STM, LDRD, STRD, exclusives, table branches. */
static struct count_timing multiple32(unsigned first, unsigned second)
{
    const uint32_t base = bit(field(first, 0, 4));
    const bool loads = (first & 0x0010) != 0;

    if ((first & 0x0040) == 0) {
        return multiple(ones(second), loads && (second & 0x8000) && first != 0xE89F /* CLRM */);
    }
    if (matches(first, 0xFFF0, 0xE8D0) && matches(second, 0xFFE0, 0xF000)) { /* TBB, TBH */
        return load(PC, base | bit(field(second, 0, 4)));
    }
    if (matches(first, 0xFFF0, 0xE840) && matches(second, 0xF000, 0xF000)) { /* TT */
        return of_kind(COUNT_TIME_OTHER);
    }
    if (matches(first, 0xFFE0, 0xE840) || matches(first, 0xFFE0, 0xE8C0)) {
        /* Exclusive, acquire, release: the manuals let STREX be pipelined as loads are. */
        return load(field(second, loads ? 12 : 8, 4), base);
    }
    return multiple(2, false); /* LDRD, STRD */
}

static struct count_timing branch32(unsigned first, unsigned second)
{
    if (matches(second, 0xD000, 0xD000)) { /* BL */
        return branch(COUNT_TIME_CALL, false);
    }
    if (matches(second, 0xD000, 0x9000)) { /* B.W */
        return branch(COUNT_TIME_BRANCH, false);
    }
    if (matches(second, 0xD000, 0x8000) && field(first, 7, 3) != 7) { /* B<c>.W */
        return branch(COUNT_TIME_BRANCH, true);
    }
    if (matches(second, 0xF001, 0xC001) && matches(first, 0xFF80, 0xF000)) {
        return branch(field(first, 0, 4) == 15 ? COUNT_TIME_LOOP_END /* LE, LETP */
                                               : COUNT_TIME_BRANCH /* WLS, WLSTP */,
                      true);
    }
    return of_kind(COUNT_TIME_OTHER);
}

static struct count_timing single32(unsigned first, unsigned second)
{
    const unsigned target = field(second, 12, 4);
    const unsigned base = field(first, 0, 4);
    const bool is_word = field(first, 5, 2) == 2;
    const bool by_register = base != PC && !(first & 0x0080) && !(second & 0x0800);
    const uint32_t address =
        (base == PC ? 0 : bit(base)) | (by_register ? bit(field(second, 0, 4)) : 0);

    if ((first & 0x0010) == 0) {
        return store(by_register ? COUNT_TIME_STORE_REGISTER : COUNT_TIME_STORE, address);
    }
    if (target == PC && !is_word) { /* PLD, PLI */
        return of_kind(COUNT_TIME_OTHER);
    }
    return load(target, address);
}

static struct count_timing multiply32(unsigned first, unsigned second)
{
    const unsigned operation = field(first, 4, 3);
    const bool adds = field(second, 12, 4) != 15;

    if ((first & 0x0080) == 0) {
        return of_kind(adds ? COUNT_TIME_MULTIPLY_ADD : COUNT_TIME_MULTIPLY);
    }
    if (operation == 1 || operation == 3) {
        return of_kind(COUNT_TIME_DIVIDE);
    }
    return of_kind(operation < 4 ? COUNT_TIME_MULTIPLY_LONG : COUNT_TIME_MULTIPLY_ADD_LONG);
}

static struct count_timing float_memory(unsigned first, unsigned second)
{
    const unsigned words = field(second, 8, 4) == 11 ? 2 : 1;

    if (matches(first, 0xFFE0, 0xEC40)) { /* VMOV between two core registers and the FPU */
        return of_kind(COUNT_TIME_FLOAT_PAIR);
    }
    return multiple(matches(first, 0xFF20, 0xED00) ? words : second & 0xFF, false);
}

static struct count_timing float_data(unsigned first, unsigned second)
{
    const unsigned operation = first & 0xFFB0;

    if (operation == 0xEE00 || operation == 0xEE10      /* VMLA, VNMLA, VMLS, ... */
        || operation == 0xEE90 || operation == 0xEEA0) { /* VFNMA, VFMA, ... */
        return of_kind(COUNT_TIME_FLOAT_MULTIPLY_ADD);
    }
    if (operation == 0xEE80                                                          /* VDIV */
        || (matches(first, 0xFFBF, 0xEEB1) && matches(second, 0x00C0, 0x00C0))) { /* VSQRT */
        return of_kind(COUNT_TIME_FLOAT_DIVIDE);
    }
    return of_kind(COUNT_TIME_FLOAT);
}

/* Whether Helium's pipe for products and floats has it: else the one for integers. */
static bool multiplies(unsigned first, unsigned second)
{
    if (matches(first, 0xEF80, 0xEF00)) { /* three vectors */
        return matches(second, 0x0F51, 0x0950) || matches(second, 0x0F51, 0x0B40)
               || field(second, 8, 4) >= 12;
    }
    if ((first & 0xEF00) == 0xEF00) { /* two, or one and an immediate */
        return matches(first, 0xFFB2, 0xFFB2) /* VCVT, VRINT */
               || (matches(first, 0xFFB3, 0xFFB1) && (second & 0x0400)) /* VABS, VNEG of floats */;
    }
    if (matches(first, 0xEF80, 0xEE80)) {
        const bool sums_up = matches(second, 0x0050, 0x0000) && !matches(first, 0xEFF0, 0xEEE0);
        return sums_up && !matches(second, 0x0101, 0x0101) /* VABAV */;
    }
    if (matches(second, 0x0F00, 0x0E00)) {
        const bool narrows = matches(first, 0xEFB1, 0xEE31) && matches(second, 0x0071, 0x0001)
                             && !matches(first, 0xEFBF, 0xEE3F) /* VCVTB */;
        const bool shifts = matches(first, 0xFFB0, 0xEE30) && matches(second, 0x1E60, 0x1E60);
        const bool reverses = matches(first, 0xFF80, 0xFE00) && matches(second, 0x1E70, 0x1E60);
        return !narrows && !shifts && !reverses;
    }
    if ((first & 0x0001) == 0) { /* VQDMULL, and floats with a scalar: else VADC, VADD, ... */
        return matches(first, 0xEFB0, 0xEE30)
               && (matches(second, 0x0051, 0x0001) || matches(second, 0x0040, 0x0040));
    }
    if (matches(first, 0xEFB0, 0xEE30)) { /* VCMP and VPT of floats, but for VPSEL */
        return !(matches(first, 0xFFB0, 0xFE30) && matches(second, 0x1051, 0x0001));
    }
    return matches(first, 0xFF80, 0xFE00); /* VCMP and VPT: else VADD, VSUB, VIDUP, ... */
}

static struct count_timing vector(unsigned first, unsigned second)
{
    if (matches(first, 0xFFBF, 0xFE31) && matches(second, 0x1FFF, 0x0F4D)) { /* VPST, VPNOT */
        return of_kind(COUNT_TIME_OTHER);
    }
    return of_kind(multiplies(first, second) ? COUNT_TIME_VECTOR_MULTIPLY
                                             : COUNT_TIME_VECTOR_INTEGER);
}

/* Everything that the architecture counts among coprocessors: FPU and Helium. */
static struct count_timing coprocessor32(unsigned first, unsigned second)
{
    const unsigned number = field(second, 8, 4);
    const bool is_memory = (first & 0x0200) == 0;

    if ((first & 0xEF00) == 0xEF00) {
        return vector(first, second);
    }
    if (number >= 14 && is_memory) {
        return matches(first, 0xFFE0, 0xEC00) /* VMOV of two lanes */
                   ? of_kind((first & 0x0010) ? COUNT_TIME_VECTOR_INTEGER
                                              : COUNT_TIME_VECTOR_MULTIPLY)
                   : of_kind(COUNT_TIME_VECTOR_MEMORY);
    }
    if (number >= 14) {
        return vector(first, second);
    }
    if (number == 8 && is_memory) { /* VCMLA, VCADD of floats */
        return of_kind(COUNT_TIME_VECTOR_MULTIPLY);
    }
    if (number < 9 || number > 11) {
        return of_kind(COUNT_TIME_OTHER);
    }
    if (is_memory) {
        return float_memory(first, second);
    }
    if ((second & 0x0010) == 0) {
        return float_data(first, second);
    }
    if (number == 11) { /* VMOV from a lane; VMOV to a lane, VDUP */
        return of_kind((first & 0x0010) ? COUNT_TIME_VECTOR_MULTIPLY : COUNT_TIME_VECTOR_INTEGER);
    }
    return of_kind(COUNT_TIME_FLOAT);
}

static struct count_timing thumb32(unsigned first, unsigned second)
{
    if (matches(first, 0xFE00, 0xE800)) {
        return multiple32(first, second);
    }
    if (matches(first, 0xEC00, 0xEC00)) {
        return coprocessor32(first, second);
    }
    if (matches(first, 0xF800, 0xF000) && (second & 0x8000)) {
        return branch32(first, second);
    }
    if (matches(first, 0xFE00, 0xF800)) {
        return single32(first, second);
    }
    if (matches(first, 0xFF00, 0xFB00)) {
        return multiply32(first, second);
    }
    return of_kind(COUNT_TIME_OTHER);
}

struct count_timing count_timing_thumb(const uint8_t *bytes)
{
    const unsigned first = (unsigned)bytes[0] | (unsigned)bytes[1] << 8;

    return first < 0xE800 ? thumb16(first)
                          : thumb32(first, (unsigned)bytes[2] | (unsigned)bytes[3] << 8);
}
