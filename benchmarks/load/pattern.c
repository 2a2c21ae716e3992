/* What passes: RFB messages made once, and compared with what arrives. */

#include "load.h"

#include <string.h>

static void put_16(unsigned char *at, unsigned number) {
    at[0] = (unsigned char)(number >> 8);
    at[1] = (unsigned char)number;
}

static void put_32(unsigned char *at, uint32_t number) {
    put_16(at, number >> 16);
    put_16(at + 2, number & 0xffff);
}

static void fill(unsigned char *at, size_t size, uint32_t seed) {
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525 + 1013904223;
        at[i] = (unsigned char)(seed >> 24);
    }
}

/* A FramebufferUpdate with one Raw rectangle; returns the size of its head. */
static size_t put_update(unsigned char *at, unsigned width, unsigned height) {
    memset(at, 0, 16);
    put_16(at + 2, 1);
    put_16(at + 8, width);
    put_16(at + 10, height);
    return 16;
}

static unsigned char *update(unsigned width, unsigned height, unsigned copies, size_t *period) {
    *period = 16 + 4u * width * height;
    unsigned char *bytes = allocate(*period * copies);
    size_t head = put_update(bytes, width, height);
    fill(bytes + head, *period - head, width);
    for (unsigned i = 1; i < copies; i++) memcpy(bytes + i * *period, bytes, *period);
    return bytes;
}

const Pattern *flood_pattern(void) {
    static Pattern pattern;
    if (!pattern.bytes) {
        pattern.bytes = update(1024, 64, 4, &pattern.period);
        pattern.size = 4 * pattern.period;
    }
    return &pattern;
}

const Pattern *burst_pattern(void) {
    static Pattern pattern;
    if (!pattern.bytes) {
        pattern.bytes = update(92, 89, 1, &pattern.period);
        pattern.size = pattern.period;
        if (pattern.size != BURST_SIZE) die("a burst is %zu bytes", pattern.size);
    }
    return &pattern;
}

const Pattern *large_pattern(void) {
    static Pattern pattern;
    if (!pattern.bytes) {
        unsigned char *bytes = allocate(LARGE_SIZE);
        bytes[0] = CLIENT_CUT_TEXT;
        put_32(bytes + 4, LARGE_SIZE - 8);
        fill(bytes + 8, LARGE_SIZE - 8, 1);
        pattern = (Pattern){bytes, LARGE_SIZE, LARGE_SIZE};
    }
    return &pattern;
}

static unsigned char *put_pointer(unsigned char *at, unsigned count) {
    at[0] = POINTER_EVENT;
    at[1] = count & 1;
    put_16(at + 2, count % 1024);
    put_16(at + 4, count % 768);
    return at + 6;
}

static unsigned char *put_key(unsigned char *at, bool down, uint32_t key) {
    memset(at, 0, KEY_EVENT_SIZE);
    at[0] = KEY_EVENT;
    at[1] = down;
    put_32(at + 4, key);
    return at + KEY_EVENT_SIZE;
}

const Pattern *small_pattern(void) {
    static Pattern pattern;
    if (!pattern.bytes) {
        unsigned char *bytes = allocate(SMALL_COUNT * SMALL_SIZE), *at = bytes;
        for (unsigned i = 0; i < SMALL_COUNT; i++) {
            if (i % 4) {
                at = put_key(at, i & 1, i);
                at = put_pointer(put_pointer(at, i), i + 1);
            } else {
                for (int j = 0; j < 2; j++, at += UPDATE_REQUEST_SIZE)
                    memcpy(at, UPDATE_REQUEST_MESSAGE, UPDATE_REQUEST_SIZE);
            }
        }
        pattern = (Pattern){bytes, SMALL_COUNT * SMALL_SIZE, SMALL_COUNT * SMALL_SIZE};
    }
    return &pattern;
}

const unsigned char UPDATE_REQUEST_MESSAGE[] = {UPDATE_REQUEST, 1, 0, 0, 0, 0, 4, 0, 3, 0};

void write_typed(unsigned char *message, uint32_t count) { put_key(put_key(message, true, count), false, count); }

void write_shown(unsigned char *message, uint32_t count) { put_32(message + put_update(message, 1, 1), count); }

void check(const Pattern *pattern, uint64_t offset, const void *data, size_t size, const char *whose) {
    size_t at = offset % pattern->period;
    for (const unsigned char *next = data; size;) {
        size_t part = size < pattern->period - at ? size : pattern->period - at;
        if (memcmp(pattern->bytes + at, next, part))
            die("%s: wrong bytes after %llu", whose, (unsigned long long)offset);
        next += part;
        size -= part;
        offset += part;
        at = 0;
    }
}
