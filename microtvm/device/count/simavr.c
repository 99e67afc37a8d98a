/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An AVR image on libsimavr, which takes every instruction's cycles: the link is standard input and
 * output, and what activation.h says of chosen functions goes to a file. Arguments:
 *
 *     -m MCU -f HZ out=PATH fn=ADDRESS:LABEL... IMAGE
 *
 * Ends when its input does. Loads and stores are those of data; cycles are exact but for interrupts'
 * entry, which the library takes none for.
 */
#define _POSIX_C_SOURCE 200809L
#include "activation.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

/* How often input is looked for; while nothing happens the host waits as long as the board would. */
enum { INSTRUCTIONS_A_POLL = 2048, WAIT_MS = 1, QUIET_POLLS = 64 };

static struct {
    avr_t *avr;
    avr_irq_t *input;
    int out;
    uint8_t waiting[256];
    size_t next, count;
    bool held; /* the receiver is full */
    unsigned quiet;
} link_state;

static void on_output(struct avr_irq_t *irq, uint32_t value, void *param)
{
    const uint8_t byte = (uint8_t)value;

    (void)irq;
    (void)param;
    link_state.quiet = 0;
    while (write(link_state.out, &byte, 1) != 1) {
        if (errno != EINTR) {
            exit(EXIT_SUCCESS); /* the host is gone */
        }
    }
}

static void on_room(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)value;
    (void)param;
    link_state.held = false;
}

static void on_full(struct avr_irq_t *irq, uint32_t value, void *param)
{
    (void)irq;
    (void)value;
    (void)param;
    link_state.held = true;
}

static void on_log(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level <= LOG_ERROR) {
        vfprintf(stderr, format, arguments);
    }
}

static void never_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    (void)cycles;
}

static void take_input(void)
{
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    const bool idle = link_state.quiet > QUIET_POLLS && !count_is_active();

    if (link_state.next == link_state.count && poll(&input, 1, idle ? WAIT_MS : 0) > 0) {
        const ssize_t got = read(STDIN_FILENO, link_state.waiting, sizeof link_state.waiting);

        if (got == 0 || (got < 0 && errno != EINTR)) {
            exit(EXIT_SUCCESS);
        }
        link_state.next = 0;
        link_state.count = got > 0 ? (size_t)got : 0;
        link_state.quiet = 0;
    }
    link_state.quiet++;
    while (link_state.next < link_state.count && !link_state.held) {
        avr_raise_irq(link_state.input, link_state.waiting[link_state.next++]);
    }
}

static void connect_uart(avr_t *avr)
{
    uint32_t flags = 0;
    avr_irq_t *first = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), 0);

    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    link_state.input = first + UART_IRQ_INPUT;
    avr_irq_register_notify(first + UART_IRQ_OUTPUT, on_output, NULL);
    avr_irq_register_notify(first + UART_IRQ_OUT_XON, on_room, NULL);
    avr_irq_register_notify(first + UART_IRQ_OUT_XOFF, on_full, NULL);
}

/* One instruction, with all that the counter has to know of it; AVR Instruction Set Manual. */
static bool step(avr_t *avr, struct count_cells *cells)
{
    const avr_flashaddr_t pc = avr->pc;
    const avr_cycle_count_t before = avr->cycle;
    const uint16_t code = (uint16_t)(avr->flash[pc] | avr->flash[pc + 1] << 8);
    const bool two_words = (code & 0xFE0F) == 0x9000 || (code & 0xFE0F) == 0x9200 /* LDS, STS */
                           || (code & 0xFE0C) == 0x940C;                          /* JMP, CALL */
    const avr_flashaddr_t next = pc + (two_words ? 4 : 2);
    const bool sleeps = avr->state == cpu_Sleeping;
    const int state = avr_run(avr);

    if (sleeps) {
        return true;
    }
    cells->of[COUNT_INSTRUCTIONS]++;
    cells->of[COUNT_CYCLES] += avr->cycle - before - 1;
    cells->of[COUNT_LOADS] += (code & 0xFE00) == 0x9000 || (code & 0xD200) == 0x8000;
    cells->of[COUNT_STORES] += (code & 0xFE00) == 0x9200 || (code & 0xD200) == 0x8200;
    if ((code & 0xFE0E) == 0x940E || (code & 0xF000) == 0xD000 || (code & 0xFFEF) == 0x9509) {
        count_call(next); /* CALL, RCALL, ICALL and EICALL */
    } else if ((code & 0xFFEF) == 0x9508 || (code & 0xFFEF) == 0x9409) {
        count_indirect(); /* RET and RETI, IJMP and EIJMP */
    }
    if (state == cpu_Done || state == cpu_Crashed) {
        fprintf(stderr, "the core stopped at address %#x\n", (unsigned)pc);
        exit(EXIT_FAILURE);
    }
    return avr->pc != next;
}

static void run(avr_t *avr)
{
    struct count_cells cells = {{0}};
    bool arrives = true;

    for (uint64_t i = 0;; i++) {
        struct count_function *function = count_function_at(avr->pc);

        if (i % INSTRUCTIONS_A_POLL == 0) {
            take_input();
        }
        if (arrives) {
            count_arrive(avr->pc, &cells);
        }
        if (function != NULL) {
            count_enter(function, &cells);
        }
        arrives = step(avr, &cells);
    }
}

static int start(const char *mcu, uint32_t hz, const char *image)
{
    static elf_firmware_t firmware;
    avr_t *avr = avr_make_mcu_by_name(mcu);

    if (avr == NULL) {
        return count_refuse("the library has no core", mcu);
    }
    if (elf_read_firmware(image, &firmware) != 0) {
        return count_refuse("not an image", image);
    }
    firmware.frequency = hz;
    avr_init(avr);
    avr_load_firmware(avr, &firmware);
    avr->frequency = hz;
    avr->run_cycle_limit = 1; /* one instruction at a time */
    avr->sleep = never_sleep;
    link_state.avr = avr;
    connect_uart(avr);
    run(avr);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mcu = NULL, *image = NULL;
    uint32_t hz = 0;

    /* What the library prints must not mix with the link. */
    link_state.out = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    avr_global_logger_set(on_log);
    for (int i = 1; i < argc; i++) {
        int problem = 0;

        if (strcmp(argv[i], "-m") == 0 && i + 1 < argc) {
            mcu = argv[++i];
        } else if (strcmp(argv[i], "-f") == 0 && i + 1 < argc) {
            hz = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strncmp(argv[i], "out=", 4) == 0) {
            problem = count_open_output(argv[i] + 4);
        } else if (strncmp(argv[i], "fn=", 3) == 0) {
            problem = count_add_function(argv[i] + 3);
        } else {
            image = argv[i];
        }
        if (problem != 0) {
            return EXIT_FAILURE;
        }
    }
    if (mcu == NULL || hz == 0 || image == NULL) {
        count_refuse("missing argument", "-m MCU -f HZ IMAGE");
        return EXIT_FAILURE;
    }
    count_begin(true);
    start(mcu, hz, image);
    return EXIT_FAILURE;
}
