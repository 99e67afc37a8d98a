/* SPDX-License-Identifier: Apache-2.0
 *
 * The frame codec of the runtime against published vectors, a bitwise CRC and a plain decoder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mtvm_frame.h"

#define CHECK(condition)                                                   \
    do {                                                                   \
        if (!(condition)) {                                                \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            exit(EXIT_FAILURE);                                            \
        }                                                                  \
    } while (0)

static uint8_t sent[4096];
static size_t sent_bytes;

static void port_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    CHECK(size != 0);
    CHECK(sent_bytes + size <= sizeof sent);
    memcpy(sent + sent_bytes, data, size);
    sent_bytes += size;
}

static const struct mtvm_port port = {NULL, NULL, port_write, NULL, NULL, NULL, NULL, 0, NULL};

/* The definition of the CRC, one bit at a time. */
static uint32_t bitwise_crc(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xFFFFFFFFu;
    size_t i;
    int bit;

    for (i = 0; i < size; i++) {
        crc ^= data[i];
        for (bit = 0; bit < 8; bit++)
            crc = crc & 1u ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

/* Undoes the stuffing of `sent`, without its delimiters; returns the length. */
static size_t unstuff(uint8_t *data)
{
    size_t at = 1;
    size_t length = 0;

    CHECK(sent_bytes >= 3 && sent[0] == 0 && sent[sent_bytes - 1] == 0);
    while (at < sent_bytes - 1) {
        uint8_t code = sent[at++];
        uint8_t left;

        CHECK(code != 0);
        for (left = code; left > 1; left--) {
            CHECK(sent[at] != 0);
            data[length++] = sent[at++];
        }
        if (code != 255 && at < sent_bytes - 1)
            data[length++] = 0;
    }
    CHECK(at == sent_bytes - 1);
    return length;
}

static void test_crc(void)
{
    static const uint8_t digits[] = "123456789";
    uint32_t crc = mtvm_crc32(0, digits, 9);

    CHECK(crc == 0xCBF43926u);
    CHECK(mtvm_crc32(mtvm_crc32(0, digits, 4), digits + 4, 5) == crc);
    CHECK(mtvm_crc32(0, digits, 0) == 0);
}

/* Every length around the block of 254 bytes, with a zero at every place or none, cut in two anywhere. */
static void test_send(void)
{
    static uint8_t packet[600];
    static uint8_t back[600 + MTVM_CRC_BYTES];
    size_t length;

    for (length = 2; length < 530; length += length < 240 ? 17 : 1) {
        size_t zero;

        for (zero = 0; zero <= length; zero += 1 + length / 13) {
            size_t split = (zero * 7) % (length + 1);
            uint32_t crc;

            memset(packet, 0x5A, sizeof packet);
            packet[zero] = 0;
            sent_bytes = 0;
            mtvm_send(&port, 0, packet, split, packet + split, length - split);
            CHECK(unstuff(back) == length + MTVM_CRC_BYTES);
            CHECK(memcmp(back, packet, length) == 0);
            crc = bitwise_crc(packet, length);
            CHECK(back[length] == (uint8_t)crc && back[length + 3] == (uint8_t)(crc >> 24));
            CHECK(sent_bytes <= 2 + length + MTVM_CRC_BYTES + 1 + (length + MTVM_CRC_BYTES) / 254);
        }
    }
}

static enum mtvm_received feed(struct mtvm_receiver *receiver, const uint8_t *data, size_t size)
{
    enum mtvm_received last = MTVM_RECEIVED_NOTHING;
    size_t i;

    for (i = 0; i < size; i++) {
        enum mtvm_received event = mtvm_receive(receiver, data[i]);

        if (event != MTVM_RECEIVED_NOTHING) {
            CHECK(last == MTVM_RECEIVED_NOTHING);
            last = event;
        }
    }
    return last;
}

/* What is sent is received, up to the longest packet; one byte more is damage and does not stay. */
static void test_receive(void)
{
    static struct mtvm_receiver receiver;
    static uint8_t packet[MTVM_DECODED_BYTES];
    size_t length;
    size_t i;

    for (i = 0; i < sizeof packet; i++)
        packet[i] = (uint8_t)(i * 37);
    for (length = 2; length <= sizeof packet; length++) {
        int fits = length + MTVM_CRC_BYTES <= MTVM_DECODED_BYTES;

        sent_bytes = 0;
        mtvm_send(&port, 0, packet, length, packet, 0);
        CHECK(feed(&receiver, sent, sent_bytes) == (fits ? MTVM_RECEIVED_PLAIN : MTVM_RECEIVED_DAMAGE));
        if (fits)
            CHECK(receiver.length == length && memcmp(receiver.data, packet, length) == 0);
    }
    sent_bytes = 0;
    mtvm_send(&port, 0, packet, 1, packet, 0);
    CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_DAMAGE);
}

static void test_sessions(void)
{
    static struct mtvm_receiver receiver;
    static const uint8_t packet[] = {1, 2, 3};

    receiver.seed = 77;
    sent_bytes = 0;
    mtvm_send(&port, 77, packet, sizeof packet, packet, 0);
    CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_PACKET);
    sent_bytes = 0;
    mtvm_send(&port, 0, packet, sizeof packet, packet, 0);
    CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_PLAIN);
    sent_bytes = 0;
    mtvm_send(&port, 78, packet, sizeof packet, packet, 0);
    CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_DAMAGE);
}

/* Any single changed byte between the delimiters is noticed, and the next frame is whole. */
static void test_damage(void)
{
    static const uint8_t packet[] = {9, 0, 8, 0, 0, 7};
    static struct mtvm_receiver receiver;
    size_t place;
    int value;

    sent_bytes = 0;
    mtvm_send(&port, 0, packet, sizeof packet, packet, 0);
    for (place = 1; place < sent_bytes - 1; place++) {
        for (value = 1; value < 256; value++) {
            uint8_t kept = sent[place];

            sent[place] = (uint8_t)value;
            if (value != kept)
                CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_DAMAGE);
            sent[place] = kept;
        }
        CHECK(feed(&receiver, sent, sent_bytes) == MTVM_RECEIVED_PLAIN);
    }
}

int main(void)
{
    test_crc();
    test_send();
    test_receive();
    test_sessions();
    test_damage();
    return EXIT_SUCCESS;
}
