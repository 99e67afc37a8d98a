/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that serves the model, and the model's arena.
 */
#include "fatal.h"
#include "link.h"
#include "log.h"

#include "mtvm_rpc.h"
#include "mtvm_this_model.h"
#include "mtvm_zephyr.h"

#if DT_HAS_CHOSEN(microtvm_arena)
#if DT_HAS_CHOSEN(zephyr_sram)
#define ARENA_IN_RAM DT_SAME_NODE(DT_CHOSEN(microtvm_arena), DT_CHOSEN(zephyr_sram))
#else
#define ARENA_IN_RAM 0
#endif
#else
#define ARENA_IN_RAM 1
#endif

#if ARENA_IN_RAM
#define ARENA_SECTION __noinit
#elif DT_NODE_HAS_PROP(DT_CHOSEN(microtvm_arena), zephyr_memory_region)
#define ARENA_SECTION __attribute__((section(LINKER_DT_NODE_REGION_NAME(DT_CHOSEN(microtvm_arena)))))
#else
#error "microtvm,arena must be a node with the property zephyr,memory-region"
#endif

static uint8_t arena[MTVM_THIS_ARENA_BYTES] ARENA_SECTION __aligned(MTVM_THIS_ARENA_ALIGN);

/* The names are what the footprint is read by. */
K_THREAD_STACK_DEFINE(mtvm_stack, CONFIG_MICROTVM_STACK_BYTES);
static struct k_thread thread;
static struct mtvm_server server;

/* Older releases of Zephyr have the option only where it has a meaning. */
#ifdef CONFIG_FPU_SHARING
#define OPTIONS K_FP_REGS
#else
#define OPTIONS 0
#endif

#ifndef CONFIG_ARCH_POSIX

static uint32_t port_ticks(void *context)
{
	ARG_UNUSED(context);
	return k_cycle_get_32();
}

static uint32_t port_stack_peak(void *context)
{
	size_t unused = 0;

	ARG_UNUSED(context);
	(void)k_thread_stack_space_get(&thread, &unused);
	return (uint32_t)(thread.stack_info.size - unused);
}

#endif

#ifdef CONFIG_MICROTVM_RESET

static void port_reset(void *context)
{
	ARG_UNUSED(context);
	sys_reboot(SYS_REBOOT_COLD);
}

#endif

static struct mtvm_port port = {
	.read = link_read,
	.write = link_write,
	.idle = link_wait,
/* Where Zephyr is a process, its clock stands still while it computes, and stacks are the host's. */
#ifndef CONFIG_ARCH_POSIX
	.ticks = port_ticks,
	.stack_peak = port_stack_peak,
#endif
#ifdef CONFIG_MICROTVM_RESET
	.reset = port_reset,
#endif
#ifdef CONFIG_MICROTVM_SERVER_FATAL
	.crash = &mtvm_crash,
#endif
};

/* The errors that keep a server from starting have one digit. */
static void refuse(enum mtvm_error error)
{
	uint8_t text[] = "\0mtvm: the model can't be served: error -0 of mtvm_error.h";

	text[sizeof(text) - sizeof("0 of mtvm_error.h")] = (uint8_t)('0' - (int)error);
	link_write(NULL, text, sizeof(text));
}

static void serve(void *first, void *second, void *third)
{
	enum mtvm_error error;

	ARG_UNUSED(first);
	ARG_UNUSED(second);
	ARG_UNUSED(third);
	error = mtvm_server_init(&server, &port, &MTVM_THIS_MODEL, arena, sizeof(arena));
	if (error != MTVM_OK) {
		refuse(error);
		return;
	}
	for (;;) {
		mtvm_server_poll(&server);
		log_send(&server);
	}
}

int mtvm_server_start(void)
{
	int error = link_init();

	if (error != 0) {
		return error;
	}
	log_init();
#ifdef CONFIG_MICROTVM_SERVER_FATAL
	/* The application may fail before the thread below has run. */
	mtvm_crash.running = MTVM_CRASH_NO_OPERATOR;
#endif
#ifndef CONFIG_ARCH_POSIX
	port.ticks_hz = (uint32_t)sys_clock_hw_cycles_per_sec();
#endif
	(void)k_thread_create(&thread, mtvm_stack, K_THREAD_STACK_SIZEOF(mtvm_stack), serve, NULL, NULL, NULL,
			      K_LOWEST_APPLICATION_THREAD_PRIO, OPTIONS, K_NO_WAIT);
	return 0;
}
