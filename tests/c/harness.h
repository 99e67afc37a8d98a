/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_H
#define HARNESS_H

#include <stddef.h>
#include <stdint.h>

/* Starts the server, or starts it again as a reset does; returns an enum mtvm_error. */
int harness_start(void);

/* Lets the server work on the sent bytes until it is idle; returns how many it sent. */
size_t harness_exchange(const uint8_t *sent, size_t sent_bytes, uint8_t *received, size_t capacity);

size_t harness_server_bytes(void);

/* What a fault's handler would note. */
void harness_crash(const char *text);

/* What the server sends when the application prints. */
size_t harness_log(const char *text, uint8_t *received, size_t capacity);

/* How often the model's first operator has run in this process. */
int harness_runs(void);

/* Ticks that go by at each look at the counter. */
void harness_tick(uint32_t ticks);

#endif
