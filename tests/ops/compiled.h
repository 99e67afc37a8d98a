/* SPDX-License-Identifier: Apache-2.0
 *
 * The models that compiled.c runs, and the plan of each one's arena.
 */
#ifndef COMPILED_H
#define COMPILED_H

#include "mtvm_model.h"

/* A planned buffer; it owns its bytes while operators `first` to `last` run. */
struct buffer {
    uint32_t offset, size, first, last;
};

struct compiled {
    const struct mtvm_model *model;
    const struct buffer *buffers;
    size_t n_buffers;
};

extern const struct compiled compiled_models[];

#endif
