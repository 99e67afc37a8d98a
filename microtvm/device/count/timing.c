/* SPDX-License-Identifier: Apache-2.0 */
#include "timing.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[COUNT_TIMES] = {
    [COUNT_TIME_MULTIPLY] = "multiply",
    [COUNT_TIME_MULTIPLY_ADD] = "multiply_add",
    [COUNT_TIME_MULTIPLY_LONG] = "multiply_long",
    [COUNT_TIME_MULTIPLY_ADD_LONG] = "multiply_add_long",
    [COUNT_TIME_DIVIDE] = "divide",
    [COUNT_TIME_LOAD] = "load",
    [COUNT_TIME_STORE] = "store",
    [COUNT_TIME_STORE_REGISTER] = "store_register",
    [COUNT_TIME_PIPELINED] = "pipelined",
    [COUNT_TIME_MULTIPLE] = "multiple",
    [COUNT_TIME_MULTIPLE_PC] = "multiple_pc",
    [COUNT_TIME_REGISTER] = "register",
    [COUNT_TIME_BRANCH] = "branch",
    [COUNT_TIME_CALL] = "call",
    [COUNT_TIME_JUMP] = "jump",
    [COUNT_TIME_REFILL] = "refill",
    [COUNT_TIME_LOOP_END] = "loop_end",
    [COUNT_TIME_FLOAT] = "float",
    [COUNT_TIME_FLOAT_MULTIPLY_ADD] = "float_multiply_add",
    [COUNT_TIME_FLOAT_DIVIDE] = "float_divide",
    [COUNT_TIME_FLOAT_PAIR] = "float_pair",
    [COUNT_TIME_VECTOR_MEMORY] = "vector_memory",
    [COUNT_TIME_VECTOR_INTEGER] = "vector_integer",
    [COUNT_TIME_VECTOR_MULTIPLY] = "vector_multiply",
    [COUNT_TIME_VECTOR_OVERLAP] = "vector_overlap",
};

const char *count_time_name(unsigned kind)
{
    return kind < COUNT_TIMES ? names[kind] : NULL;
}

static bool is_amount(enum count_time kind)
{
    return kind == COUNT_TIME_REGISTER || kind == COUNT_TIME_REFILL
           || kind == COUNT_TIME_PIPELINED || kind == COUNT_TIME_VECTOR_OVERLAP;
}

void count_table_clear(struct count_table *table)
{
    table->given = false;
    for (unsigned kind = 0; kind < COUNT_TIMES; kind++) {
        table->cycles[kind] = is_amount((enum count_time)kind) ? 0 : 1;
    }
}

bool count_table_set(struct count_table *table, const char *text)
{
    const char *colon = strchr(text, ':');
    char *end = NULL;
    unsigned long cycles;

    if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
        return false;
    }
    cycles = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || cycles > UINT8_MAX) {
        return false;
    }
    for (unsigned kind = 0; kind < COUNT_TIMES; kind++) {
        const size_t length = (size_t)(colon - text);
        if (names[kind] != NULL && strlen(names[kind]) == length
            && strncmp(names[kind], text, length) == 0) {
            table->cycles[kind] = (uint8_t)cycles;
            table->given = true;
            return true;
        }
    }
    return false;
}

static bool is_multiple(const struct count_timing *insn)
{
    return insn->kind == COUNT_TIME_MULTIPLE || insn->kind == COUNT_TIME_MULTIPLE_PC;
}

struct count_cycles count_cycles(const struct count_table *table, const struct count_timing *insn)
{
    struct count_cycles result = {table->cycles[insn->kind], 0};
    const unsigned each = table->cycles[COUNT_TIME_REGISTER];

    if (insn->is_predicated && is_multiple(insn)) {
        result.for_each_access = each;
    } else if (is_multiple(insn)) {
        result.executed += insn->registers * each;
    } else if (insn->is_predicated && result.executed > 1
               && (insn->kind == COUNT_TIME_LOAD || insn->kind == COUNT_TIME_STORE
                   || insn->kind == COUNT_TIME_STORE_REGISTER)) {
        result.for_each_access = result.executed - 1;
        result.executed = 1;
    }
    if (insn->is_branch && !insn->is_conditional && !insn->is_predicated) {
        result.executed += table->cycles[COUNT_TIME_REFILL];
    }
    return result;
}

static bool is_vector(enum count_time kind)
{
    return kind == COUNT_TIME_VECTOR_MEMORY || kind == COUNT_TIME_VECTOR_INTEGER
           || kind == COUNT_TIME_VECTOR_MULTIPLY;
}

unsigned count_cycles_saved(const struct count_table *table, const struct count_timing *before,
                            const struct count_timing *insn)
{
    if (is_vector(insn->kind)) { /* each pipe is busy for all its beats, others take the next */
        return is_vector(before->kind) && before->kind != insn->kind
                   ? table->cycles[COUNT_TIME_VECTOR_OVERLAP]
                   : 0;
    }
    if (before->is_predicated || insn->is_predicated || insn->is_branch
        || (before->loaded & insn->address) != 0) {
        return 0;
    }
    if ((insn->kind == COUNT_TIME_LOAD
         && (before->kind == COUNT_TIME_LOAD || before->kind == COUNT_TIME_STORE))
        || (insn->kind == COUNT_TIME_STORE_REGISTER && before->kind == COUNT_TIME_LOAD)) {
        return table->cycles[COUNT_TIME_PIPELINED];
    }
    return 0;
}
