/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoding of frames as SPEC.md says it, on a whole frame in memory and with the CRC bit by bit: what the
 * runtime's decoder is compared with.
 */
#ifndef PLAIN_H
#define PLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static inline uint32_t plain_crc(uint32_t crc, const uint8_t *data, size_t size)
{
    size_t i;
    int bit;

    crc = ~crc;
    for (i = 0; i < size; i++) {
        crc ^= data[i];
        for (bit = 0; bit < 8; bit++)
            crc = crc & 1u ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

/* Unstuffs what lies between two delimiters, at least one byte, into `data`, which has room for as many; returns
 * the length, or SIZE_MAX where a block is cut off. */
static inline size_t plain_unstuff(const uint8_t *stuffed, size_t size, uint8_t *data)
{
    size_t at = 0;
    size_t length = 0;

    for (;;) {
        uint8_t code = stuffed[at++];
        uint8_t left;

        for (left = code; left > 1; left--) {
            if (at == size)
                return SIZE_MAX;
            data[length++] = stuffed[at++];
        }
        if (at == size)
            return length;
        if (code != 255)
            data[length++] = 0;
    }
}

/* Whether packet and CRC fit together in the session of `seed`. */
static inline int plain_fits(uint32_t seed, const uint8_t *data, size_t length)
{
    uint32_t crc = plain_crc(seed, data, length - 4);
    int i;

    for (i = 0; i < 4; i++)
        if (data[length - 4 + (size_t)i] != (uint8_t)(crc >> (8 * i)))
            return 0;
    return 1;
}

#endif
