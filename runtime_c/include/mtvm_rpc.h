/* SPDX-License-Identifier: Apache-2.0
 *
 * The RPC server: it answers a host over the bytes of a port and runs one model in one arena. SPEC.md gives
 * every byte of the protocol. The whole of an application is
 *
 *     static struct mtvm_server server;
 *     if (mtvm_server_init(&server, &port, &model, arena, sizeof arena) == MTVM_OK)
 *         for (;;)
 *             mtvm_server_poll(&server);
 */
#ifndef MTVM_RPC_H
#define MTVM_RPC_H

#include <stddef.h>
#include <stdint.h>

#include "mtvm_error.h"
#include "mtvm_frame.h"
#include "mtvm_model.h"
#include "mtvm_port.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The protocol of SPEC.md; a host of another number is refused. */
#define MTVM_PROTOCOL 2

/* The most tensor bytes in one answer. Costs no RAM: answers are encoded on the way out. */
#ifndef MTVM_READ_BYTES
#define MTVM_READ_BYTES 256
#endif

#if MTVM_READ_BYTES < 1 || MTVM_READ_BYTES > 32768
#error "MTVM_READ_BYTES is 1 to 32768"
#endif

/* The most text in one frame. */
#define MTVM_LOG_BYTES 128

/* The most inputs that a model may have; 4 bytes of RAM for each. */
#ifndef MTVM_MAX_INPUTS
#define MTVM_MAX_INPUTS 8
#endif

/* Requests. An answer has bit 7 set as well; what the server says without being asked has the two highest bits. */
enum mtvm_kind {
    MTVM_HELLO = 0x01,    /* starts a session, describes device and model */
    MTVM_TENSOR = 0x02,   /* describes a tensor */
    MTVM_OPERATOR = 0x03, /* names an operator */
    MTVM_LOOKUP = 0x04,   /* the tensor that is the model's i-th input or output */
    MTVM_WRITE = 0x05,    /* writes a part of an input */
    MTVM_READ = 0x06,     /* reads a part of a tensor that is alive */
    MTVM_RUN = 0x07,      /* one inference */
    MTVM_RUN_THROUGH = 0x08, /* operators one by one through a given one, and holds there */
    MTVM_STACK = 0x09,    /* deepest use of the stack */
    MTVM_PING = 0x0A,     /* the same bytes back */
    MTVM_RESET = 0x0B,    /* restarts the board */
    MTVM_CANCEL = 0x0C,   /* stops a run between two operators */
    MTVM_CRASH = 0x0D,    /* what is known of the last crash */
    MTVM_ANSWER = 0x80,
    MTVM_DAMAGED = 0xC0,  /* a frame arrived damaged */
    MTVM_STARTED = 0xC1,  /* the device has no session: it has just started, or something came before a hello */
    MTVM_PROGRESS = 0xC2, /* a run is under way: the operator that executes now */
    MTVM_LOG = 0xC3       /* text of the application */
};

/* The status of an answer that is no error: MTVM_OK, or a run has begun and its result will follow. */
#define MTVM_ACCEPTED 1

/* All state of the server. The caller owns it and looks at nothing in it. */
struct mtvm_server {
    const struct mtvm_port *port;
    const struct mtvm_model *model;
    uint8_t *arena;
    uint32_t done;        /* bit i: request number `base + i` has been executed */
    uint32_t ticks;       /* what the operators of the last run request took */
    uint32_t reported;    /* the counter when the host last heard of the run */
    uint32_t run_detail;  /* what an error of the last run request is about */
    uint32_t written[MTVM_MAX_INPUTS]; /* bytes of each input; UINT32_MAX where a run reused its memory */
    uint16_t step;        /* operators that have run in this inference */
    uint16_t target;      /* a run ends when `step` is this */
    uint8_t base;         /* number of the first request that has not been executed */
    uint8_t state;        /* what poll does next */
    uint8_t run_sequence; /* of the last run request, */
    uint8_t run_kind;     /* 0 where there is none, */
    int8_t run_status;    /* and what became of it */
    uint8_t wishes;       /* features of the host: what it wants to be told unasked */
    uint8_t quiet;        /* how much has arrived since the last whole request that is none */
    struct mtvm_receiver receiver;
};

/* Prepares a server; sends nothing. `arena` is the server's from now on. Returns MTVM_OK, MTVM_ERR_ABI,
 * MTVM_ERR_ARENA_SIZE, MTVM_ERR_ARENA_ALIGN or MTVM_ERR_INPUT_COUNT. */
enum mtvm_error mtvm_server_init(struct mtvm_server *server, const struct mtvm_port *port,
                                 const struct mtvm_model *model, uint8_t *arena, size_t arena_bytes);

/* Does one bounded piece of work: takes a few bytes and answers the requests that they complete, then runs one
 * operator of a stepped run or one inference. Calls port->idle when there is nothing to do. */
void mtvm_server_poll(struct mtvm_server *server);

/* Sends text to the host, beside everything else on the link, as the application's own print. Longer text than
 * MTVM_LOG_BYTES goes in pieces. Does nothing while no host listens for it. To be called where
 * mtvm_server_poll is, also by operators. */
void mtvm_server_log(const struct mtvm_server *server, const char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
