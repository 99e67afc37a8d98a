/* SPDX-License-Identifier: Apache-2.0
 *
 * Any thread and any interrupt prints, but frames are the server's alone: what is printed waits in a ring until the
 * server's thread has time for it, after a run at the latest.
 */
#include "log.h"

#include "link.h"

RING_BUF_DECLARE(printed, CONFIG_MICROTVM_LOG_BYTES);

/* Zephyr's own; console drivers declare it so. Older releases have no header that does. */
extern void __printk_hook_install(int (*hook)(int));

static int put(int character)
{
	uint8_t byte = (uint8_t)character;
	unsigned int key = irq_lock();

	(void)ring_buf_put(&printed, &byte, 1);
	irq_unlock(key);
	if (byte == '\n') {
		link_wake();
	}
	return character;
}

void log_init(void)
{
	__printk_hook_install(put);
}

void log_send(const struct mtvm_server *server)
{
	uint8_t *text;
	uint32_t size;

	while ((size = ring_buf_get_claim(&printed, &text, MTVM_LOG_BYTES)) != 0) {
		mtvm_server_log(server, (const char *)text, size);
		(void)ring_buf_get_finish(&printed, size);
	}
}
