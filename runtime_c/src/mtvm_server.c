/* SPDX-License-Identifier: Apache-2.0
 *
 * The server of mtvm_rpc.h: sessions, requests in any order that a damaged line leaves of them, and runs.
 *
 * Requests that a host may have under way together (all but runs and resets) neither depend on each other's order
 * nor change what another one answers, so each is executed when it arrives, and a bit per number tells a repeated
 * one. A run waits until no earlier request is missing.
 */
#include "mtvm_request.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors go over the wire as they lie in memory, little-endian"
#endif

#define POLL_BYTES 32  /* taken from the port in one poll */
#define AHEAD 32       /* requests that may arrive before an earlier one: the bits of `done` */

/* What MTVM_HELLO says of the device. */
#define HAS_TICKS 1u
#define HAS_STACK 2u
#define HAS_RESET 4u
#define HAS_CRASHED 8u

/* What MTVM_HELLO says of the host. */
#define WANTS_PROGRESS 1u
#define WANTS_LOG 2u

#define REPORTS_PER_SECOND 4 /* of a run's progress, at most */
#define UNHEARD 2            /* arrivals of damage that are answered once */

static uint32_t now(const struct mtvm_server *server)
{
    const struct mtvm_port *port = server->port;

    return port->ticks ? port->ticks(port->context) : 0;
}

static void send_event(const struct mtvm_server *server, enum mtvm_kind kind)
{
    uint8_t packet[2];

    packet[0] = 0;
    packet[1] = (uint8_t)kind;
    mtvm_send(server->port, 0, packet, sizeof packet, packet, 0);
}

static void send_answer(const struct mtvm_server *server, struct mtvm_answer *answer, uint8_t sequence, uint8_t kind,
                        int status)
{
    if (status < 0) {
        answer->filled = MTVM_HEADER_BYTES;
        answer->tail_bytes = 0;
        mtvm_put_number(answer, answer->detail);
    }
    answer->head[0] = sequence;
    answer->head[1] = (uint8_t)(kind | MTVM_ANSWER);
    answer->head[2] = (uint8_t)status;
    mtvm_send(server->port, kind == MTVM_HELLO ? 0 : server->receiver.seed, answer->head, answer->filled, answer->tail,
              answer->tail_bytes);
}

/* Fills the answer to the last run request; returns its status. */
static int run_result(const struct mtvm_server *server, struct mtvm_answer *answer)
{
    answer->detail = server->run_detail;
    if (server->run_status == MTVM_OK) {
        mtvm_put_number(answer, server->step);
        mtvm_put_number(answer, server->ticks);
    }
    return server->run_status;
}

/* MTVM_OK if all inputs are there; the first that is not becomes the detail. */
static int check_inputs(struct mtvm_server *server)
{
    const struct mtvm_model *model = server->model;
    uint16_t i;

    for (i = 0; i < model->n_inputs; i++) {
        uint32_t written = server->written[i];

        if (written >= model->tensors[model->inputs[i]].size && written != MTVM_OVERWRITTEN)
            continue;
        server->run_detail = model->inputs[i];
        return written == MTVM_OVERWRITTEN ? MTVM_ERR_INPUT_OVERWRITTEN : MTVM_ERR_INPUT_MISSING;
    }
    return MTVM_OK;
}

static void note_operator(const struct mtvm_server *server, uint16_t op)
{
    if (server->port->crash)
        server->port->crash->running = op;
}

static void advance(struct mtvm_server *server, uint16_t step)
{
    const struct mtvm_model *model = server->model;
    uint16_t i;

    server->step = step;
    for (i = 0; i < model->n_inputs; i++)
        if (model->tensors[model->inputs[i]].live_to < step)
            server->written[i] = MTVM_OVERWRITTEN;
    if (step != server->target)
        return;
    server->state = MTVM_IDLE;
    server->run_status = MTVM_OK;
}

static void send_result(const struct mtvm_server *server)
{
    struct mtvm_answer answer;

    mtvm_answer_clear(&answer);
    send_answer(server, &answer, server->run_sequence, server->run_kind, run_result(server, &answer));
}

