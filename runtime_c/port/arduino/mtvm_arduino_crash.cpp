/* SPDX-License-Identifier: Apache-2.0
 *
 * mtvm_arduino_crash.h for AVRs with the watchdog of ATmegas: ATmega640/1280/1281/2560/2561 data sheet (Atmel-2549),
 * section 12.4; avr-libc's manual, <avr/wdt.h>, <avr/interrupt.h> and "Memory Sections".
 *
 * The watchdog's first time-out is an interrupt, its second a reset. With interrupts off there is neither: an operator
 * leaves them on.
 */
#include "mtvm_arduino_crash.h"

#ifdef MTVM_ARDUINO_RECORDS
#include <avr/interrupt.h>
#include <avr/pgmspace.h>
#include <avr/wdt.h>
#include <string.h>

#define INTACT 0x5Au
#define REGISTERS_BYTES 26 /* of " pc=0123abcd line=0123abcd" */

/* Start-up code leaves it alone. The stack comes from above: what guards it is hurt first, and then the text. */
static struct {
    struct mtvm_crash crash;
    uint8_t guard[8];
} kept __attribute__((section(".noinit")));

/* The reset by a watchdog leaves it running, at its shortest time: it must stop before data are initialised. */
static void __attribute__((naked, used, section(".init3"))) stop_watchdog()
{
    MCUSR &= static_cast<uint8_t>(~_BV(WDRF));
    wdt_disable();
    kept.crash.running = MTVM_CRASH_NO_OPERATOR;
}

/* Text in flash. */
static void put_words(PGM_P text)
{
    char character;

    for (; (character = static_cast<char>(pgm_read_byte(text))) != '\0'; text++)
        mtvm_crash_add(&kept.crash, &character, 1);
}

/* `name` is in flash too. */
static void put_register(PGM_P name, uint32_t value)
{
    char digits[8];

    for (uint8_t i = sizeof digits; i-- > 0; value >>= 4) {
        const uint8_t digit = value & 15u;

        digits[i] = static_cast<char>(digit < 10 ? '0' + digit : 'a' - 10 + digit);
    }
    put_words(name);
    mtvm_crash_add(&kept.crash, digits, sizeof digits);
}

static void __attribute__((noreturn)) reset()
{
    wdt_enable(WDTO_15MS);
    for (uint32_t i = 0; i < F_CPU / 16; i++)
        __asm__ volatile("");
    /* No watchdog has come, as in QEMU: the program at least begins again. */
    __asm__ volatile("jmp 0");
    __builtin_unreachable();
}

/* What follows is called by stubs, with interrupts off and the whole stack free. The core counts in words, the image
 * in bytes. */
#define ENTRY extern "C" void __attribute__((noreturn, used))
#define IMAGE_ADDRESS(words) ((words)*2u)

ENTRY mtvm_arduino_crashed(uint32_t words, uint16_t stack, PGM_P cause)
{
    mtvm_crash_begin(&kept.crash);
    put_words(cause);
    put_register(PSTR(" pc="), IMAGE_ADDRESS(words));
    put_register(PSTR(" sp="), stack);
    reset();
}

ENTRY mtvm_arduino_asserted(uint32_t words, uint16_t line, const char *expression)
{
    mtvm_crash_begin(&kept.crash);
    mtvm_crash_add(&kept.crash, expression, strnlen(expression, MTVM_CRASH_BYTES - REGISTERS_BYTES));
    put_register(PSTR(" pc="), IMAGE_ADDRESS(words));
    put_register(PSTR(" line="), line);
    reset();
}

/* Where it was noticed is not where it happened. */
ENTRY mtvm_arduino_overflowed()
{
    mtvm_crash_begin(&kept.crash);
    put_words(PSTR("stack overflow"));
    reset();
}

