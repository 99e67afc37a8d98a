/* SPDX-License-Identifier: Apache-2.0
 *
 * Throws requests at the server that are almost right, with sanitizers on and the arena alone on the heap: nothing
 * that arrives may make it touch anything else, and it answers afterwards. Arguments: a seed, how many requests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mtvm_rpc.h"
#include "tiny.h"

#define NONCE "\1\2\3\4"

static uint64_t state;
static uint8_t incoming[8 * MTVM_WINDOW_BYTES];
static size_t incoming_bytes;
static size_t incoming_read;
static size_t answered_bytes;
static int idle;

static uint32_t random_below(uint32_t limit)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % limit;
}

static size_t port_read(void *context, uint8_t *data, size_t capacity)
{
    size_t count = incoming_bytes - incoming_read;

    (void)context;
    if (count > capacity)
        count = capacity;
    if (count > 1)
        count = 1 + random_below((uint32_t)count);
    memcpy(data, incoming + incoming_read, count);
    incoming_read += count;
    return count;
}

static void port_write(void *context, const uint8_t *data, size_t size)
{
    volatile uint8_t sum = 0;
    size_t i;

    (void)context;
    for (i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    answered_bytes += size;
}

static void port_idle(void *context)
{
    (void)context;
    idle = 1;
}

static const struct mtvm_port port = {NULL, port_read, port_write, NULL, NULL, port_idle, NULL, 0, NULL};

static void queue_bytes(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    if (size > sizeof incoming - incoming_bytes)
        abort();
    memcpy(incoming + incoming_bytes, data, size);
    incoming_bytes += size;
}

static const struct mtvm_port queue = {NULL, NULL, queue_bytes, NULL, NULL, NULL, NULL, 0, NULL};

static size_t put_number(uint8_t *at, uint32_t value)
{
    size_t count = 0;

    for (; value > 0x7Fu; value >>= 7)
        at[count++] = (uint8_t)(value | 0x80u);
    at[count++] = (uint8_t)value;
    return count;
}

static uint32_t likely_number(void)
{
    static const uint32_t edges[] = {0, 1, 2, 5, 15, 16, 255, 256, 299, 300, 301, 65535, 65536, 0x7FFFFFFF, 0xFFFFFFFF};

    return random_below(3) ? random_below(8) : edges[random_below(sizeof edges / sizeof *edges)];
}

static void queue_request(uint8_t sequence, uint32_t seed)
{
    uint8_t packet[MTVM_DECODED_BYTES];
    size_t size = 2;
    uint32_t fields = random_below(5);

    packet[0] = random_below(8) ? sequence : (uint8_t)random_below(256);
    packet[1] = (uint8_t)(random_below(8) ? 1 + random_below(13) : random_below(256));
    while (fields--)
        size += put_number(packet + size, likely_number());
    if (random_below(2)) {
        size_t data = random_below((uint32_t)(sizeof packet - size - MTVM_CRC_BYTES));

        memset(packet + size, (int)random_below(256), data);
        size += data;
    }
    mtvm_send(&queue, seed, packet, size, packet, 0);
    if (random_below(16) == 0)
        incoming[random_below((uint32_t)incoming_bytes)] ^= (uint8_t)(1 + random_below(255));
}

static void work(struct mtvm_server *server)
{
    idle = 0;
    while (!idle)
        mtvm_server_poll(server);
    incoming_bytes = 0;
    incoming_read = 0;
}

int main(int argc, char **argv)
{
    static const uint8_t hello[] = {0, MTVM_HELLO, MTVM_PROTOCOL, 1, 2, 3, 4, 3};
    static const uint8_t ping[] = {0, MTVM_PING};
    uint32_t seed = mtvm_crc32(0, (const uint8_t *)NONCE, 4);
    struct mtvm_model stale = tiny_model;
    struct mtvm_model greedy = tiny_model;
    uint8_t *arena = malloc(TINY_ARENA_BYTES);
    struct mtvm_server *server = malloc(sizeof *server);
    long count = argc == 3 ? atol(argv[2]) : 0;
    long i;

    if (count <= 0 || !arena || !server)
        return EXIT_FAILURE;
    state = (uint64_t)atol(argv[1]);
    stale.abi = MTVM_MODEL_ABI + 1;
    greedy.n_inputs = MTVM_MAX_INPUTS + 1;
    if (mtvm_server_init(server, &port, &stale, arena, TINY_ARENA_BYTES) != MTVM_ERR_ABI ||
        mtvm_server_init(server, &port, &greedy, arena, TINY_ARENA_BYTES) != MTVM_ERR_INPUT_COUNT ||
        mtvm_server_init(server, &port, &tiny_model, arena, TINY_ARENA_BYTES - 1) != MTVM_ERR_ARENA_SIZE ||
        mtvm_server_init(server, &port, &tiny_model, arena + 1, TINY_ARENA_BYTES) != MTVM_ERR_ARENA_ALIGN ||
        mtvm_server_init(server, &port, &tiny_model, arena, TINY_ARENA_BYTES) != MTVM_OK)
        return EXIT_FAILURE;
    for (i = 0; i < count; i++) {
        if (i % 64 == 0) {
            mtvm_send(&queue, 0, hello, sizeof hello, hello, 0);
            work(server);
        }
        queue_request(server->base, seed);
        if (random_below(4) == 0 || incoming_bytes > sizeof incoming / 2)
            work(server);
    }
    work(server);
    mtvm_send(&queue, 0, hello, sizeof hello, hello, 0);
    work(server);
    answered_bytes = 0;
    mtvm_send(&queue, seed, ping, sizeof ping, ping, 0);
    work(server);
    free(arena);
    free(server);
    return answered_bytes != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
