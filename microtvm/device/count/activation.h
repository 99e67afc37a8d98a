/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From entry to exit of chosen functions, and the line that each completed activation writes.
 *
 * A call pushes a frame with its return address; an indirect branch that arrives at the return
 * address of a frame pops it. The first instruction of a tracked function attaches an activation
 * to the frame on top, once: reached by a call, the frame is that call's; reached by a tail call,
 * it is the caller's, and the activation ends when the caller's frame does; reached by a loop
 * inside the function, the activation is there already. The counts run from before the first
 * instruction to after the last, so neither the call nor what follows the return is in them.
 *
 * Interrupts need no special case. A handler's calls and returns are balanced, its own return is
 * an indirect branch to an address that no frame waits for, and the instruction before a return
 * address is an indirect branch whether an interrupt came in between or not. What a handler
 * executes counts for the functions that it interrupted.
 *
 * A return pops its own frame and leaves those above: they belong to another thread of an RTOS,
 * or to calls that never return. One CPU is assumed.
 */
#ifndef MTVM_COUNT_ACTIVATION_H
#define MTVM_COUNT_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* BRANCHES tells that the conditional branch at the end of a block was reached; block.h needs it.
 * CYCLES has those beyond one for each instruction, which may be fewer than none. */
enum count_counter { COUNT_INSTRUCTIONS, COUNT_LOADS, COUNT_STORES, COUNT_CYCLES, COUNT_BRANCHES };
enum { COUNT_COUNTERS = COUNT_BRANCHES + 1 };

struct count_cells {
    uint64_t of[COUNT_COUNTERS];
};

struct count_function;

/* 0, or -1 after a message on standard error. */
int count_refuse(const char *what, const char *which);
int count_open_output(const char *path);
int count_add_function(char *text); /* ADDRESS:LABEL, of which there may be many */

void count_write(const char *line, size_t length);

/* After all functions are added. A line has cycles only if there is a table for them. */
void count_begin(bool with_cycles);

struct count_function *count_function_at(uint64_t address);

/* What is executed, before its instruction is in `now`. */
void count_call(uint64_t return_address);
void count_indirect(void);
void count_arrive(uint64_t address, const struct count_cells *now);
void count_enter(struct count_function *function, const struct count_cells *now);

bool count_is_active(void); /* whether a function is being counted */

#endif
