/* SPDX-License-Identifier: Apache-2.0
 *
 * The server of mtvm_rpc.h: sessions, requests in any order that a damaged line leaves of them, and runs.
 *
 * Requests that a host may have under way together (all but runs and resets) neither depend on each other's order
 * nor change what another one answers, so each is executed when it arrives, and a bit per number tells a repeated
 * one. A run waits until no earlier request is missing.
 */
#include "mtvm_rpc.h"

#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors go over the wire as they lie in memory, little-endian"
#endif

#define HASH_BYTES 16
#define NONCE_BYTES 4
#define POLL_BYTES 32  /* taken from the port in one poll */
#define AHEAD 32       /* requests that may arrive before an earlier one: the bits of `done` */
#define OVERWRITTEN UINT32_MAX
#define NUMBER_BYTES 5 /* the longest number */

/* The longest answer but for its tail: MTVM_HELLO's header, nonce, hash, eleven numbers. */
#define HEAD_BYTES (3 + NONCE_BYTES + HASH_BYTES + 11 * NUMBER_BYTES)

/* What MTVM_HELLO says of the port. */
#define HAS_TICKS 1u
#define HAS_STACK 2u
#define HAS_RESET 4u

enum state { IDLE, RUN_WHOLE, RUN_STEPS, STARTING };

struct answer {
    size_t filled;
    const uint8_t *tail;
    size_t tail_bytes;
    uint32_t detail; /* what an error is about */
    uint8_t head[HEAD_BYTES];
};

struct request {
    const uint8_t *at;
    size_t left;
    uint8_t malformed;
};

/* Numbers are little-endian base 128: seven bits a byte, bit 7 set in all but the last. */
static void put_number(struct answer *answer, uint32_t value)
{
    while (value > 0x7Fu) {
        answer->head[answer->filled++] = (uint8_t)(value | 0x80u);
        value >>= 7;
    }
    answer->head[answer->filled++] = (uint8_t)value;
}

static void put_bytes(struct answer *answer, const void *data, size_t size)
{
    memcpy(answer->head + answer->filled, data, size);
    answer->filled += size;
}

static void put_name(struct answer *answer, const char *name)
{
    answer->tail = (const uint8_t *)name;
    answer->tail_bytes = strlen(name);
}

static uint32_t take_number(struct request *request)
{
    uint32_t value = 0;
    unsigned shift;

    for (shift = 0; shift < 7 * NUMBER_BYTES && request->left != 0; shift += 7) {
        uint8_t byte = *request->at++;

        request->left--;
        if (shift == 28 && byte > 0x0Fu)
            break;
        value |= (uint32_t)(byte & 0x7Fu) << shift;
        if (byte < 0x80u)
            return value;
    }
    request->malformed = 1;
    return 0;
}

static int ends_here(const struct request *request)
{
    return !request->malformed && request->left == 0;
}

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

static void send_answer(const struct mtvm_server *server, struct answer *answer, uint8_t sequence, uint8_t kind,
                        int status)
{
    if (status < 0) {
        answer->filled = 3;
        answer->tail_bytes = 0;
        put_number(answer, answer->detail);
    }
    answer->head[0] = sequence;
    answer->head[1] = (uint8_t)(kind | MTVM_ANSWER);
    answer->head[2] = (uint8_t)status;
    mtvm_send(server->port, kind == MTVM_HELLO ? 0 : server->receiver.seed, answer->head, answer->filled, answer->tail,
              answer->tail_bytes);
}

static void clear(struct answer *answer)
{
    answer->filled = 3;
    answer->tail = answer->head;
    answer->tail_bytes = 0;
    answer->detail = 0;
}

