/* SPDX-License-Identifier: Apache-2.0 */
#include "block.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUCKETS = 4096 };

struct kept {
    struct count_block block;
    struct kept *next;
};

static struct kept *buckets[BUCKETS];
static const struct count_block *last;
static uint64_t branches;

static bool same_timing(const struct count_timing *a, const struct count_timing *b)
{
    return a->kind == b->kind && a->registers == b->registers && a->is_branch == b->is_branch
           && a->is_conditional == b->is_conditional && a->is_predicated == b->is_predicated
           && a->predicates == b->predicates && a->address == b->address
           && a->loaded == b->loaded;
}

static bool same(const struct count_block *a, const struct count_block *b)
{
    return a->start == b->start && a->end == b->end && a->ends_loop == b->ends_loop
           && same_timing(&a->head, &b->head) && same_timing(&a->tail, &b->tail);
}

const struct count_block *count_block_keep(const struct count_block *block)
{
    struct kept **bucket = &buckets[(block->start >> 1) % BUCKETS];
    struct kept *found = *bucket;

    while (found != NULL && !same(&found->block, block)) {
        found = found->next;
    }
    if (found == NULL) {
        found = malloc(sizeof *found);
        if (found == NULL) {
            fprintf(stderr, "microtvm count: out of memory\n");
            exit(EXIT_FAILURE);
        }
        found->block = *block;
        found->next = *bucket;
        *bucket = found;
    }
    return &found->block;
}

void count_block_begin(const struct count_table *table, const struct count_block *block,
                       struct count_cells *now)
{
    const struct count_block *before = last;
    const bool branched = now->of[COUNT_BRANCHES] != branches;

    last = block;
    branches = now->of[COUNT_BRANCHES];
    if (before == NULL) {
        return;
    }
    if (branched && before->end != block->start && !before->ends_loop) {
        now->of[COUNT_CYCLES] += table->cycles[COUNT_TIME_REFILL];
    } else if (branched ? before->ends_loop : before->end == block->start) {
        now->of[COUNT_CYCLES] -= count_cycles_saved(table, &before->tail, &block->head);
    }
}
