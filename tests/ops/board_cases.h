/* SPDX-License-Identifier: Apache-2.0
 *
 * The runs that board.c makes: each with a model, the bytes of its inputs one after the other, and what the
 * outputs should be.
 */
#ifndef BOARD_CASES_H
#define BOARD_CASES_H

#include "mtvm_model.h"

struct run {
    const struct mtvm_model *model;
    const uint8_t *inputs;
    const uint8_t *expected;
    float limit; /* by which a float may differ */
};

extern const struct run runs[];
extern const size_t n_runs;
extern uint8_t arena[];

#endif