/* The first argument from what was called or interrupted left on the stack, which then is empty; r1 is 0 by the ABI. */
#ifdef __AVR_3_BYTE_PC__
#define TAKE_RETURN_ADDRESS "ldd r24, Z+1\n ldd r23, Z+2\n ldd r22, Z+3\n"
#else
#define TAKE_RETURN_ADDRESS "ldi r24, 0\n ldd r23, Z+1\n ldd r22, Z+2\n"
#endif
#define TAKE_STACK                                                                                                   \
    "cli\n clr r1\n in r30, __SP_L__\n in r31, __SP_H__\n" TAKE_RETURN_ADDRESS "ldi r25, 0\n"                         \
    "ldi r26, lo8(__stack)\n ldi r27, hi8(__stack)\n out __SP_H__, r27\n out __SP_L__, r26\n"

/* From where a call returns to, to the call: what follows one of those may be another line. */
#define STEP_BACK "subi r22, 1\n sbci r23, 0\n sbci r24, 0\n"

/* Stubs that tell a cause, by the name of its text: one for interrupts, one for functions. */
#define LOAD_CAUSE(cause) "movw r20, r30\n ldi r18, lo8(" cause ")\n ldi r19, hi8(" cause ")\n jmp mtvm_arduino_crashed\n"
#define TELL(cause) TAKE_STACK LOAD_CAUSE(cause)
#define TELL_CALLER(cause) TAKE_STACK STEP_BACK LOAD_CAUSE(cause)
#define CAUSE extern "C" const char __attribute__((used, progmem))

CAUSE mtvm_arduino_unexpected[] = "unexpected interrupt";
CAUSE mtvm_arduino_aborted[] = "abort";

/* An interrupt that nobody handles. */
ISR(BADISR_vect, ISR_NAKED)
{
    __asm__ volatile(TELL("mtvm_arduino_unexpected"));
}

/* What assert() calls without __ASSERT_USE_STDERR, and the core for what can't be. */
extern "C" void __attribute__((naked, noreturn, used)) abort()
{
    __asm__ volatile(TELL_CALLER("mtvm_arduino_aborted"));
    __builtin_unreachable();
}

/* What it calls with that: the line is the third argument, the expression the fourth, where their names are. */
extern "C" void __attribute__((naked, used)) __assert(const char *, const char *, int, const char *)
{
    __asm__ volatile(TAKE_STACK STEP_BACK "jmp mtvm_arduino_asserted\n");
}

static void __attribute__((naked, noinline)) overflowed()
{
    __asm__ volatile(TAKE_STACK "jmp mtvm_arduino_overflowed\n");
}

#if MTVM_WATCHDOG_S
#if MTVM_WATCHDOG_S == 1
#define PERIOD WDTO_1S
#elif MTVM_WATCHDOG_S == 2
#define PERIOD WDTO_2S
#elif MTVM_WATCHDOG_S == 4
#define PERIOD WDTO_4S
#elif MTVM_WATCHDOG_S == 8
#define PERIOD WDTO_8S
#else
#error "MTVM_WATCHDOG_S is 1, 2, 4 or 8"
#endif

CAUSE mtvm_arduino_late[] = "watchdog";

ISR(WDT_vect, ISR_NAKED)
{
    __asm__ volatile(TELL("mtvm_arduino_late"));
}

/* The model, but for how it is run. */
static struct mtvm_model watched;

/* In the place of the model's own run: each operator has the watchdog's whole time, and a record names it. */
extern "C" void __attribute__((used)) mtvm_arduino_watched_run(uint8_t *arena)
{
    for (uint16_t i = 0; i < watched.n_ops; i++) {
        kept.crash.running = i;
        mtvm_arduino_check();
        watched.ops[i].run(arena);
    }
    mtvm_arduino_check();
}
#endif

struct mtvm_crash *mtvm_arduino_crash(const struct mtvm_model **model)
{
    memset(kept.guard, INTACT, sizeof kept.guard);
#if MTVM_WATCHDOG_S
    watched = **model;
    watched.run = mtvm_arduino_watched_run;
    *model = &watched;
#else
    (void)model;
#endif
    return &kept.crash;
}

void mtvm_arduino_watch()
{
#if MTVM_WATCHDOG_S
    wdt_enable(PERIOD);
    WDTCSR |= _BV(WDIE);
#endif
}

void mtvm_arduino_check()
{
    wdt_reset();
    for (uint8_t i = 0; i < sizeof kept.guard; i++)
        if (kept.guard[i] != INTACT)
            overflowed();
}
#endif
