/* Two models in one program, and a server for each: images in, the scores of both out. */
#include <stdio.h>

#ifdef ONE_FILE
#define DIGITS_INT8_IMPLEMENTATION
#define DIGITS_SMALL_INT8_IMPLEMENTATION
#endif
#include "digits_int8.h"
#include "digits_small_int8.h"
#ifndef SINGLE
#include "mtvm_rpc.h"
#endif

static MTVM_ALIGN(DIGITS_INT8_ARENA_ALIGN) uint8_t arena[DIGITS_INT8_ARENA_BYTES];
static MTVM_ALIGN(DIGITS_SMALL_INT8_ARENA_ALIGN) uint8_t small_arena[DIGITS_SMALL_INT8_ARENA_BYTES];

static size_t read_nothing(void *context, uint8_t *data, size_t capacity)
{
    (void)context;
    (void)data;
    (void)capacity;
    return 0;
}

static void write_nothing(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

int main(void)
{
    static struct mtvm_server servers[2];
    const struct mtvm_port port = {.read = read_nothing, .write = write_nothing};
    const struct digits_int8_io io = digits_int8_bind(arena);
    const struct digits_small_int8_io small = digits_small_int8_bind(small_arena);

    if (mtvm_server_init(&servers[0], &port, &digits_int8_model, arena, sizeof arena) != MTVM_OK ||
        mtvm_server_init(&servers[1], &port, &digits_small_int8_model, small_arena, sizeof small_arena) != MTVM_OK) {
        return 2;
    }
    mtvm_server_poll(&servers[0]);
    mtvm_server_poll(&servers[1]);
    while (fread(io.image, 1, 64, stdin) == 64) {
        for (int i = 0; i < 64; ++i) {
            small.image[i] = io.image[i];
        }
        digits_int8_run(arena);
        digits_small_int8_run(small_arena);
        if (fwrite(io.scores, 1, 10, stdout) != 10 || fwrite(small.scores, 1, 10, stdout) != 10) {
            return 1;
        }
    }
    return 0;
}
