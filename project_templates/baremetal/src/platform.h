/* SPDX-License-Identifier: Apache-2.0
 *
 * What main.c asks of the board: one UART driver, one counter, the start-up code.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "mtvm_crash.h"

/* A macro's value as text, for assembly. */
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

/* A memory-mapped register. */
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define REGISTER8(address) (*(volatile uint8_t *)(uintptr_t)(address))

/* uart.c: polled, so that the hardware's own flow control holds back a fast host. */
void uart_init(void);
size_t uart_read(uint8_t *data, size_t capacity);
void uart_write(const uint8_t *data, size_t size);

/* counter.c: free-running, upwards, wraps at 2^32. */
void counter_init(void);
uint32_t counter_read(void);

/* start.c */
void board_reset(void);

/* fault.c: prints and notes what has happened, with registers by name; the board is to be reset then. */
struct fault_register {
    const char *name;
    uint32_t value;
};
void fault_report(const char *what, const struct fault_register *registers, size_t count);
extern struct mtvm_crash crash_record;

/* watchdog.c: resets the board, and has start.c report it, unless it is kicked within BOARD_WATCHDOG_TICKS. Once it has
 * expired, a kick does not help any more. */
#ifdef BOARD_WATCHDOG_TICKS
void watchdog_start(void);
void watchdog_kick(void);
#else
static inline void watchdog_kick(void)
{
}
#endif

/* stack.c: deepest use since the start in bytes. The start-up code fills the stack with STACK_PAINT, and where
 * the core can it makes the lowest STACK_GUARD_BYTES, a power of two, a fault to enter. */
#define STACK_PAINT 0xA5A5A5A5
#define STACK_GUARD_BYTES 256
uint32_t stack_peak(void);

/* stack.c: ends in a fault if the lowest painted word has been written to, where no hardware guards the stack. */
void stack_check(void);

/* main.c: never returns. */
int main(void);

/* main.c: text to the host, as a frame of its own; nothing while no host listens. Not from an interrupt. */
void link_log(const char *text, size_t size);

/* print.c: where printf() and puts() end. A line is sent when it ends, or is as long as a frame takes. */
void print_text(const char *text, size_t size);

/* From the linker script. */
extern uint32_t mtvm_stack_start[];
extern uint32_t mtvm_stack_end[];
extern uint32_t mtvm_data_start[];
extern uint32_t mtvm_data_end[];
extern const uint32_t mtvm_data_image[];
extern uint32_t mtvm_bss_start[];
extern uint32_t mtvm_bss_end[];

#endif
