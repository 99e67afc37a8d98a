/* SPDX-License-Identifier: Apache-2.0
 *
 * For libFuzzer: an input is a list of actions of a host and of an application, so that most of what arrives is whole
 * and gets past the CRC. Whatever comes, the server touches nothing but its arena (alone on the heap, as the server
 * is), sends whole frames only, runs nothing that it was not asked to, and answers a new session.
 */
#include <string.h>

#include "mtvm_request.h"
#include "plain.h"
#include "tiny.h"

#define NONCES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum action { REQUEST, NEXT_REQUEST, ANY_KIND, SAY_HELLO, RAW, APPLICATION, POLL, WORK, ACTIONS };

static const uint8_t *program; /* what is left of the input */
static size_t program_bytes;

static struct mtvm_server *server;
static uint8_t *arena;
static uint8_t incoming[8 * MTVM_WINDOW_BYTES];
static size_t incoming_bytes;
static size_t incoming_read;
static uint8_t outgoing[1024]; /* between two delimiters: the longest answer is one of MTVM_READ_BYTES */
static size_t outgoing_bytes;
static uint32_t seeds[NONCES];
static uint32_t ticks;
static uint32_t ticks_step;
static uint8_t last_answer[2];
static uint8_t ran[256]; /* bit i of a request's number: it has executed operator i */
static int idle;
static struct mtvm_crash crash;

static uint8_t take(void)
{
    if (program_bytes == 0)
        return 0;
    program_bytes--;
    return *program++;
}

static void start(void);

static size_t port_read(void *context, uint8_t *data, size_t capacity)
{
    size_t count = incoming_bytes - incoming_read;

    (void)context;
    if (count > capacity)
        count = capacity;
    memcpy(data, incoming + incoming_read, count);
    incoming_read += count;
    return count;
}

/* By the runtime's own CRC, which is quicker than that of plain.h and compared with it where frames are fuzzed. */
static int fits(uint32_t seed, const uint8_t *packet, size_t length)
{
    uint32_t crc = mtvm_crc32(seed, packet, length - MTVM_CRC_BYTES);
    size_t i;

    for (i = 0; i < MTVM_CRC_BYTES; i++)
        if (packet[length - MTVM_CRC_BYTES + i] != (uint8_t)(crc >> (8 * i)))
            return 0;
    return 1;
}

/* A frame that the server sent: whole, of the present session or of none. */
static void hear(void)
{
    uint8_t packet[sizeof outgoing];
    size_t length = plain_unstuff(outgoing, outgoing_bytes, packet);

    CHECK(length != SIZE_MAX && length >= 2 + MTVM_CRC_BYTES);
    CHECK(fits(server->receiver.seed, packet, length) || fits(0, packet, length));
    CHECK((packet[1] & MTVM_ANSWER) != 0);
    memcpy(last_answer, packet, sizeof last_answer);
    if (packet[1] == (MTVM_HELLO | MTVM_ANSWER) && server->base == 1 && server->done == 0)
        memset(ran, 0, sizeof ran);
}

static void port_write(void *context, const uint8_t *data, size_t size)
{
    size_t i;

    (void)context;
    for (i = 0; i < size; i++) {
        if (data[i] != 0) {
            CHECK(outgoing_bytes < sizeof outgoing);
            outgoing[outgoing_bytes++] = data[i];
        } else if (outgoing_bytes != 0) {
            hear();
            outgoing_bytes = 0;
        }
    }
}

static uint32_t port_ticks(void *context)
{
    (void)context;
    ticks += ticks_step;
    return ticks;
}

static uint32_t port_stack_peak(void *context)
{
    (void)context;
    return ticks;
}

static void port_idle(void *context)
{
    (void)context;
    idle = 1;
}

static void port_reset(void *context)
{
    (void)context;
    start();
}

static const struct mtvm_port port = {NULL,      port_read,  port_write, port_ticks, port_stack_peak,
                                      port_idle, port_reset, 1000,       &crash};

/* Before an operator of the model runs: the present request has not done that before. Numbers that are to come are
 * free again. */
static void check_first(unsigned op)
{
    unsigned i;

    for (i = 32; i < 128; i++)
        ran[(uint8_t)(server->base + i)] = 0;
    CHECK((ran[server->run_sequence] >> op & 1u) == 0);
    ran[server->run_sequence] |= (uint8_t)(1u << op);
}

static void halve(uint8_t *memory)
{
    check_first(0);
    tiny_model.ops[0].run(memory);
}

static void sum(uint8_t *memory)
{
    check_first(1);
    tiny_model.ops[1].run(memory);
}

static void add(uint8_t *memory)
{
    check_first(2);
    tiny_model.ops[2].run(memory);
}

static void run(uint8_t *memory)
{
    halve(memory);
    sum(memory);
    add(memory);
}

static void start(void)
{
    static const struct mtvm_op ops[] = {{"halve", halve}, {"sum", sum}, {"add", add}};
    static struct mtvm_model model;

    model = tiny_model;
    model.ops = ops;
    model.run = run;
    memset(ran, 0, sizeof ran);
    CHECK(mtvm_server_init(server, &port, &model, arena, TINY_ARENA_BYTES) == MTVM_OK);
}

