/* SPDX-License-Identifier: Apache-2.0
 *
 * The record of a crash, which outlives a reset.
 */
#ifndef FATAL_H
#define FATAL_H

#include "mtvm_crash.h"

/* Written by the handler of fatal errors, handed out by the server. */
extern struct mtvm_crash mtvm_crash;

#endif
