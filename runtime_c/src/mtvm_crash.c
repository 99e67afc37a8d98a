/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of mtvm_crash.h. A handler of a fault calls this on what stack is left: nothing here needs more than
 * a few words of it.
 */
#include "mtvm_crash.h"

#include "mtvm_frame.h"

#include <string.h>

static uint32_t crc_of(const struct mtvm_crash *crash)
{
    uint8_t head[4];

    head[0] = (uint8_t)crash->op;
    head[1] = (uint8_t)(crash->op >> 8);
    head[2] = (uint8_t)crash->length;
    head[3] = (uint8_t)(crash->length >> 8);
    return mtvm_crc32(mtvm_crc32(0, head, sizeof head), crash->text, crash->length);
}

void mtvm_crash_begin(struct mtvm_crash *crash)
{
    crash->op = crash->running;
    crash->length = 0;
    crash->crc = crc_of(crash);
}

void mtvm_crash_add(struct mtvm_crash *crash, const char *text, size_t size)
{
    size_t room = sizeof crash->text - crash->length;

    if (size > room)
        size = room;
    memcpy(crash->text + crash->length, text, size);
    crash->length = (uint16_t)(crash->length + size);
    crash->crc = crc_of(crash);
}

int mtvm_crash_valid(const struct mtvm_crash *crash)
{
    return crash->length <= sizeof crash->text && crash->crc == crc_of(crash);
}

void mtvm_crash_clear(struct mtvm_crash *crash)
{
    crash->length = 0;
    crash->crc = ~crc_of(crash);
}
