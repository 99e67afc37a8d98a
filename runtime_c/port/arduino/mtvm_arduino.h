/* SPDX-License-Identifier: Apache-2.0
 *
 * The port to Arduino: serves one model over any Stream, a board's Serial for one.
 *
 *     void setup()
 *     {
 *         Serial.begin(115200);
 *         mtvm_arduino_begin(Serial, my_model, arena, sizeof arena);
 *     }
 *
 *     void loop()
 *     {
 *         mtvm_arduino_poll();
 *     }
 */
#ifndef MTVM_ARDUINO_H
#define MTVM_ARDUINO_H

#include <Arduino.h>

#include "mtvm_rpc.h"

/* Prepares the server; `arena` is its own from now on. Returns what mtvm_server_init does. */
enum mtvm_error mtvm_arduino_begin(Stream &link, const struct mtvm_model &model, uint8_t *arena, size_t arena_bytes);

/* Does one bounded piece of work; see mtvm_server_poll. */
void mtvm_arduino_poll();

#endif
