/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of mtvm_frame.h: CRC-32 by half bytes (a table of 64 bytes instead of 1024), the decoder one byte at a
 * time, the encoder straight from the packet's two pieces to the port.
 */
#include "mtvm_frame.h"

/* What the CRC of a packet with its own CRC behind it always is, whatever the seed. */
#define CRC_RESIDUE 0x2144DF1Cu

/* A request has a number and a kind. */
#define SHORTEST_BYTES (2 + MTVM_CRC_BYTES)

/* Most data bytes behind one code byte. */
#define BLOCK_BYTES 254

/* Bytes collected for one call of the port: the call is the cost. */
#define CHUNK_BYTES 32

uint32_t mtvm_crc32(uint32_t crc, const uint8_t *data, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    size_t i;

    crc = ~crc;
    for (i = 0; i < size; i++) {
        crc ^= data[i];
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

static void append(struct mtvm_receiver *receiver, uint8_t byte)
{
    if (receiver->length < sizeof receiver->data)
        receiver->data[receiver->length] = byte;
    if (receiver->length <= sizeof receiver->data)
        receiver->length++;
}

static enum mtvm_received check(struct mtvm_receiver *receiver)
{
    uint16_t length = receiver->length;

    receiver->length = (uint16_t)(length - MTVM_CRC_BYTES);
    if (receiver->seed != 0 && mtvm_crc32(receiver->seed, receiver->data, length) == CRC_RESIDUE)
        return MTVM_RECEIVED_PACKET;
    if (mtvm_crc32(0, receiver->data, length) == CRC_RESIDUE)
        return MTVM_RECEIVED_PLAIN;
    return MTVM_RECEIVED_DAMAGE;
}

enum mtvm_received mtvm_receive(struct mtvm_receiver *receiver, uint8_t byte)
{
    if (byte == 0) {
        uint8_t begun = receiver->code;
        uint8_t missing = receiver->left;

        receiver->code = 0;
        receiver->left = 0;
        if (begun == 0)
            return MTVM_RECEIVED_NOTHING;
        if (missing != 0 || receiver->length < SHORTEST_BYTES || receiver->length > sizeof receiver->data)
            return MTVM_RECEIVED_DAMAGE;
        return check(receiver);
    }
    if (receiver->left != 0) {
        append(receiver, byte);
        receiver->left--;
        return MTVM_RECEIVED_NOTHING;
    }
    if (receiver->code == 0)
        receiver->length = 0;
    else if (receiver->code != BLOCK_BYTES + 1)
        append(receiver, 0); /* between two blocks lies a zero, unless the first one is full */
    receiver->code = byte;
    receiver->left = (uint8_t)(byte - 1);
    return MTVM_RECEIVED_NOTHING;
}

struct sender {
    const struct mtvm_port *port;
    const uint8_t *piece[3]; /* head, tail, CRC */
    size_t ends[3];          /* where each piece ends in the packet */
    size_t filled;
    uint8_t chunk[CHUNK_BYTES];
};

static uint8_t byte_at(const struct sender *sender, size_t i)
{
    if (i < sender->ends[0])
        return sender->piece[0][i];
    if (i < sender->ends[1])
        return sender->piece[1][i - sender->ends[0]];
    return sender->piece[2][i - sender->ends[1]];
}

static void flush(struct sender *sender)
{
    if (sender->filled != 0)
        sender->port->write(sender->port->context, sender->chunk, sender->filled);
    sender->filled = 0;
}

static void put(struct sender *sender, uint8_t byte)
{
    sender->chunk[sender->filled++] = byte;
    if (sender->filled == CHUNK_BYTES)
        flush(sender);
}

void mtvm_send(const struct mtvm_port *port, uint32_t seed, const uint8_t *head, size_t head_bytes,
               const uint8_t *tail, size_t tail_bytes)
{
    struct sender sender;
    uint8_t crc_bytes[MTVM_CRC_BYTES];
    uint32_t crc = mtvm_crc32(mtvm_crc32(seed, head, head_bytes), tail, tail_bytes);
    size_t i;

    for (i = 0; i < MTVM_CRC_BYTES; i++)
        crc_bytes[i] = (uint8_t)(crc >> (8 * i));
    sender.port = port;
    sender.piece[0] = head;
    sender.piece[1] = tail;
    sender.piece[2] = crc_bytes;
    sender.ends[0] = head_bytes;
    sender.ends[1] = head_bytes + tail_bytes;
    sender.ends[2] = head_bytes + tail_bytes + MTVM_CRC_BYTES;
    sender.filled = 0;

    put(&sender, 0);
    i = 0;
    for (;;) {
        size_t block = 0;
        size_t end;

        while (block < BLOCK_BYTES && i + block < sender.ends[2] && byte_at(&sender, i + block) != 0)
            block++;
        put(&sender, (uint8_t)(block + 1));
        for (end = i + block; i < end; i++)
            put(&sender, byte_at(&sender, i));
        if (i == sender.ends[2])
            break;
        if (block < BLOCK_BYTES)
            i++; /* the zero itself is not sent: the code byte says where it is */
    }
    put(&sender, 0);
    flush(&sender);
}
