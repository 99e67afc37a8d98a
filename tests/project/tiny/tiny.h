/* SPDX-License-Identifier: Apache-2.0
 *
 * A model written by hand: int8[16] times a weight matrix gives int32[4], squashed to float32[4].
 */
#ifndef TINY_H
#define TINY_H

#include "mtvm_model.h"

#if MTVM_MODEL_ABI != 1
#error "tiny was made for MTVM_MODEL_ABI 1"
#endif

#define TINY_ARENA_BYTES 48
#define TINY_ARENA_ALIGN 16

extern const struct mtvm_model tiny_model;

#endif
