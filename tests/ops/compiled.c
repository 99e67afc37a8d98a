/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs generated models on this machine: `compiled ASKED ANSWERED`. ASKED has, for each run, the index of a
 * model in native 32 bits and the bytes of its inputs; ANSWERED gets the bytes of the outputs.
 *
 * The arena has exactly the size that the model asks for. A run is made twice, from memory of different
 * contents: what is read before it is written differs. In the second the sanitizer guards every byte that no
 * buffer of the plan owns at that step.
 */
#include "compiled.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
#endif

static void fail(const char *what, const char *where)
{
    fprintf(stderr, "%s: %s\n", where, what);
    exit(1);
}

static void run_guarded(const struct compiled *c, uint8_t *arena)
{
    const struct mtvm_model *m = c->model;
    for (uint32_t step = 0; step < m->n_ops; ++step) {
        ASAN_POISON_MEMORY_REGION(arena, m->arena_bytes);
        for (size_t i = 0; i < c->n_buffers; ++i) {
            const struct buffer *b = &c->buffers[i];
            if (b->first <= step && step <= b->last) {
                ASAN_UNPOISON_MEMORY_REGION(arena + b->offset, b->size);
            }
        }
        m->ops[step].run(arena);
    }
    ASAN_UNPOISON_MEMORY_REGION(arena, m->arena_bytes);
}

int main(int argc, char **argv)
{
    FILE *asked = argc == 3 ? fopen(argv[1], "rb") : NULL;
    FILE *answered = argc == 3 ? fopen(argv[2], "wb") : NULL;
    uint32_t index;
    if (asked == NULL || answered == NULL) {
        fail("usage: compiled ASKED ANSWERED", "compiled");
    }
    while (fread(&index, sizeof index, 1, asked) == 1) {
        const struct compiled *c = &compiled_models[index];
        const struct mtvm_model *m = c->model;
        uint8_t *arena = malloc(m->arena_bytes), *again = malloc(m->arena_bytes);
        if (arena == NULL || again == NULL) {
            fail("no memory", m->name);
        }
        memset(arena, 0xa5, m->arena_bytes);
        memset(again, 0x3c, m->arena_bytes);
        for (uint32_t i = 0; i < m->n_inputs; ++i) {
            const struct mtvm_tensor *t = &m->tensors[m->inputs[i]];
            if (fread(arena + t->offset, 1, t->size, asked) != t->size) {
                fail("too few input bytes", m->name);
            }
            memcpy(again + t->offset, arena + t->offset, t->size);
        }
        fprintf(stderr, "%s\n", m->name); /* the last line tells where a sanitizer stopped */
        m->run(arena);
        run_guarded(c, again);
        for (uint32_t i = 0; i < m->n_outputs; ++i) {
            const struct mtvm_tensor *t = &m->tensors[m->outputs[i]];
            if (memcmp(arena + t->offset, again + t->offset, t->size) != 0) {
                fail("the output depends on what the arena held before", m->name);
            }
            fwrite(arena + t->offset, 1, t->size, answered);
        }
        free(arena);
        free(again);
    }
    fclose(asked);
    return fclose(answered) == 0 ? 0 : 1;
}
