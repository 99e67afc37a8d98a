/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of crashes, where the core has a port to them: on AVR with the watchdog of ATmegas. mtvm_arduino.cpp alone
 * needs this.
 */
#ifndef MTVM_ARDUINO_CRASH_H
#define MTVM_ARDUINO_CRASH_H

#include "mtvm_arduino.h"

/* Seconds that an operator may take before the board is reset: 1, 2, 4 or 8; 0: any time. */
#ifndef MTVM_WATCHDOG_S
#define MTVM_WATCHDOG_S 0
#endif

#ifdef __AVR__
#include <avr/io.h>
#endif

#if defined(__AVR__) && defined(WDIE)
#define MTVM_ARDUINO_RECORDS 1

/* Returns the memory of the record. Where the watchdog has to be kicked between the operators of a whole inference,
 * `model` becomes one that does so. */
struct mtvm_crash *mtvm_arduino_crash(const struct mtvm_model **model);

/* Starts the watchdog, if the project has one: from now on it must be kicked. */
void mtvm_arduino_watch();

/* Kicks the watchdog. Doesn't return where the stack has overflowed. */
void mtvm_arduino_check();
#else
#if MTVM_WATCHDOG_S
#error "MTVM_WATCHDOG_S: only AVRs with the watchdog of ATmegas have a port to it"
#endif

static inline struct mtvm_crash *mtvm_arduino_crash(const struct mtvm_model **model)
{
    (void)model;
    return NULL;
}

static inline void mtvm_arduino_watch()
{
}

static inline void mtvm_arduino_check()
{
}
#endif

#endif
