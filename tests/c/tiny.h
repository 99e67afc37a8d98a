/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINY_H
#define TINY_H

#include "mtvm_model.h"

#define TINY_ARENA_BYTES 660

extern const struct mtvm_model tiny_model;

/* How often the first operator has run. */
int32_t tiny_runs(void);

#endif
