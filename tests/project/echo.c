/* SPDX-License-Identifier: Apache-2.0
 *
 * Takes the place of a project's main.c: sends back what arrives, and obeys a few commands.
 */
#include <errno.h>

#include "board.h"
#include "platform.h"

enum { ESCAPE = 0x1B };

static volatile uint32_t zeroed;
static volatile uint32_t filled = 0x600DCAFEu;
static volatile float factor = 1.5f;

static void put_word(uint32_t value)
{
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                              (uint8_t)(value >> 24)};

    uart_write(bytes, sizeof(bytes));
}

/* Deeper than any stack. Each level needs the address of the one above, so it can't become a loop; the end is
 * there for the compiler's peace of mind. */
static uint32_t descend(const volatile uint32_t *above)
{
    volatile uint32_t room[32];

    room[*above % 32u] = *above + 1u;
    return *above == UINT32_MAX ? 0u : descend(&room[*above % 32u]) + room[0];
}

static uint8_t wait_byte(void)
{
    uint8_t byte;

    while (uart_read(&byte, 1) == 0) {
    }
    return byte;
}

static void command(uint8_t name)
{
    uint32_t before;

    switch (name) {
    case ESCAPE:
        uart_write(&name, 1);
        break;
    case 'v': /* variables: initialised, zeroed, the C library's, and float arithmetic */
        put_word(filled);
        put_word(zeroed);
        put_word((uint32_t)errno);
        put_word((uint32_t)(factor * 6.0f));
        filled = 1;
        zeroed = 1;
        errno = 34;
        break;
    case 't': /* ticks of a loop */
        before = counter_read();
        for (volatile uint32_t i = 0; i < 100000u; i++) {
        }
        put_word(counter_read() - before);
        break;
    case 's':
        put_word(stack_peak());
        break;
    case 'r':
        board_reset();
        break;
    case 'b': /* an address where nothing is, highest byte first */
        before = 0;
        for (int i = 0; i < 4; i++) {
            before = before << 8 | wait_byte();
        }
        REGISTER(before) = 1;
        break;
    case 'u': /* an instruction that is none */
#if defined(__riscv)
        __asm__ volatile("unimp");
#else
        __asm__ volatile("udf #0");
#endif
        break;
    case 'k': /* the record of a crash, once */
        if (!mtvm_crash_valid(&crash_record)) {
            put_word(0);
            break;
        }
        put_word(crash_record.length);
        uart_write(crash_record.text, crash_record.length);
        mtvm_crash_clear(&crash_record);
        break;
    case 'o':
        before = 0;
        put_word(descend(&before));
        break;
    default:
        break;
    }
}

int main(void)
{
    uart_init();
    counter_init();
    for (;;) {
        uint8_t byte = wait_byte();

        if (byte == ESCAPE) {
            command(wait_byte());
        } else {
            uart_write(&byte, 1);
        }
    }
}
