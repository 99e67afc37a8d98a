/* SPDX-License-Identifier: Apache-2.0 */
/* What the counter has to know of an instruction, from its bytes alone. */
#ifndef MTVM_COUNT_DECODE_H
#define MTVM_COUNT_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum count_flow {
    COUNT_FLOW_OTHER,
    COUNT_FLOW_CALL,    /* leaves the address of the next instruction in a link register */
    COUNT_FLOW_INDIRECT /* goes where a register or memory says: every kind of return is one */
};

struct count_insn {
    size_t size; /* 2 or 4 */
    enum count_flow flow;
    /* Which way data moves if the instruction touches memory; means nothing if it does not. */
    bool is_load;
    /* Exclusives and atomics: QEMU makes several accesses of one, so they count by execution. */
    unsigned atomic_loads;
    unsigned atomic_stores;
};

/*
 * bytes: four, that begin with the instruction as it lies in memory, little endian. How long it is
 * they say themselves: at the end of a page QEMU peeks at the next instruction, and counts what it
 * saw for a part of the one before.
 */
typedef struct count_insn count_decoder(const uint8_t *bytes);

count_decoder count_decode_thumb; /* ARMv8-M Architecture Reference Manual, chapter C2 */
count_decoder count_decode_rv32;  /* RISC-V Unprivileged ISA, chapters RV32/64G listings and "C" */

#endif