/* Says that the run goes on, unless that has just been said. Without a clock it is said of every operator. */
static void report_progress(struct mtvm_server *server)
{
    const struct mtvm_port *port = server->port;
    uint32_t time = now(server);
    uint8_t packet[2 + MTVM_NUMBER_BYTES];

    if ((server->wishes & WANTS_PROGRESS) == 0 ||
        (port->ticks && time - server->reported < port->ticks_hz / REPORTS_PER_SECOND))
        return;
    server->reported = time;
    packet[0] = server->run_sequence;
    packet[1] = MTVM_PROGRESS;
    mtvm_send(port, server->receiver.seed, packet, 2 + mtvm_number(packet + 2, server->step), packet, 0);
}

static void work(struct mtvm_server *server)
{
    const struct mtvm_model *model = server->model;
    uint32_t start;

    if (server->state == MTVM_RUN_WHOLE) {
        note_operator(server, MTVM_CRASH_SOME_OPERATOR);
        start = now(server);
        model->run(server->arena);
        server->ticks = now(server) - start;
        advance(server, model->n_ops);
    } else {
        note_operator(server, server->step);
        start = now(server);
        model->ops[server->step].run(server->arena);
        server->ticks += now(server) - start;
        advance(server, (uint16_t)(server->step + 1));
    }
    note_operator(server, MTVM_CRASH_NO_OPERATOR);
    if (server->state == MTVM_IDLE)
        send_result(server);
    else
        report_progress(server);
}

static int begin_run(struct mtvm_server *server, struct mtvm_request *request, uint8_t kind)
{
    const struct mtvm_model *model = server->model;
    uint32_t op = 0;
    uint32_t restart = 1;

    server->run_detail = 0;
    if (kind == MTVM_RUN_THROUGH) {
        op = mtvm_take_number(request);
        restart = mtvm_take_number(request);
    }
    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (kind == MTVM_RUN_THROUGH && op >= model->n_ops)
        return MTVM_ERR_INDEX;
    if (restart == 0 && op < server->step) {
        server->run_detail = server->step;
        return MTVM_ERR_STEP;
    }
    if (restart != 0 || server->step == 0) {
        int status = check_inputs(server);

        if (status != MTVM_OK)
            return status;
        server->step = 0;
    }
    server->ticks = 0;
    server->reported = now(server);
    server->state = kind == MTVM_RUN ? MTVM_RUN_WHOLE : MTVM_RUN_STEPS;
    server->target = kind == MTVM_RUN ? model->n_ops : (uint16_t)(op + 1);
    return MTVM_ACCEPTED;
}

static int run(struct mtvm_server *server, struct mtvm_request *request, struct mtvm_answer *answer, uint8_t sequence,
               uint8_t kind, int repeated)
{
    if (!repeated) {
        server->run_sequence = sequence;
        server->run_kind = kind;
        server->run_status = (int8_t)begin_run(server, request, kind);
    } else if (server->run_sequence != sequence || server->run_kind != kind) {
        return MTVM_ERR_ORDER;
    }
    return run_result(server, answer);
}

static int has_crashed(const struct mtvm_port *port)
{
    return port->crash && mtvm_crash_valid(port->crash);
}

