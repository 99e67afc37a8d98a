/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny.h"

#include <math.h>

#ifndef MTVM_WEIGHTS
#define MTVM_WEIGHTS __attribute__((section(".rodata.mtvm_weights")))
#endif

enum { INPUTS = 16, OUTPUTS = 4, SUMS_AT = 16, OUTPUT_AT = 32 };

MTVM_WEIGHTS static const int8_t weight[OUTPUTS][INPUTS] = {
    {1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16},
    {127, -128, 127, -128, 127, -128, 127, -128, 127, -128, 127, -128, 127, -128, 127, -128},
    {0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0},
    {16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1},
};

MTVM_WEIGHTS static const int32_t bias[OUTPUTS] = {1000, -1000, 0, 7};

static void product(uint8_t *arena)
{
    const int8_t *x = (const int8_t *)arena;
    int32_t *sum = (int32_t *)(void *)(arena + SUMS_AT);

    for (int o = 0; o < OUTPUTS; o++) {
        int32_t value = bias[o];

        for (int i = 0; i < INPUTS; i++) {
            value += (int32_t)weight[o][i] * (int32_t)x[i];
        }
        sum[o] = value;
    }
}

static void squash(uint8_t *arena)
{
    const int32_t *sum = (const int32_t *)(const void *)(arena + SUMS_AT);
    float *y = (float *)(void *)(arena + OUTPUT_AT);

    for (int o = 0; o < OUTPUTS; o++) {
        y[o] = 1.0f / (1.0f + expf(-(float)sum[o] / 1024.0f));
    }
}

static void run(uint8_t *arena)
{
    product(arena);
    squash(arena);
}

static const uint16_t input_shape[] = {1, INPUTS};
static const uint16_t output_shape[] = {1, OUTPUTS};

static const struct mtvm_tensor tensors[] = {
    {.name = "x", .shape = input_shape, .offset = 0, .size = INPUTS, .scale = 1.0f, .zero_point = 0,
     .live_from = 0, .live_to = 2, .dtype = MTVM_INT8, .rank = 2},
    {.name = "y", .shape = output_shape, .offset = OUTPUT_AT, .size = 4 * OUTPUTS, .scale = 0.0f,
     .zero_point = 0, .live_from = 2, .live_to = 2, .dtype = MTVM_FLOAT32, .rank = 2},
    {.name = "sums", .shape = output_shape, .offset = SUMS_AT, .size = 4 * OUTPUTS, .scale = 0.0f,
     .zero_point = 0, .live_from = 1, .live_to = 2, .dtype = MTVM_INT32, .rank = 2},
};

static const uint16_t inputs[] = {0};
static const uint16_t outputs[] = {1};

static const struct mtvm_op ops[] = {{"product", product}, {"squash", squash}};

static const uint8_t hash[16] = {0x74, 0x69, 0x6e, 0x79};

const struct mtvm_model tiny_model = {
    .abi = MTVM_MODEL_ABI,
    .n_tensors = 3,
    .n_inputs = 1,
    .n_outputs = 1,
    .n_ops = 2,
    .arena_align = TINY_ARENA_ALIGN,
    .arena_bytes = TINY_ARENA_BYTES,
    .name = "tiny",
    .hash = hash,
    .tensors = tensors,
    .inputs = inputs,
    .outputs = outputs,
    .ops = ops,
    .run = run,
};
