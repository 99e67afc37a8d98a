/* SPDX-License-Identifier: Apache-2.0
 *
 * What the application prints, to the host.
 */
#ifndef LOG_H
#define LOG_H

#include "mtvm_rpc.h"

#ifdef CONFIG_MICROTVM_LOG
/* Takes printk() over. */
void log_init(void);

/* Sends what has been printed; from the server's thread, between two polls. */
void log_send(const struct mtvm_server *server);
#else
static inline void log_init(void)
{
}

static inline void log_send(const struct mtvm_server *server)
{
	(void)server;
}
#endif

#endif