/* Fills the answer to the last run request; returns its status. */
static int run_result(const struct mtvm_server *server, struct answer *answer)
{
    answer->detail = server->run_detail;
    if (server->run_status == MTVM_OK) {
        put_number(answer, server->step);
        put_number(answer, server->ticks);
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

        if (written >= model->tensors[model->inputs[i]].size && written != OVERWRITTEN)
            continue;
        server->run_detail = model->inputs[i];
        return written == OVERWRITTEN ? MTVM_ERR_INPUT_OVERWRITTEN : MTVM_ERR_INPUT_MISSING;
    }
    return MTVM_OK;
}

static void advance(struct mtvm_server *server, uint16_t step)
{
    const struct mtvm_model *model = server->model;
    uint16_t i;

    server->step = step;
    for (i = 0; i < model->n_inputs; i++)
        if (model->tensors[model->inputs[i]].live_to < step)
            server->written[i] = OVERWRITTEN;
    if (step != server->target)
        return;
    server->state = IDLE;
    server->run_status = MTVM_OK;
}

static void work(struct mtvm_server *server)
{
    const struct mtvm_model *model = server->model;
    uint32_t start = now(server);

    if (server->state == RUN_WHOLE) {
        model->run(server->arena);
        server->ticks = now(server) - start;
        advance(server, model->n_ops);
    } else {
        model->ops[server->step].run(server->arena);
        server->ticks += now(server) - start;
        advance(server, (uint16_t)(server->step + 1));
    }
    if (server->state == IDLE) {
        struct answer answer;

        clear(&answer);
        send_answer(server, &answer, server->run_sequence, server->run_kind, run_result(server, &answer));
    }
}

static int begin_run(struct mtvm_server *server, struct request *request, uint8_t kind)
{
    const struct mtvm_model *model = server->model;
    uint32_t op = 0;
    uint32_t restart = 1;
    int status;

    server->run_detail = 0;
    if (kind == MTVM_RUN_THROUGH) {
        op = take_number(request);
        restart = take_number(request);
    }
    if (!ends_here(request))
        return MTVM_ERR_LENGTH;
    if (kind == MTVM_RUN_THROUGH && op >= model->n_ops)
        return MTVM_ERR_INDEX;
    if (restart == 0 && op < server->step) {
        server->run_detail = server->step;
        return MTVM_ERR_STEP;
    }
    if (restart != 0 || server->step == 0) {
        status = check_inputs(server);
        if (status != MTVM_OK)
            return status;
        server->step = 0;
    }
    server->ticks = 0;
    server->state = kind == MTVM_RUN ? RUN_WHOLE : RUN_STEPS;
    server->target = kind == MTVM_RUN ? model->n_ops : (uint16_t)(op + 1);
    return MTVM_ACCEPTED;
}

static int run(struct mtvm_server *server, struct request *request, struct answer *answer, uint8_t sequence,
               uint8_t kind, int repeated)
{
    if (!repeated) {
        if (server->state != IDLE)
            return MTVM_ERR_BUSY;
        server->run_sequence = sequence;
        server->run_kind = kind;
        server->run_status = (int8_t)begin_run(server, request, kind);
    } else if (server->run_sequence != sequence || server->run_kind != kind) {
        return MTVM_ERR_ORDER;
    }
    return run_result(server, answer);
}

