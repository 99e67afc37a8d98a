/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "activation.h"
#include "decode.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FRAMES = 1024, MAX_ACTIVATIONS = 1024, MAX_LABEL = 200, MAX_DIGITS = 20 };

/* Those with one entry stand in a row, and the first speaks for all. */
struct count_function {
    uint64_t entry;
    const char *label;
    size_t position; /* among the arguments */
    size_t turn;     /* of the first: which label the next activation has */
};

struct frame {
    uint64_t return_address;
    uint64_t serial;
};

struct activation {
    const struct count_function *function;
    const char *label;
    uint64_t frame;
    struct count_cells start;
};

struct state {
    int out;
    bool with_cycles;

    struct count_function *functions; /* ascending by entry */
    size_t function_count;

    struct frame frames[MAX_FRAMES];
    size_t depth;
    uint64_t serials;
    struct activation activations[MAX_ACTIVATIONS];
    size_t active;

    enum count_flow arriving_by; /* how the last instruction executed leads to the next */
};

static struct state state = {.out = -1};

int count_refuse(const char *what, const char *which)
{
    fprintf(stderr, "microtvm count: %s: %s\n", what, which);
    return -1;
}

int count_open_output(const char *path)
{
    state.out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    return state.out < 0 ? count_refuse(strerror(errno), path) : 0;
}

void count_write(const char *line, size_t length)
{
    while (length > 0) {
        const ssize_t written = write(state.out, line, length);
        if (written < 0 && errno != EINTR) {
            fprintf(stderr, "microtvm count: can't write counts: %s\n", strerror(errno));
            exit(EXIT_FAILURE); /* a lost line would pass for a function that never ran */
        }
        if (written > 0) {
            line += written;
            length -= (size_t)written;
        }
    }
}

static void report(const struct activation *done, const struct count_cells *end)
{
    char line[MAX_LABEL + COUNT_COUNTERS * (MAX_DIGITS + 1) + 2];
    int length = snprintf(line, sizeof line, "%s", done->label);
    uint64_t taken[COUNT_COUNTERS];

    for (int i = 0; i < COUNT_COUNTERS; i++) {
        taken[i] = end->of[i] - done->start.of[i];
    }
    taken[COUNT_CYCLES] += taken[COUNT_INSTRUCTIONS];
    for (int i = 0; i < (state.with_cycles ? COUNT_BRANCHES : COUNT_CYCLES); i++) {
        length += snprintf(line + length, sizeof line - (size_t)length, " %" PRIu64, taken[i]);
    }
    line[length++] = '\n';
    count_write(line, (size_t)length);
}

/* Innermost first, so that a caller's line follows its callees'. */
static void complete_activations(uint64_t frame, const struct count_cells *end)
{
    for (size_t i = state.active; i-- > 0;) {
        struct activation *candidate = &state.activations[i];
        if (candidate->frame == frame) {
            report(candidate, end);
            state.active--;
            memmove(candidate, candidate + 1, (state.active - i) * sizeof *candidate);
        }
    }
}

static bool frame_is_active(uint64_t serial)
{
    for (size_t i = 0; i < state.active; i++) {
        if (state.activations[i].frame == serial) {
            return true;
        }
    }
    return false;
}

/* Forgets calls that never returned: those of the older half that no activation waits for. */
static void drop_stale_frames(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < state.depth; i++) {
        if (i >= MAX_FRAMES / 2 || frame_is_active(state.frames[i].serial)) {
            state.frames[kept++] = state.frames[i];
        }
    }
    if (kept == MAX_FRAMES) {
        fprintf(stderr, "microtvm count: calls nest deeper than %d\n", MAX_FRAMES);
        exit(EXIT_FAILURE);
    }
    state.depth = kept;
}

static void pop_frame(size_t index, const struct count_cells *end)
{
    const uint64_t serial = state.frames[index].serial;

    state.depth--;
    memmove(&state.frames[index], &state.frames[index + 1],
            (state.depth - index) * sizeof state.frames[0]);
    complete_activations(serial, end);
}

void count_call(uint64_t return_address)
{
    if (state.depth == MAX_FRAMES) {
        drop_stale_frames();
    }
    state.frames[state.depth].return_address = return_address;
    state.frames[state.depth].serial = ++state.serials;
    state.depth++;
    state.arriving_by = COUNT_FLOW_CALL;
}

void count_indirect(void)
{
    state.arriving_by = COUNT_FLOW_INDIRECT;
}

void count_arrive(uint64_t address, const struct count_cells *now)
{
    const enum count_flow flow = state.arriving_by;

    state.arriving_by = COUNT_FLOW_OTHER;
    if (flow == COUNT_FLOW_INDIRECT) {
        for (size_t i = state.depth; i-- > 0;) {
            if (state.frames[i].return_address == address) {
                pop_frame(i, now);
                break;
            }
        }
    } else if (flow == COUNT_FLOW_CALL
               && state.frames[state.depth - 1].return_address == address) {
        pop_frame(state.depth - 1, now); /* a conditional call that was not taken */
    }
}

static const char *next_label(struct count_function *function)
{
    const struct count_function *end = state.functions + state.function_count;
    const struct count_function *label = function + function->turn;

    if (label == end || label->entry != function->entry) {
        function->turn = 0;
        label = function;
    }
    function->turn++;
    return label->label;
}

void count_enter(struct count_function *function, const struct count_cells *now)
{
    uint64_t frame;

    if (state.depth == 0) {
        return; /* nowhere to return to */
    }
    frame = state.frames[state.depth - 1].serial;
    for (size_t i = state.active; i-- > 0;) {
        if (state.activations[i].frame == frame && state.activations[i].function == function) {
            return;
        }
    }
    if (state.active == MAX_ACTIVATIONS) {
        fprintf(stderr, "microtvm count: more than %d functions are active\n", MAX_ACTIVATIONS);
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; state.active == 0 && i < state.function_count; i++) {
        state.functions[i].turn = 0;
    }
    state.activations[state.active].function = function;
    state.activations[state.active].label = next_label(function);
    state.activations[state.active].frame = frame;
    state.activations[state.active].start = *now;
    state.active++;
}

bool count_is_active(void)
{
    return state.active > 0;
}

int count_add_function(char *text)
{
    char *label = NULL;
    const uint64_t entry = strtoull(text, &label, 16);
    struct count_function *grown;

    if (label == text || *label != ':' || label[1] == '\0' || strlen(label + 1) > MAX_LABEL) {
        return count_refuse("not ADDRESS:LABEL", text);
    }
    grown = realloc(state.functions, (state.function_count + 1) * sizeof *grown);
    if (grown == NULL) {
        return count_refuse("out of memory", "functions");
    }
    state.functions = grown;
    grown += state.function_count;
    grown->entry = entry;
    grown->label = label + 1;
    grown->position = state.function_count++;
    grown->turn = 0;
    return 0;
}

static int by_entry(const void *left, const void *right)
{
    const struct count_function *a = left;
    const struct count_function *b = right;

    if (a->entry != b->entry) {
        return a->entry < b->entry ? -1 : 1;
    }
    return a->position < b->position ? -1 : 1;
}

void count_begin(bool with_cycles)
{
    state.with_cycles = with_cycles;
    if (state.function_count > 0) {
        qsort(state.functions, state.function_count, sizeof *state.functions, by_entry);
    }
}

struct count_function *count_function_at(uint64_t address)
{
    size_t low = 0;
    size_t high = state.function_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (state.functions[middle].entry < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < state.function_count && state.functions[low].entry == address
               ? &state.functions[low]
               : NULL;
}