static void queue_bytes(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    CHECK(size <= sizeof incoming - incoming_bytes);
    memcpy(incoming + incoming_bytes, data, size);
    incoming_bytes += size;
}

static const struct mtvm_port queue = {NULL, NULL, queue_bytes, NULL, NULL, NULL, NULL, 0, NULL};

static void work(void)
{
    idle = 0;
    while (!idle)
        mtvm_server_poll(server);
    incoming_bytes = 0;
    incoming_read = 0;
}

static void poll(void)
{
    mtvm_server_poll(server);
    if (incoming_read == incoming_bytes) {
        incoming_bytes = 0;
        incoming_read = 0;
    }
}

static void request(uint8_t sequence, uint8_t kind, uint8_t nonce, size_t most)
{
    uint8_t packet[2 + MTVM_WINDOW_BYTES];
    size_t size = 2;
    size_t fields = take() % most;

    packet[0] = sequence;
    packet[1] = kind;
    while (fields--)
        packet[size++] = take();
    mtvm_send(&queue, nonce < NONCES ? seeds[nonce] : server->receiver.seed, packet, size, packet, 0);
}

static void say_hello(uint8_t nonce, uint8_t wishes)
{
    uint8_t packet[] = {0, MTVM_HELLO, MTVM_PROTOCOL, 'n', 'o', 'n', 0, 0};

    packet[6] = nonce % NONCES;
    packet[7] = wishes & 3u;
    mtvm_send(&queue, 0, packet, sizeof packet, packet, 0);
}

static void raw(size_t most)
{
    size_t left = take() % most;

    while (left--) {
        uint8_t byte = take();

        queue_bytes(NULL, &byte, 1);
    }
}

/* What the application does beside the server. */
static void application(uint8_t what)
{
    uint8_t text[3 * MTVM_LOG_BYTES];
    size_t size = what & 4u ? take() : sizeof text;

    memset(text, 'x', sizeof text);
    switch (what & 3u) {
    case 0:
        mtvm_server_log(server, (const char *)text, size);
        break;
    case 1:
        mtvm_crash_begin(&crash);
        mtvm_crash_add(&crash, (const char *)text, size / 2);
        mtvm_crash_add(&crash, (const char *)text, size / 2);
        break;
    case 2:
        ticks_step = (uint32_t)size;
        break;
    default: /* memory that nothing has been written to since power came */
        crash.crc = take();
        crash.op = take();
        crash.length = (uint16_t)(take() << 8 | take());
        break;
    }
}

static void act(void)
{
    uint8_t action = take();
    uint8_t argument = action / ACTIONS;
    uint8_t sequence = (uint8_t)(server->base + argument - 2u);

    switch (action % ACTIONS) {
    case NEXT_REQUEST:
        sequence = server->base;
        request(sequence, (uint8_t)(MTVM_HELLO + argument % MTVM_CRASH), NONCES, 128);
        break;
    case REQUEST:
        request(sequence, (uint8_t)(MTVM_HELLO + take() % MTVM_CRASH), NONCES, 16);
        break;
    case ANY_KIND:
        request(take(), take(), argument, MTVM_WINDOW_BYTES);
        break;
    case SAY_HELLO:
        say_hello(argument, argument / NONCES);
        break;
    case RAW:
        raw(MTVM_WINDOW_BYTES);
        break;
    case APPLICATION:
        application(argument);
        break;
    case POLL:
        poll();
        break;
    default:
        work();
        break;
    }
}

/* Whatever state the server is in, it begins a session and answers in it. */
static void check_alive(void)
{
    static const uint8_t hello[] = {0, MTVM_HELLO, MTVM_PROTOCOL, 'l', 'a', 's', 't', 0};
    static const uint8_t ping[] = {1, MTVM_PING};
    static const uint8_t zero;

    work();
    queue_bytes(NULL, &zero, 1);
    mtvm_send(&queue, 0, hello, sizeof hello, hello, 0);
    work();
    CHECK(last_answer[0] == 0 && last_answer[1] == (MTVM_HELLO | MTVM_ANSWER));
    mtvm_send(&queue, server->receiver.seed, ping, sizeof ping, ping, 0);
    work();
    CHECK(last_answer[0] == 1 && last_answer[1] == (MTVM_PING | MTVM_ANSWER));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t nonce[] = {'n', 'o', 'n', 0};

    program = data;
    program_bytes = size;
    arena = malloc(TINY_ARENA_BYTES);
    server = malloc(sizeof *server);
    CHECK(arena && server);
    for (nonce[3] = 0; nonce[3] < NONCES; nonce[3]++)
        seeds[nonce[3]] = mtvm_crc32(0, nonce, sizeof nonce);
    incoming_bytes = incoming_read = outgoing_bytes = 0;
    ticks = 0;
    ticks_step = 1;
    memset(&crash, 0, sizeof crash);
    memset(arena, 0, TINY_ARENA_BYTES);
    start();
    while (program_bytes != 0) {
        if (incoming_bytes > sizeof incoming / 2)
            work();
        act();
    }
    check_alive();
    free(server);
    free(arena);
    return 0;
}
