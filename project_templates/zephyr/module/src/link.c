/* SPDX-License-Identifier: Apache-2.0
 *
 * An interrupt puts what arrives into a ring that holds a window, so that nothing is lost while the model runs. What
 * is sent is sent by polling: the server has nothing else to do until it is out.
 */
#include "link.h"

#if DT_HAS_CHOSEN(microtvm_rpc_uart)
#define LINK_UART DT_CHOSEN(microtvm_rpc_uart)
#elif DT_HAS_CHOSEN(zephyr_console)
#define LINK_UART DT_CHOSEN(zephyr_console)
#else
#error "choose a UART for the link: / { chosen { microtvm,rpc-uart = &uart0; }; };"
#endif

static const struct device *const uart = DEVICE_DT_GET(LINK_UART);

#ifdef CONFIG_MICROTVM_INTERRUPTS

BUILD_ASSERT(CONFIG_MICROTVM_RING_BYTES >= CONFIG_MICROTVM_WINDOW_BYTES,
	     "the host may send a window while nobody reads");

RING_BUF_DECLARE(ring, CONFIG_MICROTVM_RING_BYTES);
static K_SEM_DEFINE(arrived, 0, 1);

static void on_interrupt(const struct device *device, void *context)
{
	uint8_t bytes[16];

	ARG_UNUSED(context);
	while (uart_irq_update(device) && uart_irq_rx_ready(device)) {
		int count = uart_fifo_read(device, bytes, sizeof(bytes));

		if (count <= 0) {
			break;
		}
		/* More than a window is damage on the line: the host sends again what is missing. */
		(void)ring_buf_put(&ring, bytes, (uint32_t)count);
		k_sem_give(&arrived);
	}
}

size_t link_read(void *context, uint8_t *data, size_t capacity)
{
	ARG_UNUSED(context);
	return ring_buf_get(&ring, data, (uint32_t)capacity);
}

void link_wait(void *context)
{
	ARG_UNUSED(context);
	(void)k_sem_take(&arrived, K_FOREVER);
}

void link_wake(void)
{
	k_sem_give(&arrived);
}

#else

#define POLL_US 100

size_t link_read(void *context, uint8_t *data, size_t capacity)
{
	size_t count = 0;

	ARG_UNUSED(context);
	while (count < capacity && uart_poll_in(uart, &data[count]) == 0) {
		count++;
	}
	return count;
}

void link_wait(void *context)
{
	ARG_UNUSED(context);
	if (IS_ENABLED(CONFIG_ARCH_POSIX)) {
		/* A tick is long there; the time passes without load on the host. */
		k_busy_wait(POLL_US);
	} else {
		(void)k_usleep(POLL_US);
	}
}

void link_wake(void)
{
}

#endif

int link_init(void)
{
	if (!device_is_ready(uart)) {
		return -ENODEV;
	}
#ifdef CONFIG_MICROTVM_INTERRUPTS
	unsigned char byte;
	unsigned int key;

	uart_irq_callback_user_data_set(uart, on_interrupt, NULL);
	/* What arrived before there was an interrupt is no reason for one: it would lie there, and hold back the rest. */
	key = irq_lock();
	uart_irq_rx_enable(uart);
	while (uart_poll_in(uart, &byte) == 0) {
		(void)ring_buf_put(&ring, &byte, 1);
	}
	irq_unlock(key);
#endif
	return 0;
}

void link_write(void *context, const uint8_t *data, size_t size)
{
	ARG_UNUSED(context);
	for (size_t i = 0; i < size; i++) {
		uart_poll_out(uart, data[i]);
	}
}
