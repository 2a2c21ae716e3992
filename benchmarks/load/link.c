/* A client's connection: TCP or TLS, then nothing, an HTTP CONNECT or a WebSocket (RFC 6455) around the desktop. */

#include "load.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The key and its answer of RFC 6455 section 1.3 */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum { CLOSE_FRAME = 8, PING = 9, PONG = 10, FIN = 0x80, MASKED = 0x80, HEAD_LIMIT = 2048 };

static const uint32_t MASK = 0x9ac371e5;

static SSL_CTX *tls_context;

static void make_tls_context(void) {
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context || !SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(tls_context, "TLS_AES_128_GCM_SHA256"))
        die("OpenSSL cannot speak TLS 1.3");
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_mode(tls_context, SSL_MODE_AUTO_RETRY | SSL_MODE_RELEASE_BUFFERS);
}

static void begin_tls(Link *link) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tls_context);
    link->tls = SSL_new(tls_context);
    if (!link->tls || !SSL_set_fd(link->tls, link->fd) || SSL_connect(link->tls) != 1) die("no TLS handshake");
}

static ssize_t failed(const char *what) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return WOULD_BLOCK;
    if (errno == ECONNRESET || errno == EPIPE) return 0;
    die("%s: errno %d", what, errno);
}

/* As recv; 0 at the end, WOULD_BLOCK. */
static ssize_t take(Link *link, void *data, size_t size) {
    if (link->tls) {
        errno = 0;
        int got = SSL_read(link->tls, data, size > READ_SIZE ? READ_SIZE : (int)size);
        if (got > 0) return got;
        int why = SSL_get_error(link->tls, got);
        if (why == SSL_ERROR_WANT_READ) return WOULD_BLOCK;
        if (why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL || !errno) return 0;
        return failed("TLS");
    }
    ssize_t got = recv(link->fd, data, size, 0);
    return got < 0 ? failed("recv") : got;
}

void link_write(Link *link, const void *data, size_t size) {
    for (const char *next = data; size;) {
        ssize_t sent;
        if (link->tls) {
            int part = SSL_write(link->tls, next, size > READ_SIZE ? READ_SIZE : (int)size);
            if (part <= 0 && SSL_get_error(link->tls, part) != SSL_ERROR_WANT_WRITE) die("the proxy hung up (TLS)");
            sent = part;
        } else {
            sent = send(link->fd, next, size, MSG_NOSIGNAL);
            if (sent < 0 && failed("send") == 0) die("the proxy hung up");
        }
        if (sent > 0) {
            next += sent;
            size -= (size_t)sent;
        } else {
            poll(&(struct pollfd){link->fd, POLLOUT, 0}, 1, -1);
        }
    }
}

/* Read an HTTP answer to its empty line and no byte further. */
static void read_answer(Link *link, char *answer) {
    size_t have = 0, due = 0;
    while (!due) {
        char *at = answer + have, *end;
        if (have == HEAD_LIMIT - 1) die("the answer's head is too long");
        ssize_t seen = link->tls ? SSL_peek(link->tls, at, (int)(HEAD_LIMIT - 1 - have))
                                 : recv(link->fd, at, HEAD_LIMIT - 1 - have, MSG_PEEK);
        if (seen <= 0) die("the proxy hung up instead of answering");
        at[seen] = 0;
        if ((end = strstr(answer, "\r\n\r\n"))) {
            due = (size_t)(end + 4 - answer);
            seen = (ssize_t)(due - have);
        }
        if (take(link, at, (size_t)seen) != seen) die("the answer changed");
        have += (size_t)seen;
    }
    answer[have] = 0;
}

static void ask(Link *link, const Route *route) {
    char text[HEAD_LIMIT];
    int size;
    if (route->way == CONNECT)
        size = snprintf(text, sizeof text, "CONNECT %s HTTP/1.0\r\n\r\n", route->path);
    else
        size = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Origin: %s://127.0.0.1:%d\r\nSec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Protocol: binary\r\n\r\n",
                        route->path, route->port, route->tls ? "https" : "http", route->port);
    if (size < 0 || size >= (int)sizeof text) die("the path is too long");
    link_write(link, text, (size_t)size);
    read_answer(link, text);
    if (route->way == CONNECT ? strncmp(text, "HTTP/1.1 200 ", 13) : !strstr(text, ACCEPT))
        die("the proxy refuses: %.200s", text);
}

