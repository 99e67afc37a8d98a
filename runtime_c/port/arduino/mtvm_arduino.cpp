/* SPDX-License-Identifier: Apache-2.0
 *
 * mtvm_arduino.h with what every Arduino core has: a Stream, and micros(). On AVR the stack is painted as well.
 */
#include "mtvm_arduino.h"
#include "mtvm_arduino_crash.h"

static struct mtvm_server server;

static size_t read_link(void *context, uint8_t *data, size_t capacity)
{
    Stream *link = static_cast<Stream *>(context);
    size_t count = 0;

    while (count < capacity && link->available() > 0)
        data[count++] = static_cast<uint8_t>(link->read());
    return count;
}

static void write_link(void *context, const uint8_t *data, size_t size)
{
    Stream *link = static_cast<Stream *>(context);

    while (size != 0) {
        const size_t count = link->write(data, size);

        if (count == 0)
            return; /* nobody has the port open */
        data += count;
        size -= count;
    }
}

static uint32_t read_ticks(void *context)
{
    (void)context;
    mtvm_arduino_check(); /* the server reads the clock before and after each operator */
    return micros();
}

#ifdef __AVR__
#define PAINT 0xA5u

extern uint8_t __heap_start; /* what lies between this and the stack is free: nothing here allocates */

static void paint_stack()
{
    uint8_t *top = reinterpret_cast<uint8_t *>(SP);

    for (uint8_t *at = &__heap_start; at < top; at++)
        *at = PAINT;
}

static uint32_t read_stack_peak(void *context)
{
    const uint8_t *at = &__heap_start;

    (void)context;
    while (at <= reinterpret_cast<uint8_t *>(RAMEND) && *at == PAINT)
        at++;
    return RAMEND + 1 - reinterpret_cast<uint16_t>(at);
}

/* Turns interrupts on, which they are, and returns. */
static void __attribute__((naked, noinline)) return_from_interrupt()
{
    __asm__ volatile("reti");
}

/* QEMU takes an interrupt that came while they were off only when a handler returns: without this a byte that arrives
 * while an answer is put into the queue is not seen until the next one, which waits for it. */
static void idle(void *context)
{
    (void)context;
    return_from_interrupt();
}
#else
static void paint_stack()
{
}

static uint32_t (*const read_stack_peak)(void *context) = NULL;
static void (*const idle)(void *context) = NULL;
#endif

static struct mtvm_port port = {NULL, read_link, write_link, read_ticks, read_stack_peak, idle, NULL, 1000000u,
                              NULL};

enum mtvm_error mtvm_arduino_begin(Stream &link, const struct mtvm_model &model, uint8_t *arena, size_t arena_bytes)
{
    const struct mtvm_model *served = &model;
    enum mtvm_error error;

    paint_stack();
    port.context = &link;
    port.crash = mtvm_arduino_crash(&served);
    error = mtvm_server_init(&server, &port, served, arena, arena_bytes);
    if (error == MTVM_OK)
        mtvm_arduino_watch();
    return error;
}

void mtvm_arduino_poll()
{
    mtvm_arduino_check();
    mtvm_server_poll(&server);
}

size_t MtvmLog::write(uint8_t character)
{
    line[filled++] = static_cast<char>(character);
    if (character == '\n' || filled == sizeof line)
        flush();
    return 1;
}

size_t MtvmLog::write(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        write(text[i]);
    return size;
}

void MtvmLog::flush()
{
    mtvm_server_log(&server, line, filled);
    filled = 0;
}
