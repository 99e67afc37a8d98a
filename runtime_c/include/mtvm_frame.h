/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames: a byte stream that may lose, change or repeat bytes becomes whole packets, or none. A packet is followed
 * by its CRC-32, encoded with consistent overhead byte stuffing (Cheshire and Baker, 1999), and has a zero byte on
 * either side, so that a damaged byte costs one frame and never two.
 */
#ifndef MTVM_FRAME_H
#define MTVM_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "mtvm_port.h"

/* A project whose build takes no definitions has them in a header. */
#ifdef __has_include
#if __has_include("mtvm_config.h")
#include "mtvm_config.h"
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How many bytes a host may have on their way to the server: what the port can hold (its receive buffer, where
 * an interrupt fills one) while the server computes. A port that holds the sender back needs no buffer. */
#ifndef MTVM_WINDOW_BYTES
#define MTVM_WINDOW_BYTES 256
#endif

/* The longest frame that the server takes, encoded, with both delimiters. Two in a window keep the line busy
 * while an answer is on its way; the server's RAM grows by it. */
#ifndef MTVM_FRAME_BYTES
#define MTVM_FRAME_BYTES (MTVM_WINDOW_BYTES / 2)
#endif

#if MTVM_FRAME_BYTES < 20 || MTVM_FRAME_BYTES > MTVM_WINDOW_BYTES || MTVM_WINDOW_BYTES > 32767
#error "MTVM_FRAME_BYTES is at least 20 and at most MTVM_WINDOW_BYTES, which is at most 32767"
#endif

#define MTVM_CRC_BYTES 4

/* Packet and CRC of the longest frame: two bytes of it are delimiters, and of every 255 others one is a code. */
#define MTVM_DECODED_BYTES ((MTVM_FRAME_BYTES - 2) - ((MTVM_FRAME_BYTES - 2) + 254) / 255)

struct mtvm_receiver {
    uint32_t seed;   /* CRC of what both ends know and do not send, the session's nonce; 0 without a session */
    uint16_t length; /* decoded bytes so far; more than `data` has when the frame is too long */
    uint8_t code;    /* the last code byte, 0 before a frame's first */
    uint8_t left;    /* bytes until the next code byte */
    uint8_t data[MTVM_DECODED_BYTES];
};

enum mtvm_received {
    MTVM_RECEIVED_NOTHING, /* no frame ends here */
    MTVM_RECEIVED_PACKET,  /* a whole one of this session: `length` bytes in `data`, until the next byte is given */
    MTVM_RECEIVED_PLAIN,   /* a whole one of no session */
    MTVM_RECEIVED_DAMAGE   /* something that is no frame: too short, too long, or of a wrong CRC */
};

/* CRC-32 as in IEEE 802.3 (reflected polynomial 0xEDB88320) of the bytes that gave `crc` followed by these;
 * start with 0. */
uint32_t mtvm_crc32(uint32_t crc, const uint8_t *data, size_t size);

/* Takes one byte of the stream. A receiver starts as all zeros. */
enum mtvm_received mtvm_receive(struct mtvm_receiver *receiver, uint8_t byte);

/* Sends the packet that is `head` followed by `tail` as one frame, encoding it on the way: no buffer holds it.
 * `seed` is as in the receiver. */
void mtvm_send(const struct mtvm_port *port, uint32_t seed, const uint8_t *head, size_t head_bytes,
               const uint8_t *tail, size_t tail_bytes);

#ifdef __cplusplus
}
#endif

#endif