void link_open(Link *link, const Route *route, unsigned source) {
    *link = (Link){.fd = connect_to(route->port, source), .way = route->way};
    if (route->tls) begin_tls(link);
    if (route->way != RAW) ask(link, route);
}

/* Read on until `due` bytes are there: 1; else what `take` says. */
static ssize_t complete(Link *link, unsigned char *part, uint8_t *have, size_t due) {
    while (*have < due) {
        ssize_t got = take(link, part + *have, due - *have);
        if (got <= 0) return got;
        *have += (uint8_t)got;
    }
    return 1;
}

static size_t head_size(const Link *link) {
    unsigned length = link->head[1];
    if (length & MASKED) die("a masked frame came from the server");
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static uint64_t payload_size(const Link *link) {
    uint64_t size = 0;
    for (size_t i = link->head_have == 2 ? 1 : 2; i < link->head_have; i++) size = size << 8 | link->head[i];
    return size;
}

static void answer_control(Link *link) {
    unsigned opcode = link->head[0] & 15;
    if (opcode == CLOSE_FRAME) link->ended = true;
    if (opcode != PING) return;
    unsigned char frame[6 + sizeof link->control];
    size_t head = frame_head(frame, link->control_have, MASK);
    frame[0] = FIN | PONG;
    memcpy(frame + head, link->control, link->control_have);
    apply_mask(frame + head, link->control_have, MASK);
    link_write(link, frame, head + link->control_have);
}

/* Read on to the payload of a data frame, past control frames: 1; else what `take` says. */
static ssize_t find_payload(Link *link) {
    while (!link->ended) {
        ssize_t got = complete(link, link->head, &link->head_have, 2);
        if (got > 0) got = complete(link, link->head, &link->head_have, head_size(link));
        if (got <= 0) return got;
        uint64_t size = payload_size(link);
        if ((link->head[0] & 15) < CLOSE_FRAME) {
            link->left = size;
        } else {
            if (size > sizeof link->control) die("an overlong control frame");
            if ((got = complete(link, link->control, &link->control_have, size)) <= 0) return got;
            answer_control(link);
            link->control_have = 0;
        }
        link->head_have = 0;
        if (link->left) return 1;
    }
    return 0;
}

ssize_t link_read(Link *link, void *data, size_t size) {
    if (link->way != WEBSOCKET) return take(link, data, size);
    if (!link->left) {
        ssize_t found = find_payload(link);
        if (found <= 0) return found;
    }
    ssize_t got = take(link, data, size < link->left ? size : (size_t)link->left);
    if (got > 0) link->left -= (uint64_t)got;
    return got;
}

void link_read_all(Link *link, void *data, size_t size) {
    for (char *next = data; size;) {
        ssize_t got = link_read(link, next, size);
        if (got == 0) die("the proxy hung up");
        if (got > 0) {
            next += got;
            size -= (size_t)got;
        }
    }
}

size_t frame_head(unsigned char *head, size_t size, uint32_t mask) {
    size_t length = size < 126 ? 0 : size < 65536 ? 2 : 8;
    head[0] = FIN | 2;
    head[1] = (unsigned char)(MASKED | (length == 0 ? size : length == 2 ? 126 : 127));
    for (size_t i = 0; i < length; i++) head[2 + i] = (unsigned char)(size >> 8 * (length - 1 - i));
    memcpy(head + 2 + length, &mask, 4);
    return 6 + length;
}

void apply_mask(unsigned char *data, size_t size, uint32_t mask) {
    unsigned char key[4];
    memcpy(key, &mask, 4);
    for (size_t i = 0; i < size; i++) data[i] ^= key[i % 4];
}

void link_send(Link *link, const void *data, size_t size) {
    unsigned char frame[14 + 125];
    if (size > 125) die("%zu bytes are no short message", size);
    if (link->way != WEBSOCKET) {
        link_write(link, data, size);
        return;
    }
    size_t head = frame_head(frame, size, MASK);
    memcpy(frame + head, data, size);
    apply_mask(frame + head, size, MASK);
    link_write(link, frame, head + size);
}

void link_close(Link *link) {
    if (link->tls) {
        SSL_shutdown(link->tls);
        SSL_free(link->tls);
    }
    close(link->fd);
}
