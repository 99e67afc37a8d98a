/* SPDX-License-Identifier: Apache-2.0
 *
 * What a UART can do at best: instead of main.c in a bare-metal project. The host sends how many bytes a message has,
 * how many bytes its answer has, and how many there are, 4 bytes each, least significant first; then the messages. A
 * message of 0 bytes: so many bytes are sent back as they come.
 */
#include "board.h"
#include "platform.h"

#define CHUNK_BYTES 256

static uint8_t chunk[CHUNK_BYTES];

static void receive(size_t count)
{
    size_t got = 0;

    while (got < count) {
        got += uart_read(chunk + got, count - got);
    }
}

static uint32_t number(void)
{
    receive(4);
    return (uint32_t)chunk[0] | (uint32_t)chunk[1] << 8 | (uint32_t)chunk[2] << 16 | (uint32_t)chunk[3] << 24;
}

int main(void)
{
    uart_init();
    for (;;) {
        const size_t message = number();
        const size_t answer = number();
        uint32_t left = number();

        while (message == 0 && left != 0) {
            const size_t count = uart_read(chunk, left < CHUNK_BYTES ? left : CHUNK_BYTES);

            uart_write(chunk, count);
            left -= (uint32_t)count;
        }
        for (; left != 0; left--) {
            receive(message);
            uart_write(chunk, answer);
        }
    }
}
