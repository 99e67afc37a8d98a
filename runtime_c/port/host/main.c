/* SPDX-License-Identifier: Apache-2.0
 *
 * The `host` board: the server in a process of a POSIX system, its link on standard input and output.
 *
 * Built with -DMTVM_MODEL=<prefix>_model and -DMTVM_ARENA_BYTES=<bytes>. Ends when its input does.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "mtvm_rpc.h"

extern const struct mtvm_model MTVM_MODEL;

static uint8_t arena[MTVM_ARENA_BYTES] __attribute__((aligned(64)));

static int readable(int timeout_ms)
{
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};

    return poll(&input, 1, timeout_ms) > 0;
}

static size_t port_read(void *context, uint8_t *data, size_t capacity)
{
    ssize_t count;

    (void)context;
    if (!readable(0))
        return 0;
    count = read(STDIN_FILENO, data, capacity);
    if (count == 0)
        exit(EXIT_SUCCESS);
    return count > 0 ? (size_t)count : 0;
}

static void port_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    while (size != 0) {
        ssize_t count = write(STDOUT_FILENO, data, size);

        if (count < 0 && errno != EINTR)
            exit(EXIT_FAILURE);
        if (count > 0) {
            data += count;
            size -= (size_t)count;
        }
    }
}

static uint32_t port_ticks(void *context)
{
    struct timespec now;

    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000000000u + (uint32_t)now.tv_nsec;
}

static void port_idle(void *context)
{
    (void)context;
    readable(-1);
}

/* A fresh process on the same link is what a restarted board is. */
static void port_reset(void *context)
{
    (void)context;
    execl("/proc/self/exe", "mtvm_host", (char *)NULL);
}

int main(void)
{
    static const struct mtvm_port port = {NULL,      port_read,  port_write, port_ticks,
                                          NULL, port_idle, port_reset, 1000000000u, NULL};
    static struct mtvm_server server;
    enum mtvm_error error = mtvm_server_init(&server, &port, &MTVM_MODEL, arena, sizeof arena);

    if (error != MTVM_OK) {
        (void)fprintf(stderr, "the server does not start: error %d of mtvm_error.h\n", (int)error);
        return EXIT_FAILURE;
    }
    for (;;)
        mtvm_server_poll(&server);
}
