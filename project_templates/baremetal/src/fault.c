/* SPDX-License-Identifier: Apache-2.0
 *
 * A fault is told as text between two delimiters: no decoder of frames takes it for an answer, and a person
 * with a terminal can read it. `\0mtvm: fault exception=00000003 pc=0000012c ...\0` The same text is noted in
 * memory that outlives the reset that follows, for a host that did not listen.
 */
#include "platform.h"

__attribute__((section(".mtvm_noinit"))) struct mtvm_crash crash_record;

static void put(const char *text, size_t length)
{
    uart_write((const uint8_t *)text, length);
    mtvm_crash_add(&crash_record, text, length);
}

static void put_text(const char *text)
{
    /* Byte by byte: of a loop that counts them the compiler makes the C library's strlen, of 200 bytes on some cores. */
    for (; *text != '\0'; text++) {
        put(text, 1);
    }
}

static void put_hex(uint32_t value)
{
    char digits[8];

    for (size_t i = 0; i < sizeof(digits); i++) {
        digits[i] = "0123456789abcdef"[(value >> (28u - 4u * i)) & 15u];
    }
    put(digits, sizeof(digits));
}

static void put_register(const char *name, uint32_t value)
{
    put_text(" ");
    put_text(name);
    put_text("=");
    put_hex(value);
}

void fault_report(const char *what, const struct fault_register *registers, size_t count)
{
    static const uint8_t delimiter = 0;
    static const char opening[] = "mtvm: ";

    watchdog_kick();
    uart_write(&delimiter, 1);
    uart_write((const uint8_t *)opening, sizeof(opening) - 1);
    mtvm_crash_begin(&crash_record);
    put_text(what);
    for (size_t i = 0; i < count; i++) {
        put_register(registers[i].name, registers[i].value);
    }
    put_register("operator", crash_record.op);
    uart_write(&delimiter, 1);
}

/* Of an expression: a record has room for two registers and the operator behind it. */
#define EXPRESSION_BYTES (MTVM_CRASH_BYTES - 44)

/* What the C library's assert() calls. */
void __assert_func(const char *file, int line, const char *function, const char *expression);
void __assert_func(const char *file, int line, const char *function, const char *expression)
{
    static char words[EXPRESSION_BYTES + 1];
    /* Of the call: what it would return to may be another function. */
    const uint32_t pc = ((uint32_t)(uintptr_t)__builtin_return_address(0) - 2u) & ~1u;
    const struct fault_register registers[] = {{"pc", pc}, {"line", (uint32_t)line}};

    (void)file;
    (void)function;
    for (size_t i = 0; i < EXPRESSION_BYTES && expression[i] != '\0'; i++) {
        words[i] = expression[i];
    }
    fault_report(words, registers, sizeof(registers) / sizeof(registers[0]));
    board_reset();
}