static int hello(struct mtvm_server *server, struct mtvm_request *request, struct mtvm_answer *answer)
{
    const struct mtvm_model *model = server->model;
    const struct mtvm_port *port = server->port;
    uint32_t version = mtvm_take_number(request);
    const uint8_t *nonce = request->at;
    uint32_t wishes;
    uint32_t seed;

    if (!request->malformed && version != MTVM_PROTOCOL) {
        answer->detail = MTVM_PROTOCOL;
        return MTVM_ERR_VERSION;
    }
    if (request->malformed || request->left < MTVM_NONCE_BYTES)
        return MTVM_ERR_LENGTH;
    request->at += MTVM_NONCE_BYTES;
    request->left -= MTVM_NONCE_BYTES;
    wishes = mtvm_take_number(request);
    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    seed = mtvm_crc32(0, nonce, MTVM_NONCE_BYTES);
    if (seed == 0)
        return MTVM_ERR_NONCE;
    if (seed != server->receiver.seed) {
        server->receiver.seed = seed;
        server->wishes = (uint8_t)wishes;
        server->base = 1;
        server->done = 0;
        server->step = 0;
        server->run_kind = 0;
        server->state = MTVM_IDLE;
        memset(server->written, 0, sizeof server->written);
    }
    mtvm_put_number(answer, MTVM_PROTOCOL);
    mtvm_put_bytes(answer, nonce, MTVM_NONCE_BYTES);
    mtvm_put_bytes(answer, model->hash, MTVM_HASH_BYTES);
    mtvm_put_number(answer, MTVM_WINDOW_BYTES);
    mtvm_put_number(answer, MTVM_FRAME_BYTES);
    mtvm_put_number(answer, MTVM_READ_BYTES);
    mtvm_put_number(answer, model->n_tensors);
    mtvm_put_number(answer, model->n_inputs);
    mtvm_put_number(answer, model->n_outputs);
    mtvm_put_number(answer, model->n_ops);
    mtvm_put_number(answer, model->arena_bytes);
    mtvm_put_number(answer, port->ticks ? port->ticks_hz : 0);
    mtvm_put_number(answer, (port->ticks ? HAS_TICKS : 0u) | (port->stack_peak ? HAS_STACK : 0u) |
                           (port->reset ? HAS_RESET : 0u) | (has_crashed(port) ? HAS_CRASHED : 0u));
    mtvm_put_name(answer, model->name);
    return MTVM_OK;
}

/* Stops a run that goes operator by operator; there may be none, or it may just have ended. */
static int cancel(struct mtvm_server *server, const struct mtvm_request *request, int repeated)
{
    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (repeated || server->state != MTVM_RUN_STEPS)
        return MTVM_OK;
    server->state = MTVM_IDLE;
    server->run_status = MTVM_ERR_CANCELLED;
    server->run_detail = server->step;
    send_result(server);
    return MTVM_OK;
}

static int tell_crash(const struct mtvm_port *port, struct mtvm_request *request, struct mtvm_answer *answer,
                      int repeated)
{
    uint32_t forget = mtvm_take_number(request);

    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (!port->crash)
        return MTVM_ERR_UNSUPPORTED;
    if (forget != 0) {
        if (!repeated)
            mtvm_crash_clear(port->crash);
        return MTVM_OK;
    }
    if (!mtvm_crash_valid(port->crash))
        return MTVM_ERR_INDEX;
    mtvm_put_number(answer, port->crash->op);
    answer->tail = port->crash->text;
    answer->tail_bytes = port->crash->length;
    return MTVM_OK;
}

static int execute(struct mtvm_server *server, struct mtvm_request *request, struct mtvm_answer *answer, uint8_t kind,
                   int repeated)
{
    const struct mtvm_port *port = server->port;

    switch (kind) {
    case MTVM_TENSOR:
        return mtvm_describe_tensor(server->model, request, answer);
    case MTVM_OPERATOR:
        return mtvm_name_operator(server->model, request, answer);
    case MTVM_LOOKUP:
        return mtvm_look_up(server->model, request, answer);
    case MTVM_WRITE:
        return mtvm_write_input(server, request, repeated);
    case MTVM_READ:
        return mtvm_read_tensor(server, request, answer);
    case MTVM_PING:
        answer->tail = request->at;
        answer->tail_bytes = request->left;
        return MTVM_OK;
    case MTVM_STACK:
        if (!mtvm_ends_here(request))
            return MTVM_ERR_LENGTH;
        if (!port->stack_peak)
            return MTVM_ERR_UNSUPPORTED;
        mtvm_put_number(answer, port->stack_peak(port->context));
        return MTVM_OK;
    case MTVM_CANCEL:
        return cancel(server, request, repeated);
    case MTVM_CRASH:
        return tell_crash(port, request, answer, repeated);
    case MTVM_RESET:
        if (!mtvm_ends_here(request))
            return MTVM_ERR_LENGTH;
        return port->reset ? MTVM_OK : MTVM_ERR_UNSUPPORTED;
    default:
        return MTVM_ERR_REQUEST;
    }
}

/* Something arrived that is no request of this session. Said of every second arrival in a row: that may get lost, and
 * what is sent again may be damaged again; but noise is not answered with as much noise, and an echo dies out. */
static void complain(struct mtvm_server *server)
{
    if (server->quiet++ % UNHEARD == 0)
        send_event(server, server->receiver.seed != 0 ? MTVM_DAMAGED : MTVM_STARTED);
}

