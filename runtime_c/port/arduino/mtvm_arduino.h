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

/* How much of a line MtvmLog keeps until its end. */
#ifndef MTVM_ARDUINO_LINE_BYTES
#define MTVM_ARDUINO_LINE_BYTES 64
#endif

#if MTVM_ARDUINO_LINE_BYTES < 1 || MTVM_ARDUINO_LINE_BYTES > 128
#error "MTVM_ARDUINO_LINE_BYTES is 1 to 128"
#endif

/* Prints to the host over the link, beside everything else there: `MtvmLog Log;`, then `Log.println(F("here"));` in
 * loop(), not in an interrupt. A line is sent when it ends, is full or is flushed; without a host nothing is. */
class MtvmLog : public Print {
public:
    MtvmLog() : filled(0)
    {
    }

    size_t write(uint8_t character);
    size_t write(const uint8_t *text, size_t size);
    using Print::write;
    void flush();

private:
    char line[MTVM_ARDUINO_LINE_BYTES];
    uint8_t filled;
};

#endif
