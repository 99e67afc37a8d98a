/* SPDX-License-Identifier: Apache-2.0
 *
 * For libFuzzer: any stream of bytes gives the receiver the same packets and the same damage as plain.h, and what
 * is sent after it arrives. The first byte of an input chooses the session and cuts packets in two; the rest is
 * first the stream, then a packet.
 */
#include <string.h>

#include "mtvm_frame.h"
#include "plain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *sent;
static size_t sent_bytes;
static size_t sent_room;

static void port_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    CHECK(size != 0 && size <= sent_room - sent_bytes);
    memcpy(sent + sent_bytes, data, size);
    sent_bytes += size;
}

static const struct mtvm_port port = {NULL, NULL, port_write, NULL, NULL, NULL, NULL, 0, NULL};

static enum mtvm_received expected(uint32_t seed, const uint8_t *data, size_t length)
{
    if (length == SIZE_MAX || length < 2 + MTVM_CRC_BYTES || length > MTVM_DECODED_BYTES)
        return MTVM_RECEIVED_DAMAGE;
    if (seed != 0 && plain_fits(seed, data, length))
        return MTVM_RECEIVED_PACKET;
    return plain_fits(0, data, length) ? MTVM_RECEIVED_PLAIN : MTVM_RECEIVED_DAMAGE;
}

/* Gives the stream to the receiver and to the plain decoder. */
static void receive(struct mtvm_receiver *receiver, const uint8_t *stream, size_t size, uint8_t *scratch)
{
    size_t begin = 0;
    size_t i;

    for (i = 0; i < size; i++) {
        enum mtvm_received event = mtvm_receive(receiver, stream[i]);

        if (stream[i] != 0 || i == begin) {
            CHECK(event == MTVM_RECEIVED_NOTHING);
        } else {
            size_t length = plain_unstuff(stream + begin, i - begin, scratch);

            CHECK(event == expected(receiver->seed, scratch, length));
            if (event == MTVM_RECEIVED_PACKET || event == MTVM_RECEIVED_PLAIN) {
                CHECK(receiver->length == length - MTVM_CRC_BYTES);
                CHECK(memcmp(receiver->data, scratch, receiver->length) == 0);
            }
        }
        if (stream[i] == 0)
            begin = i + 1;
    }
}

/* Sends the packet and receives it behind whatever the receiver has heard before. */
static void send(struct mtvm_receiver *receiver, const uint8_t *packet, size_t size, size_t cut, uint8_t *scratch)
{
    enum mtvm_received event = MTVM_RECEIVED_NOTHING;
    size_t length;
    size_t i;

    sent_bytes = 0;
    mtvm_send(&port, receiver->seed, packet, cut, packet + cut, size - cut);
    CHECK(sent[0] == 0 && sent[sent_bytes - 1] == 0 && memchr(sent + 1, 0, sent_bytes - 2) == NULL);
    CHECK(sent_bytes <= 2 + size + MTVM_CRC_BYTES + 1 + (size + MTVM_CRC_BYTES) / 254);
    length = plain_unstuff(sent + 1, sent_bytes - 2, scratch);
    CHECK(length == size + MTVM_CRC_BYTES && memcmp(scratch, packet, size) == 0);
    CHECK(plain_fits(receiver->seed, scratch, length));
    mtvm_receive(receiver, sent[0]);
    for (i = 1; i < sent_bytes; i++) {
        CHECK(event == MTVM_RECEIVED_NOTHING);
        event = mtvm_receive(receiver, sent[i]);
    }
    CHECK(event == expected(receiver->seed, scratch, length));
    CHECK((event != MTVM_RECEIVED_DAMAGE) == (size >= 2 && length <= MTVM_DECODED_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mtvm_receiver *receiver = calloc(1, sizeof *receiver);
    uint8_t *scratch;

    CHECK(receiver);
    if (size != 0) {
        sent_room = 2 * size + 16;
        sent = malloc(sent_room);
        scratch = malloc(sent_room);
        CHECK(sent && scratch);
        if (data[0] & 1)
            receiver->seed = mtvm_crc32(0, data, 1);
        CHECK(mtvm_crc32(receiver->seed, data, size) == plain_crc(receiver->seed, data, size));
        receive(receiver, data + 1, size - 1, scratch);
        send(receiver, data + 1, size - 1, (data[0] / 2) % size, scratch);
        free(scratch);
        free(sent);
    }
    free(receiver);
    return 0;
}
