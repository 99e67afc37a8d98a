/* SPDX-License-Identifier: Apache-2.0
 *
 * A fault is told as text between two delimiters: no decoder of frames takes it for an answer, and a person
 * with a terminal can read it. `\0mtvm: fault exception=00000003 pc=0000012c ...\0`
 */
#include "platform.h"

static void put_text(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    uart_write((const uint8_t *)text, length);
}

static void put_hex(uint32_t value)
{
    uint8_t digits[8];

    for (size_t i = 0; i < sizeof(digits); i++) {
        digits[i] = (uint8_t)"0123456789abcdef"[(value >> (28u - 4u * i)) & 15u];
    }
    uart_write(digits, sizeof(digits));
}

void fault_report(const char *what, const struct fault_register *registers, size_t count)
{
    static const uint8_t delimiter = 0;

    uart_write(&delimiter, 1);
    put_text("mtvm: ");
    put_text(what);
    for (size_t i = 0; i < count; i++) {
        put_text(" ");
        put_text(registers[i].name);
        put_text("=");
        put_hex(registers[i].value);
    }
    uart_write(&delimiter, 1);
}
