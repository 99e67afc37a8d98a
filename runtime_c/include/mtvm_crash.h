/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known of a crash, in memory that start-up code leaves alone: the handler of a fault writes it, the board
 * resets, and the server hands it to the next host that asks.
 */
#ifndef MTVM_CRASH_H
#define MTVM_CRASH_H

#include <stddef.h>
#include <stdint.h>

/* A project whose build takes no definitions has them in a header. */
#ifdef __has_include
#if __has_include("mtvm_config.h")
#include "mtvm_config.h"
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The longest text of a record; RAM. */
#ifndef MTVM_CRASH_BYTES
#define MTVM_CRASH_BYTES 160
#endif

/* Instead of an operator: none was running, or one of a whole inference, nobody knows which. */
#define MTVM_CRASH_NO_OPERATOR 0xFFFFu
#define MTVM_CRASH_SOME_OPERATOR 0xFFFEu

/* After a cold start the content is arbitrary: only a record whose CRC fits is one. A stack that grows down into it
 * damages the text first, which is written anew, and what is running last. */
struct mtvm_crash {
    uint16_t running;  /* kept by who runs operators: the one now executing; no part of a record */
    uint32_t crc;      /* of everything that a record has behind it */
    uint16_t op;       /* the operator that was running, or one of the above */
    uint16_t length;   /* of the text */
    uint8_t text[MTVM_CRASH_BYTES];
};

/* Begins a record of what has just happened, with an empty text. */
void mtvm_crash_begin(struct mtvm_crash *crash);

/* Adds to the text; what exceeds MTVM_CRASH_BYTES is dropped. The record is whole after each call. */
void mtvm_crash_add(struct mtvm_crash *crash, const char *text, size_t size);

/* Whether there is a record. */
int mtvm_crash_valid(const struct mtvm_crash *crash);

/* Forgets it. */
void mtvm_crash_clear(struct mtvm_crash *crash);

#ifdef __cplusplus
}
#endif

#endif
