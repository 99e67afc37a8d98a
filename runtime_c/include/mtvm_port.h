/* SPDX-License-Identifier: Apache-2.0
 *
 * The port: what the runtime needs of a board. Porting is writing these six functions.
 */
#ifndef MTVM_PORT_H
#define MTVM_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "mtvm_crash.h"

struct mtvm_port {
    void *context; /* handed to every function */

    /* Moves up to `capacity` bytes that have already arrived into `data`; returns how many, 0 if none. */
    size_t (*read)(void *context, uint8_t *data, size_t capacity);

    /* Sends `size` bytes; returns when they are on their way or in a queue that will not be lost. */
    void (*write)(void *context, const uint8_t *data, size_t size);

    /* A free-running counter that goes up and wraps at 2^32; NULL where the board has none. */
    uint32_t (*ticks)(void *context);

    /* Deepest use of the stack since start in bytes, from the painted stack; NULL where it isn't painted. */
    uint32_t (*stack_peak)(void *context);

    /* Called when there is nothing to read: wait for an interrupt, or return at once; may be NULL. */
    void (*idle)(void *context);

    /* Restarts the board; does not return where it works; NULL where it can't. */
    void (*reset)(void *context);

    uint32_t ticks_hz; /* frequency of `ticks`, 0 where unknown */

    /* Memory that keeps its content over a reset, for what is known of a crash; NULL where the board has none. */
    struct mtvm_crash *crash;
};

#endif