/* Answers the request that the receiver holds. */
static void handle(struct mtvm_server *server, int plain)
{
    struct mtvm_receiver *receiver = &server->receiver;
    uint8_t sequence = receiver->data[0];
    uint8_t kind = receiver->data[1];
    uint8_t ahead = (uint8_t)(sequence - server->base);
    int is_run = kind == MTVM_RUN || kind == MTVM_RUN_THROUGH;
    int repeated = ahead >= 128 || (ahead < AHEAD && (server->done >> ahead & 1u));
    struct mtvm_request request;
    struct mtvm_answer answer;
    int status;

    if (plain != (kind == MTVM_HELLO)) {
        complain(server);
        return;
    }
    server->quiet = 0;
    request.at = receiver->data + 2;
    request.left = (size_t)receiver->length - 2;
    request.malformed = 0;
    mtvm_answer_clear(&answer);

    if (kind == MTVM_HELLO) {
        status = hello(server, &request, &answer);
    } else if (!repeated && ahead >= (is_run || kind == MTVM_RESET ? 1 : AHEAD)) {
        status = MTVM_ERR_ORDER;
    } else if (!repeated && server->state != MTVM_IDLE && (is_run || kind == MTVM_WRITE)) {
        status = MTVM_ERR_BUSY;
    } else {
        if (!repeated)
            server->done |= (uint32_t)1 << ahead;
        while (server->done & 1u) {
            server->done >>= 1;
            server->base++;
        }
        if (is_run)
            status = run(server, &request, &answer, sequence, kind, repeated);
        else
            status = execute(server, &request, &answer, kind, repeated);
    }
    send_answer(server, &answer, sequence, kind, status);
    if (kind == MTVM_RESET && status == MTVM_OK && !repeated)
        server->port->reset(server->port->context);
}

enum mtvm_error mtvm_server_init(struct mtvm_server *server, const struct mtvm_port *port,
                                 const struct mtvm_model *model, uint8_t *arena, size_t arena_bytes)
{
    if (model->abi != MTVM_MODEL_ABI)
        return MTVM_ERR_ABI;
    if (arena_bytes < model->arena_bytes)
        return MTVM_ERR_ARENA_SIZE;
    if (((uintptr_t)arena & ((uintptr_t)model->arena_align - 1)) != 0)
        return MTVM_ERR_ARENA_ALIGN;
    if (model->n_inputs > MTVM_MAX_INPUTS)
        return MTVM_ERR_INPUT_COUNT;
    memset(server, 0, sizeof *server);
    server->port = port;
    server->model = model;
    server->arena = arena;
    server->state = MTVM_STARTING;
    note_operator(server, MTVM_CRASH_NO_OPERATOR);
    return MTVM_OK;
}

void mtvm_server_log(const struct mtvm_server *server, const char *text, size_t size)
{
    uint8_t head[2];

    head[0] = 0;
    head[1] = MTVM_LOG;
    while ((server->wishes & WANTS_LOG) != 0 && size != 0) {
        size_t part = size < MTVM_LOG_BYTES ? size : MTVM_LOG_BYTES;

        mtvm_send(server->port, server->receiver.seed, head, sizeof head, (const uint8_t *)text, part);
        text += part;
        size -= part;
    }
}

void mtvm_server_poll(struct mtvm_server *server)
{
    const struct mtvm_port *port = server->port;
    uint8_t bytes[POLL_BYTES];
    size_t count;
    size_t i;

    if (server->state == MTVM_STARTING) {
        server->state = MTVM_IDLE;
        send_event(server, MTVM_STARTED);
    }
    count = port->read(port->context, bytes, sizeof bytes);
    for (i = 0; i < count; i++) {
        switch (mtvm_receive(&server->receiver, bytes[i])) {
        case MTVM_RECEIVED_PACKET:
            handle(server, 0);
            break;
        case MTVM_RECEIVED_PLAIN:
            handle(server, 1);
            break;
        case MTVM_RECEIVED_DAMAGE:
            complain(server);
            break;
        case MTVM_RECEIVED_NOTHING:
            break;
        }
    }
    if (server->state != MTVM_IDLE)
        work(server);
    else if (count == 0 && port->idle)
        port->idle(port->context);
}
