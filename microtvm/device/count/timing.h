/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an instruction takes on a core that issues in order, from a table that the host passes.
 *
 * An instruction has a kind. The table says how many cycles a kind takes, what each register of a
 * multiple adds, what refilling the pipeline after a taken branch adds, and what an instruction
 * saves that may overlap with the one before it. What no table says takes one cycle.
 * microtvm/target/timing.py explains every entry.
 */
#ifndef MTVM_COUNT_TIMING_H
#define MTVM_COUNT_TIMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum count_time {
    COUNT_TIME_OTHER, /* not in tables: one cycle */
    COUNT_TIME_MULTIPLY,
    COUNT_TIME_MULTIPLY_ADD,
    COUNT_TIME_MULTIPLY_LONG,
    COUNT_TIME_MULTIPLY_ADD_LONG,
    COUNT_TIME_DIVIDE,
    COUNT_TIME_LOAD,
    COUNT_TIME_STORE,
    COUNT_TIME_STORE_REGISTER,
    COUNT_TIME_PIPELINED, /* saved, as are those named overlap */
    COUNT_TIME_MULTIPLE,
    COUNT_TIME_MULTIPLE_PC,
    COUNT_TIME_REGISTER, /* added */
    COUNT_TIME_BRANCH,
    COUNT_TIME_CALL,
    COUNT_TIME_JUMP,
    COUNT_TIME_REFILL, /* added */
    COUNT_TIME_LOOP_END,
    COUNT_TIME_FLOAT,
    COUNT_TIME_FLOAT_MULTIPLY_ADD,
    COUNT_TIME_FLOAT_DIVIDE,
    COUNT_TIME_FLOAT_PAIR,
    COUNT_TIME_VECTOR_MEMORY,
    COUNT_TIME_VECTOR_INTEGER,
    COUNT_TIME_VECTOR_MULTIPLY,
    COUNT_TIME_VECTOR_OVERLAP,
    COUNT_TIMES
};

/* What an instruction's time depends on, from its bytes alone. */
struct count_timing {
    enum count_time kind;
    unsigned registers;  /* that a multiple moves */
    bool is_branch;      /* leaves the row when it is executed, or when its condition holds */
    bool is_conditional; /* ... the latter */
    bool is_predicated;  /* may be skipped by the IT before it */
    unsigned predicates; /* of an IT: how many instructions follow under it */
    uint32_t address;    /* the core registers that make its address, a bit each */
    uint32_t loaded;     /* the core registers that it loads, if it is a single load */
};

struct count_table {
    bool given;
    uint8_t cycles[COUNT_TIMES];
};

/* bytes: as for a count_decoder. */
typedef struct count_timing count_timer(const uint8_t *bytes);

count_timer count_timing_thumb; /* ARMv8-M Architecture Reference Manual, chapter C2 */
count_timer count_timing_rv32;  /* RISC-V Unprivileged ISA, chapters RV32/64G listings and "C" */

/* Every kind takes one cycle, nothing is added or saved. */
void count_table_clear(struct count_table *table);

/* Takes NAME:CYCLES in; false for an unknown name or no number of 0 to 255. */
bool count_table_set(struct count_table *table, const char *text);

/* The kind's name in tables; null from COUNT_TIMES on, and for COUNT_TIME_OTHER. */
const char *count_time_name(unsigned kind);

/*
 * Cycles of an instruction by itself. What it takes for every memory access is apart if it is
 * predicated, for then it may make none.
 */
struct count_cycles {
    unsigned executed;
    unsigned for_each_access;
};
struct count_cycles count_cycles(const struct count_table *table, const struct count_timing *insn);

/* Cycles that `insn` saves because it comes right after `before`. */
unsigned count_cycles_saved(const struct count_table *table, const struct count_timing *before,
                            const struct count_timing *insn);

#endif
