/* SPDX-License-Identifier: Apache-2.0
 *
 * A fault is told to the host as text between two delimiters, and noted in memory that outlives a reset: the next
 * session can ask for it. `\0mtvm: stack overflow pc=0000012c lr=00000134\0`
 */
#include "fatal.h"

#include "link.h"

#if __has_include(<zephyr/fatal.h>)
#include <zephyr/fatal.h>
#else
#include <fatal.h>
#endif
#if __has_include(<zephyr/version.h>)
#include <zephyr/version.h>
#else
#include <version.h>
#endif

#if KERNEL_VERSION_NUMBER >= 0x30700
typedef struct arch_esf fault_frame;
#else
typedef z_arch_esf_t fault_frame;
#endif

struct mtvm_crash mtvm_crash __noinit;

static void put(const char *text, size_t size)
{
	mtvm_crash_add(&mtvm_crash, text, size);
	link_write(NULL, (const uint8_t *)text, size);
}

static void put_text(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0') {
		length++;
	}
	put(text, length);
}

static void put_register(const char *name, uint32_t value)
{
	char digits[8];

	put_text(name);
	for (size_t i = 0; i < sizeof(digits); i++) {
		digits[i] = "0123456789abcdef"[(value >> (28u - 4u * i)) & 15u];
	}
	put(digits, sizeof(digits));
}

static const char *text_of(unsigned int reason)
{
	switch (reason) {
	case K_ERR_SPURIOUS_IRQ:
		return "unhandled interrupt";
	case K_ERR_STACK_CHK_FAIL:
		return "stack overflow";
	case K_ERR_KERNEL_OOPS:
		return "kernel oops";
	case K_ERR_KERNEL_PANIC:
		return "kernel panic";
	default:
		return "fault";
	}
}

#ifdef CONFIG_MICROTVM_SERVER_ASSERT
/* Of a file's name: a record has room for the rest of the cause, two registers and the operator beside it. */
#define FILE_BYTES (MTVM_CRASH_BYTES - 60)

/* The first assertion that failed, from there to the handler; pc is 0 before. */
static struct {
	const char *file;
	uint32_t pc;
	uint32_t line;
} failed;

/* Zephyr's own does the same, but for the note: coredump and log come before the handler. */
#ifdef CONFIG_ASSERT_NO_FILE_INFO
void assert_post_action(void)
#else
void assert_post_action(const char *file, unsigned int line)
#endif
{
#ifdef CONFIG_USERSPACE
	/* A user thread can't write the note, nor is it allowed to panic. */
	if (k_is_user_context()) {
		k_oops();
	}
#endif
	if (failed.pc == 0u) {
		/* Of the call: what it would return to may be another function. */
		failed.pc = ((uint32_t)(uintptr_t)__builtin_return_address(0) - 2u) & ~1u;
#ifndef CONFIG_ASSERT_NO_FILE_INFO
		failed.file = file;
		failed.line = line;
#endif
	}
	k_panic();
}

static void put_assertion(void)
{
	put_text("assertion");
	if (failed.file != NULL) {
		const char *name = failed.file;
		size_t length = 0;

		for (const char *at = failed.file; *at != '\0'; at++) {
			if (*at == '/' || *at == '\\') {
				name = at + 1;
			}
		}
		while (length < FILE_BYTES && name[length] != '\0') {
			length++;
		}
		put_text(" in ");
		put(name, length);
	}
	put_register(" pc=", failed.pc);
	if (failed.file != NULL) {
		put_register(" line=", failed.line);
	}
}
#endif

static void put_cause(unsigned int reason, const fault_frame *frame)
{
#ifdef CONFIG_MICROTVM_SERVER_ASSERT
	/* Whatever the reason: in an interrupt a panic may have become a fault. */
	if (failed.pc != 0u) {
		put_assertion();
		return;
	}
#endif
	put_text(text_of(reason));
	/* Of a stack that has overflowed there may be no frame, but zeros in its place. */
	if (frame != NULL && reason != K_ERR_STACK_CHK_FAIL) {
#if defined(CONFIG_CPU_CORTEX_M)
		put_register(" pc=", frame->basic.pc);
		put_register(" lr=", frame->basic.lr);
		put_register(" psr=", frame->basic.xpsr);
#elif defined(CONFIG_RISCV)
		put_register(" pc=", (uint32_t)frame->mepc);
		put_register(" ra=", (uint32_t)frame->ra);
#endif
	}
}

void k_sys_fatal_error_handler(unsigned int reason, const fault_frame *frame)
{
	static const uint8_t delimiter;
	static const char start[] = "mtvm: ";

	(void)irq_lock();
	mtvm_crash_begin(&mtvm_crash);
	link_write(NULL, &delimiter, 1);
	link_write(NULL, (const uint8_t *)start, sizeof(start) - 1);
	put_cause(reason, frame);
	put_register(" operator=", mtvm_crash.op);
	link_write(NULL, &delimiter, 1);
#ifdef CONFIG_MICROTVM_RESET
	sys_reboot(SYS_REBOOT_COLD);
#endif
	for (;;) {
	}
}
