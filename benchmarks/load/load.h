/* A load generator for console proxies: `load target …` is the desktop, `load client …` its viewers.
 *
 * All that passes is valid RFB 3.8 (RFC 6143), and both ends know every byte that is due: the first wrong one ends the
 * program with a message and status 1. */

#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    KEY_EVENT = 4, POINTER_EVENT = 5, UPDATE_REQUEST = 3, CLIENT_CUT_TEXT = 6, /* client messages */
    BELL = 2,                                                                  /* server message, one byte */
    KEY_EVENT_SIZE = 8, UPDATE_REQUEST_SIZE = 10,
    TYPED_SIZE = 2 * KEY_EVENT_SIZE, /* a key, pressed and released */
    SHOWN_SIZE = 20,                 /* the update of one pixel that answers it */
    BURST_SIZE = 32768,              /* one painting */
    STAMP_AT = 16, STAMP_SIZE = 8,   /* in it, when it was sent: nanoseconds */
    LARGE_SIZE = 1 << 20, SMALL_SIZE = 20, SMALL_COUNT = 1024, /* frames of a client that sends much */
    READ_SIZE = 262144,
};

/* net.c: sockets, time, failing */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
void *allocate(size_t size);
int listen_anywhere(int *port);
int connect_to(int port, unsigned source); /* from 127.0.0.1 or, with a source, from 127.0.1.source */
void be_blocking(int fd, bool blocking);
void raise_file_limit(void);

/* pattern.c: bytes that are due, which repeat after `period` */
typedef struct {
    const unsigned char *bytes; /* of `size`, whole periods */
    size_t size, period;
} Pattern;

const Pattern *flood_pattern(void); /* updates of 256 KiB */
const Pattern *burst_pattern(void); /* one update of BURST_SIZE */
const Pattern *large_pattern(void); /* ClientCutTexts of LARGE_SIZE */
const Pattern *small_pattern(void); /* SMALL_COUNT times SMALL_SIZE of key, pointer and update request messages */
void check(const Pattern *pattern, uint64_t offset, const void *data, size_t size, const char *whose);
void write_typed(unsigned char *message, uint32_t count); /* `count` is the key, or the pixel: the next one each time */
void write_shown(unsigned char *message, uint32_t count);
extern const unsigned char UPDATE_REQUEST_MESSAGE[UPDATE_REQUEST_SIZE];

/* link.c: a client's connection; desktop bytes in and out, whatever is around them */
typedef enum { RAW, CONNECT, WEBSOCKET } Way;

typedef struct {
    Way way;
    bool tls;
    int port;
    const char *path; /* of the request, with its token */
} Route;

typedef struct {
    int fd;
    struct ssl_st *tls;
    Way way;
    uint64_t left; /* of the frame that is being read */
    unsigned char head[14], control[125];
    uint8_t head_have, control_have;
    bool ended; /* by a close frame */
} Link;

enum { WOULD_BLOCK = -1 };

void link_open(Link *link, const Route *route, unsigned source);
ssize_t link_read(Link *link, void *data, size_t size); /* 0: the end; WOULD_BLOCK where the socket does not block */
void link_read_all(Link *link, void *data, size_t size);
void link_send(Link *link, const void *data, size_t size);       /* one short message */
void link_write(Link *link, const void *data, size_t size);      /* as it is, framed already */
void link_close(Link *link);
size_t frame_head(unsigned char *head, size_t size, uint32_t mask);
void apply_mask(unsigned char *data, size_t size, uint32_t mask);

/* target.c, client.c, bulk.c */
typedef struct {
    Route route;
    const char *scene;
    unsigned sessions;
    uint64_t amount; /* bytes, messages or round trips */
    double seconds;
} Task;

void target(const Task *task);
void client(const Task *task);
void enter(Link *link, const Task *task, unsigned number); /* connect, RFB's handshake, the first byte of the desktop */
void ready(void);                /* say so and wait for the word to begin */
void report(double seconds, uint64_t bytes, uint64_t *delays_ns, size_t count); /* and wait for the word to leave */
void read_down(const Task *task);
void watch_paintings(const Task *task);
void let_flood_wait(const Task *task);

#endif
