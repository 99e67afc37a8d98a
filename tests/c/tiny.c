/* SPDX-License-Identifier: Apache-2.0
 *
 * A model written by hand: y[j] = bias[j] + the sum over a quarter of floor(x / 2). The tensor `x` dies after the
 * first operator and the output lies where it was; `bias` survives; `runs` counts how often the first operator
 * has been executed since the process began.
 */
#include "tiny.h"

#include <string.h>

#define X 0
#define BIAS 304
#define HALF 320
#define SUMS 640
#define RUNS 656

static int32_t runs;

static void halve(uint8_t *arena)
{
    const int8_t *x = (const int8_t *)(arena + X);
    int8_t *half = (int8_t *)(arena + HALF);
    int i;

    for (i = 0; i < 300; i++)
        half[i] = (int8_t)((x[i] - (x[i] & 1)) / 2);
    runs++;
    memcpy(arena + RUNS, &runs, sizeof runs);
}

int32_t tiny_runs(void)
{
    return runs;
}

static void sum(uint8_t *arena)
{
    const int8_t *half = (const int8_t *)(arena + HALF);
    int32_t *sums = (int32_t *)(void *)(arena + SUMS);
    int i;

    memset(sums, 0, 4 * sizeof *sums);
    for (i = 0; i < 300; i++)
        sums[i / 75] += half[i];
}

static void add(uint8_t *arena)
{
    const int32_t *sums = (const int32_t *)(void *)(arena + SUMS);
    const int32_t *bias = (const int32_t *)(void *)(arena + BIAS);
    int32_t *y = (int32_t *)(void *)(arena + X);
    int i;

    for (i = 0; i < 4; i++)
        y[i] = sums[i] + bias[i];
}

static void run(uint8_t *arena)
{
    halve(arena);
    sum(arena);
    add(arena);
}

static const uint16_t shape_x[] = {1, 300};
static const uint16_t shape_four[] = {4};
static const uint16_t shape_one[] = {1};

static const struct mtvm_tensor tensors[] = {
    {"x", shape_x, X, 300, 0.5f, -3, 0, 1, MTVM_INT8, 2},
    {"bias", shape_four, BIAS, 16, 0.0f, 0, 0, 3, MTVM_INT32, 1},
    {"y", shape_four, X, 16, 0.25f, 0, 3, 3, MTVM_INT32, 1},
    {"half", shape_x, HALF, 300, 1.0f, 0, 1, 2, MTVM_INT8, 2},
    {"sums", shape_four, SUMS, 16, 0.25f, 0, 2, 3, MTVM_INT32, 1},
    {"runs", shape_one, RUNS, 4, 0.0f, 0, 1, 3, MTVM_INT32, 1},
};
static const uint16_t inputs[] = {0, 1};
static const uint16_t outputs[] = {2};
static const struct mtvm_op ops[] = {{"halve", halve}, {"sum", sum}, {"add", add}};
static const uint8_t hash[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

const struct mtvm_model tiny_model = {MTVM_MODEL_ABI, 6, 2, 1, 3, 16, TINY_ARENA_BYTES, "tiny", hash, tensors,
                                      inputs, outputs, ops, run};
