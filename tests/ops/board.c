/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes the place of a project's main.c: makes all runs, and says of each whether its outputs are what they should be.
 */
#include "board_cases.h"

#include <string.h>

#include "platform.h"

static void say(const char *text)
{
    uart_write((const uint8_t *)text, strlen(text));
}

static int close_enough(const uint8_t *found, const uint8_t *expected, float limit)
{
    float a, b;

    memcpy(&a, found, sizeof a);
    memcpy(&b, expected, sizeof b);
    return a - b <= limit && b - a <= limit;
}

static int equal(const struct mtvm_tensor *t, const uint8_t *expected, float limit)
{
    const uint8_t *found = arena + t->offset;

    if (t->dtype != MTVM_FLOAT32)
        return memcmp(found, expected, t->size) == 0;
    for (uint32_t i = 0; i < t->size; i += 4) {
        if (memcmp(found + i, expected + i, 4) != 0 && !close_enough(found + i, expected + i, limit))
            return 0;
    }
    return 1;
}

static void make(const struct run *run)
{
    const struct mtvm_model *m = run->model;
    const uint8_t *input = run->inputs, *expected = run->expected;

    memset(arena, 0xa5, m->arena_bytes);
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        const struct mtvm_tensor *t = &m->tensors[m->inputs[i]];

        memcpy(arena + t->offset, input, t->size);
        input += t->size;
    }
    m->run(arena);
    say(m->name);
    for (uint32_t i = 0; i < m->n_outputs; i++) {
        const struct mtvm_tensor *t = &m->tensors[m->outputs[i]];

        if (!equal(t, expected, run->limit)) {
            say(" differs in ");
            say(t->name);
        }
        expected += t->size;
    }
    say("\n");
}

int main(void)
{
    uart_init();
    for (size_t i = 0; i < n_runs; i++) {
        make(&runs[i]);
    }
    say("end\n");
    for (;;) {
    }
}
