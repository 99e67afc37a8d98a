/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of the link, over a UART.
 */
#ifndef LINK_H
#define LINK_H

#include <stddef.h>
#include <stdint.h>

/* The headers have had a folder of their own since Zephyr 3.1. */
#if __has_include(<zephyr/kernel.h>)
#include <zephyr/device.h>
#include <zephyr/devicetree.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/linker/devicetree_regions.h>
#include <zephyr/sys/reboot.h>
#include <zephyr/sys/ring_buffer.h>
#else
#include <device.h>
#include <devicetree.h>
#include <drivers/uart.h>
#include <kernel.h>
#include <linker/devicetree_regions.h>
#include <sys/reboot.h>
#include <sys/ring_buffer.h>
#endif

/* Returns 0, or -ENODEV where the UART does not work. */
int link_init(void);

/* What has arrived, at most `capacity` bytes; never waits. */
size_t link_read(void *context, uint8_t *data, size_t capacity);

/* Returns when all bytes are in the hands of the UART. */
void link_write(void *context, const uint8_t *data, size_t size);

/* Returns when something has arrived, or a little later. */
void link_wait(void *context);

/* Makes it return soon; from any thread or interrupt. */
void link_wake(void);

#endif
