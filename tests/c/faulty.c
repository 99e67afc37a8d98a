/* SPDX-License-Identifier: Apache-2.0
 *
 * A model that fails as its input says, for a host process: see enum fault.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mtvm_model.h"

extern const struct mtvm_model faulty_model;

enum fault { NONE, ABORT, EXIT, HANG, REPORT, RESTART };

static void run(uint8_t *arena)
{
    static const char report[] = "\0mtvm: fault pc=0000012c";

    switch (arena[0]) {
    case ABORT:
        fprintf(stderr, "about to abort\n");
        abort();
    case EXIT:
        fprintf(stderr, "about to exit\n");
        exit(3);
    case REPORT:
        if (write(STDOUT_FILENO, report, sizeof report) < 0)
            exit(4);
        for (;;)
            pause();
    case HANG:
        for (;;)
            pause();
    case RESTART:
        execl("/proc/self/exe", "faulty", (char *)NULL);
        exit(5);
    default:
        arena[1] = arena[0];
    }
}

static const uint16_t shape[] = {1};
static const struct mtvm_tensor tensors[] = {
    {"fault", shape, 0, 1, 0.0f, 0, 0, 1, MTVM_UINT8, 1},
    {"result", shape, 1, 1, 0.0f, 0, 1, 1, MTVM_UINT8, 1},
};
static const uint16_t inputs[] = {0};
static const uint16_t outputs[] = {1};
static const struct mtvm_op ops[] = {{"fail", run}};
static const uint8_t hash[16] = {1};

const struct mtvm_model faulty_model = {MTVM_MODEL_ABI, 2, 1, 1, 1, 1, 2, "faulty", hash, tensors,
                                        inputs, outputs, ops, run};
