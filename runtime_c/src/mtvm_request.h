/* SPDX-License-Identifier: Apache-2.0
 *
 * How requests are read and answers put together; between the server's own files.
 */
#ifndef MTVM_REQUEST_H
#define MTVM_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "mtvm_rpc.h"

#define MTVM_HASH_BYTES 16
#define MTVM_NONCE_BYTES 4
#define MTVM_NUMBER_BYTES 5 /* the longest number */
#define MTVM_HEADER_BYTES 3 /* of an answer: number, kind, status */

/* The longest answer but for its tail: MTVM_HELLO's header, nonce, hash, eleven numbers. */
#define MTVM_HEAD_BYTES (MTVM_HEADER_BYTES + MTVM_NONCE_BYTES + MTVM_HASH_BYTES + 11 * MTVM_NUMBER_BYTES)

struct mtvm_answer {
    size_t filled;
    const uint8_t *tail;
    size_t tail_bytes;
    uint32_t detail; /* what an error is about */
    uint8_t head[MTVM_HEAD_BYTES];
};

/* What is left of a request. */
struct mtvm_request {
    const uint8_t *at;
    size_t left;
    uint8_t malformed;
};

/* An answer with nothing behind its header, which is filled in when it is sent. */
void mtvm_answer_clear(struct mtvm_answer *answer);

/* Writes a number of at most MTVM_NUMBER_BYTES; how many it took. */
size_t mtvm_number(uint8_t *at, uint32_t value);

/* Appends to the head. */
void mtvm_put_number(struct mtvm_answer *answer, uint32_t value);
void mtvm_put_bytes(struct mtvm_answer *answer, const void *data, size_t size);

/* Makes the NUL-terminated name the tail. */
void mtvm_put_name(struct mtvm_answer *answer, const char *name);

/* The next number, 0 where there is none: then the request is malformed. */
uint32_t mtvm_take_number(struct mtvm_request *request);

/* Whether nothing is left, and nothing was malformed. */
int mtvm_ends_here(const struct mtvm_request *request);

/* MTVM_TENSOR, MTVM_OPERATOR, MTVM_LOOKUP: their status, and what they answer. */
int mtvm_describe_tensor(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer);
int mtvm_name_operator(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer);
int mtvm_look_up(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer);

/* What mtvm_server.state is: what poll does next. */
enum mtvm_state { MTVM_IDLE, MTVM_RUN_WHOLE, MTVM_RUN_STEPS, MTVM_STARTING };

/* What mtvm_server.written is for an input whose memory a run reused. */
#define MTVM_OVERWRITTEN UINT32_MAX

/* MTVM_WRITE, where `repeated` has no effect but its answer, and MTVM_READ, whose answer has the tensor as its tail. */
int mtvm_write_input(struct mtvm_server *server, struct mtvm_request *request, int repeated);
int mtvm_read_tensor(struct mtvm_server *server, struct mtvm_request *request, struct mtvm_answer *answer);

#endif