static int hello(struct mtvm_server *server, struct request *request, struct answer *answer)
{
    const struct mtvm_model *model = server->model;
    const struct mtvm_port *port = server->port;
    uint32_t version = take_number(request);
    const uint8_t *nonce = request->at;
    uint32_t seed;

    if (!request->malformed && version != MTVM_PROTOCOL) {
        answer->detail = MTVM_PROTOCOL;
        return MTVM_ERR_VERSION;
    }
    if (request->malformed || request->left != NONCE_BYTES)
        return MTVM_ERR_LENGTH;
    seed = mtvm_crc32(0, nonce, NONCE_BYTES);
    if (seed == 0)
        return MTVM_ERR_NONCE;
    if (seed != server->receiver.seed) {
        server->receiver.seed = seed;
        server->base = 1;
        server->done = 0;
        server->step = 0;
        server->run_kind = 0;
        server->state = IDLE;
        memset(server->written, 0, sizeof server->written);
    }
    put_number(answer, MTVM_PROTOCOL);
    put_bytes(answer, nonce, NONCE_BYTES);
    put_bytes(answer, model->hash, HASH_BYTES);
    put_number(answer, MTVM_WINDOW_BYTES);
    put_number(answer, MTVM_FRAME_BYTES);
    put_number(answer, MTVM_READ_BYTES);
    put_number(answer, model->n_tensors);
    put_number(answer, model->n_inputs);
    put_number(answer, model->n_outputs);
    put_number(answer, model->n_ops);
    put_number(answer, model->arena_bytes);
    put_number(answer, port->ticks ? port->ticks_hz : 0);
    put_number(answer, (port->ticks ? HAS_TICKS : 0u) | (port->stack_peak ? HAS_STACK : 0u) |
                           (port->reset ? HAS_RESET : 0u));
    put_name(answer, model->name);
    return MTVM_OK;
}

