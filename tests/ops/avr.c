/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes all runs on an AVR, and says over its first UART of each whether its outputs are what they should be. Inputs
 * and expected outputs are in flash, as models' constants are.
 */
#include "board_cases.h"

#include <avr/io.h>
#include <avr/pgmspace.h>
#include <string.h>

static void say(const char *text)
{
    for (; *text != '\0'; text++) {
        while (!(UCSR0A & _BV(UDRE0))) {
        }
        UDR0 = (uint8_t)*text;
    }
}

static void make(const struct run *run)
{
    const struct mtvm_model *m = run->model;
    const uint8_t *input = run->inputs, *expected = run->expected;

    memset(arena, 0xa5, (size_t)m->arena_bytes);
    for (uint16_t i = 0; i < m->n_inputs; i++) {
        const struct mtvm_tensor *t = &m->tensors[m->inputs[i]];

        memcpy_P(arena + t->offset, input, (size_t)t->size);
        input += t->size;
    }
    m->run(arena);
    say(m->name);
    for (uint16_t i = 0; i < m->n_outputs; i++) {
        const struct mtvm_tensor *t = &m->tensors[m->outputs[i]];

        if (memcmp_P(arena + t->offset, expected, (size_t)t->size) != 0) {
            say(" differs in ");
            say(t->name);
        }
        expected += t->size;
    }
    say("\n");
}

int main(void)
{
    UCSR0B = _BV(TXEN0);
    for (size_t i = 0; i < n_runs; i++) {
        make(&runs[i]);
    }
    say("end\n");
    for (;;) {
    }
}
