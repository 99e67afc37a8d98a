/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of instructions as QEMU translates them, and the cycles that pass between two of them.
 *
 * What instructions take within a block is known when it is translated. What is left depends on
 * the block that follows: whether the conditional branch at its end was taken, and whether the
 * next instruction overlaps with the last, where a block ends without a branch (at the end of a
 * page, for one). A block that was left halfway, for an access to a device, has not reached its
 * branch: the counter of branches, which the branch itself adds to, has not changed.
 */
#ifndef MTVM_COUNT_BLOCK_H
#define MTVM_COUNT_BLOCK_H

#include "activation.h"
#include "timing.h"

struct count_block {
    uint64_t start;
    uint64_t end;             /* the address after the last instruction */
    struct count_timing head; /* the first instruction */
    struct count_timing tail; /* the last; the one before it, if the last ends a hardware loop */
    bool ends_loop;
};

/* The same pointer for the same content: blocks may be translated any number of times. */
const struct count_block *count_block_keep(const struct count_block *block);

/* Adds to `now` what lies between the last block that was begun, and `block`. */
void count_block_begin(const struct count_table *table, const struct count_block *block,
                       struct count_cells *now);

#endif