static int describe_tensor(const struct mtvm_model *model, struct request *request, struct answer *answer)
{
    uint32_t index = take_number(request);
    const struct mtvm_tensor *tensor;
    uint32_t zero_point;
    uint8_t i;

    if (!ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    tensor = &model->tensors[index];
    put_number(answer, tensor->dtype);
    put_number(answer, tensor->rank);
    for (i = 0; i < tensor->rank; i++)
        put_number(answer, tensor->shape[i]);
    put_number(answer, tensor->size);
    put_bytes(answer, &tensor->scale, sizeof tensor->scale);
    zero_point = (uint16_t)tensor->zero_point;
    put_number(answer, zero_point);
    put_number(answer, tensor->live_from);
    put_number(answer, tensor->live_to);
    put_name(answer, tensor->name);
    return MTVM_OK;
}

static int name_operator(const struct mtvm_model *model, struct request *request, struct answer *answer)
{
    uint32_t index = take_number(request);

    if (!ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_ops)
        return MTVM_ERR_INDEX;
    put_name(answer, model->ops[index].name);
    return MTVM_OK;
}

static int look_up(const struct mtvm_model *model, struct request *request, struct answer *answer)
{
    uint32_t outputs = take_number(request);
    uint32_t position = take_number(request);

    if (!ends_here(request))
        return MTVM_ERR_LENGTH;
    if (outputs > 1 || position >= (outputs ? model->n_outputs : model->n_inputs))
        return MTVM_ERR_INDEX;
    put_number(answer, outputs ? model->outputs[position] : model->inputs[position]);
    return MTVM_OK;
}

static uint16_t input_position(const struct mtvm_model *model, uint32_t index)
{
    uint16_t i = 0;

    while (i < model->n_inputs && model->inputs[i] != index)
        i++;
    return i;
}

static int lies_within(const struct mtvm_tensor *tensor, uint32_t offset, size_t bytes)
{
    return bytes != 0 && offset < tensor->size && bytes <= tensor->size - offset;
}

static int write_input(struct mtvm_server *server, struct request *request, int repeated)
{
    const struct mtvm_model *model = server->model;
    uint32_t index = take_number(request);
    uint32_t offset = take_number(request);
    const struct mtvm_tensor *tensor;
    uint32_t *written;
    uint16_t position;

    if (request->malformed)
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    position = input_position(model, index);
    if (position == model->n_inputs)
        return MTVM_ERR_NOT_INPUT;
    tensor = &model->tensors[index];
    if (!lies_within(tensor, offset, request->left))
        return MTVM_ERR_RANGE;
    if (server->state != IDLE)
        return MTVM_ERR_BUSY;
    if (repeated)
        return MTVM_OK;
    /* Other tensors may lie where the inputs do: whatever an earlier inference has left is gone. */
    server->step = 0;
    memcpy(server->arena + tensor->offset + offset, request->at, request->left);
    written = &server->written[position];
    if (*written == OVERWRITTEN)
        *written = 0;
    if (*written < tensor->size)
        *written += (uint32_t)request->left;
    return MTVM_OK;
}

static int read_tensor(struct mtvm_server *server, struct request *request, struct answer *answer)
{
    const struct mtvm_model *model = server->model;
    uint32_t index = take_number(request);
    uint32_t offset = take_number(request);
    uint32_t bytes = take_number(request);
    const struct mtvm_tensor *tensor;
    uint16_t position;

    if (!ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    tensor = &model->tensors[index];
    if (bytes > MTVM_READ_BYTES || !lies_within(tensor, offset, bytes))
        return MTVM_ERR_RANGE;
    answer->detail = server->step;
    if (server->step < tensor->live_from)
        return MTVM_ERR_NOT_YET;
    if (server->step > tensor->live_to)
        return MTVM_ERR_GONE;
    answer->detail = index;
    position = input_position(model, index);
    if (position != model->n_inputs) {
        if (server->written[position] == OVERWRITTEN)
            return MTVM_ERR_INPUT_OVERWRITTEN;
        if (server->written[position] < tensor->size)
            return MTVM_ERR_INPUT_MISSING;
    }
    answer->tail = server->arena + tensor->offset + offset;
    answer->tail_bytes = bytes;
    return MTVM_OK;
}

static int execute(struct mtvm_server *server, struct request *request, struct answer *answer, uint8_t kind,
                   int repeated)
{
    const struct mtvm_port *port = server->port;

    switch (kind) {
    case MTVM_TENSOR:
        return describe_tensor(server->model, request, answer);
    case MTVM_OPERATOR:
        return name_operator(server->model, request, answer);
    case MTVM_LOOKUP:
        return look_up(server->model, request, answer);
    case MTVM_WRITE:
        return write_input(server, request, repeated);
    case MTVM_READ:
        return read_tensor(server, request, answer);
    case MTVM_PING:
        answer->tail = request->at;
        answer->tail_bytes = request->left;
        return MTVM_OK;
    case MTVM_STACK:
        if (!ends_here(request))
            return MTVM_ERR_LENGTH;
        if (!port->stack_peak)
            return MTVM_ERR_UNSUPPORTED;
        put_number(answer, port->stack_peak(port->context));
        return MTVM_OK;
    case MTVM_RESET:
        if (!ends_here(request))
            return MTVM_ERR_LENGTH;
        return port->reset ? MTVM_OK : MTVM_ERR_UNSUPPORTED;
    default:
        return MTVM_ERR_REQUEST;
    }
}

/* Something arrived that is no request of this session. Said once, or noise would be answered with noise. */
static void complain(struct mtvm_server *server)
{
    if (!server->quiet)
        send_event(server, server->receiver.seed != 0 ? MTVM_DAMAGED : MTVM_STARTED);
    server->quiet = 1;
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
    struct request request;
    struct answer answer;
    int status;

    if (plain != (kind == MTVM_HELLO)) {
        complain(server);
        return;
    }
    server->quiet = 0;
    request.at = receiver->data + 2;
    request.left = (size_t)receiver->length - 2;
    request.malformed = 0;
    clear(&answer);

    if (kind == MTVM_HELLO) {
        status = hello(server, &request, &answer);
    } else if (!repeated && ahead >= (is_run || kind == MTVM_RESET ? 1 : AHEAD)) {
        status = MTVM_ERR_ORDER;
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
    server->state = STARTING;
    return MTVM_OK;
}

void mtvm_server_poll(struct mtvm_server *server)
{
    const struct mtvm_port *port = server->port;
    uint8_t bytes[POLL_BYTES];
    size_t count;
    size_t i;

    if (server->state == STARTING) {
        server->state = IDLE;
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
    if (server->state != IDLE)
        work(server);
    else if (count == 0 && port->idle)
        port->idle(port->context);
}
