/* SPDX-License-Identifier: Apache-2.0
 *
 * The server in a Zephyr application.
 */
#ifndef MTVM_ZEPHYR_H
#define MTVM_ZEPHYR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Starts the thread that serves the model; once. Returns 0, or -ENODEV where the UART does not work, which is
 * told nowhere else. */
int mtvm_server_start(void);

#ifdef __cplusplus
}
#endif

#endif
