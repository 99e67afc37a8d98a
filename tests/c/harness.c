/* SPDX-License-Identifier: Apache-2.0
 *
 * The server and the hand-written model with a port in memory, as a shared library for the Python tests: a counter
 * that goes on by 1000 at every look, a stack peak of 1234 bytes, and a reset that starts the server again.
 */
#include "harness.h"

#include <string.h>

#include "mtvm_rpc.h"
#include "tiny.h"

static struct mtvm_server server;
static uint8_t arena[TINY_ARENA_BYTES] __attribute__((aligned(16)));
static const uint8_t *incoming;
static size_t incoming_bytes;
static uint8_t *outgoing;
static size_t outgoing_bytes;
static size_t outgoing_capacity;
static uint32_t ticks;
static uint32_t ticks_step = 1000;
static int idle;

static size_t port_read(void *context, uint8_t *data, size_t capacity)
{
    size_t count = incoming_bytes < capacity ? incoming_bytes : capacity;

    (void)context;
    memcpy(data, incoming, count);
    incoming += count;
    incoming_bytes -= count;
    return count;
}

static void port_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    if (size > outgoing_capacity - outgoing_bytes)
        return;
    memcpy(outgoing + outgoing_bytes, data, size);
    outgoing_bytes += size;
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
    return 1234;
}

static void port_idle(void *context)
{
    (void)context;
    idle = 1;
}

static void port_reset(void *context)
{
    (void)context;
    harness_start();
}

static struct mtvm_crash crash;

static const struct mtvm_port port = {NULL,      port_read,  port_write, port_ticks, port_stack_peak,
                                      port_idle, port_reset, 25000000u,  &crash};

void harness_crash(const char *text)
{
    mtvm_crash_begin(&crash);
    mtvm_crash_add(&crash, text, strlen(text));
}

size_t harness_log(const char *text, uint8_t *received, size_t capacity)
{
    outgoing = received;
    outgoing_bytes = 0;
    outgoing_capacity = capacity;
    mtvm_server_log(&server, text, strlen(text));
    return outgoing_bytes;
}

void harness_tick(uint32_t step)
{
    ticks_step = step;
}

int harness_start(void)
{
    return (int)mtvm_server_init(&server, &port, &tiny_model, arena, sizeof arena);
}

size_t harness_exchange(const uint8_t *sent, size_t sent_bytes, uint8_t *received, size_t capacity)
{
    incoming = sent;
    incoming_bytes = sent_bytes;
    outgoing = received;
    outgoing_bytes = 0;
    outgoing_capacity = capacity;
    idle = 0;
    while (!idle)
        mtvm_server_poll(&server);
    return outgoing_bytes;
}

int harness_runs(void)
{
    return (int)tiny_runs();
}

size_t harness_server_bytes(void)
{
    return sizeof server;
}
