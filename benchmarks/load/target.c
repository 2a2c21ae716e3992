/* The desktop: an RFB 3.8 server with security type None for many clients, told apart by the scene.
 *
 * down, stall: after an update request, as many bytes as fit, until `amount`.
 * paint: a burst, again and again, RATE times a second for each client that has asked for it.
 * up-large, up-small: compares what comes, and rings the bell once `amount` messages are there.
 * In all but the last two, a typed key is answered by a pixel. */

#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { RATE = 20, EVENTS = 64, GUESTS = 65536, TURN = 4 << 20 /* bytes sent before others have their turn */ };

typedef enum { VERSION, SECURITY, CLIENT_INIT, DESKTOP } Stage;

typedef struct {
    int fd;
    Stage stage;
    bool asked;    /* for an update, and not answered yet */
    bool flooding;
    uint32_t typed; /* keys */
    uint64_t done;  /* bytes, sent to or taken from the client */
    size_t have;
    unsigned char held[32]; /* of a message that is not all there */
} Guest;

static const char GREETING[] = "RFB 003.008\n";
static const unsigned char SERVER_INIT[] = {
    4, 0, 3, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 0, 0, 0, 4, 'l', 'o', 'a', 'd', BELL};
static const size_t DUE[] = {[VERSION] = 12, [SECURITY] = 1, [CLIENT_INIT] = 1};

static const Task *task;
static const Pattern *sink; /* what comes, in the scenes that send up */
static uint64_t sink_size;
static int events_fd;
static Guest **guests; /* those that may be painted for, by when they came */
static size_t guest_count;

static void leave(Guest *guest) {
    for (size_t i = 0; i < guest_count; i++)
        if (guests[i] == guest) guests[i] = guests[--guest_count];
    close(guest->fd);
    guest->fd = -1;
}

static void say(Guest *guest, const void *data, size_t size) {
    for (const char *next = data; size && guest->fd >= 0;) {
        ssize_t sent = send(guest->fd, next, size, MSG_NOSIGNAL);
        if (sent >= 0) {
            next += sent;
            size -= (size_t)sent;
        } else if (errno == EAGAIN) {
            poll(&(struct pollfd){guest->fd, POLLOUT, 0}, 1, -1);
        } else {
            leave(guest);
        }
    }
}

static void watch(Guest *guest, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = guest};
    epoll_ctl(events_fd, operation, guest->fd, &event);
}

static void flood(Guest *guest) {
    const Pattern *pattern = flood_pattern();
    for (size_t turn = 0; turn < TURN && guest->done < task->amount;) {
        size_t at = guest->done % pattern->period, size = pattern->size - at;
        if (size > task->amount - guest->done) size = task->amount - guest->done;
        ssize_t sent = send(guest->fd, pattern->bytes + at, size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) leave(guest);
            return;
        }
        guest->done += (uint64_t)sent;
        turn += (size_t)sent;
    }
    if (guest->done == task->amount) watch(guest, EPOLLIN, EPOLL_CTL_MOD);
}

static void paint(Guest *guest) {
    static unsigned char burst[BURST_SIZE];
    if (!burst[3]) memcpy(burst, burst_pattern()->bytes, BURST_SIZE);
    uint64_t now = now_ns();
    memcpy(burst + STAMP_AT, &now, STAMP_SIZE);
    guest->asked = false;
    say(guest, burst, BURST_SIZE);
}

/* One tick is one client's turn: they are spread over the time evenly. */
static void tick(int timer, size_t *turn) {
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) != sizeof ticks) return;
    for (; ticks; ticks--, ++*turn) {
        size_t place = *turn % task->sessions;
        if (place < guest_count && guests[place]->asked) paint(guests[place]);
    }
}

static void answer_key(Guest *guest, const unsigned char *message) {
    unsigned char due[TYPED_SIZE], shown[SHOWN_SIZE];
    write_typed(due, guest->typed);
    if (memcmp(due, message, TYPED_SIZE)) die("target: key %u is wrong", guest->typed);
    write_shown(shown, guest->typed++);
    say(guest, shown, SHOWN_SIZE);
}

/* Obey a desktop message; returns its size, 0 where it is not all there. */
static size_t obey(Guest *guest, const unsigned char *message, size_t have) {
    size_t size = message[0] == KEY_EVENT ? TYPED_SIZE : UPDATE_REQUEST_SIZE;
    if (have < size) return 0;
    if (message[0] == KEY_EVENT) {
        answer_key(guest, message);
    } else if (memcmp(message, UPDATE_REQUEST_MESSAGE, UPDATE_REQUEST_SIZE)) {
        die("target: message type %u is not due", message[0]);
    } else {
        guest->asked = true;
        if (!guest->flooding && (!strcmp(task->scene, "down") || !strcmp(task->scene, "stall"))) {
            guest->flooding = true;
            watch(guest, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        }
    }
    return size;
}

static size_t shake_hands(Guest *guest, const unsigned char *message, size_t have) {
    static const unsigned char types[] = {1, 1}, result[4];
    size_t size = DUE[guest->stage];
    if (have < size) return 0;
    if (guest->stage == VERSION && memcmp(message, GREETING, size)) die("target: not RFB 3.8");
    if (guest->stage == SECURITY && message[0] != 1) die("target: security type %u was not offered", message[0]);
    switch (guest->stage++) {
    case VERSION: say(guest, types, sizeof types); break;
    case SECURITY: say(guest, result, sizeof result); break;
    default: say(guest, SERVER_INIT, sizeof SERVER_INIT); break;
    }
    return size;
}

static void swallow(Guest *guest, const unsigned char *data, size_t size) {
    check(sink, guest->done, data, size, "target");
    guest->done += size;
    if (guest->done == sink_size) say(guest, &(unsigned char){BELL}, 1);
}

static void hear(Guest *guest) {
    static unsigned char data[READ_SIZE];
    memcpy(data, guest->held, guest->have);
    ssize_t got = recv(guest->fd, data + guest->have, sizeof data - guest->have, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        leave(guest);
        return;
    }
    size_t size = guest->have + (size_t)got, at = 0, used = 1;
    while (used && at < size && guest->fd >= 0 && !(sink && guest->stage == DESKTOP)) {
        used = (guest->stage == DESKTOP ? obey : shake_hands)(guest, data + at, size - at);
        at += used;
    }
    if (sink && guest->stage == DESKTOP && at < size) {
        swallow(guest, data + at, size - at);
        at = size;
    }
    guest->have = size - at;
    memcpy(guest->held, data + at, guest->have);
}

static void greet(int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (guest_count == GUESTS) die("target: more than %d clients", GUESTS);
        Guest *guest = allocate(sizeof *guest); /* never freed: an event that is still to be looked at may name it */
        guest->fd = fd;
        guests[guest_count++] = guest;
        watch(guest, EPOLLIN, EPOLL_CTL_ADD);
        say(guest, GREETING, sizeof GREETING - 1);
    }
}

static int start_timer(void) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    long period = 1000000000 / (RATE * (long)task->sessions);
    struct itimerspec spec = {{0, period}, {0, period}};
    timerfd_settime(timer, 0, &spec, NULL);
    return timer;
}

void target(const Task *given) {
    static char is_listener, is_timer;
    struct epoll_event events[EVENTS], ready = {.events = EPOLLIN, .data.ptr = &is_listener};
    int port, listener = listen_anywhere(&port), timer = -1;
    size_t turn = 0;
    task = given;
    sink = !strcmp(task->scene, "up-large") ? large_pattern() : !strcmp(task->scene, "up-small") ? small_pattern() : NULL;
    sink_size = task->amount * (sink == small_pattern() ? SMALL_SIZE : LARGE_SIZE);
    guests = allocate(GUESTS * sizeof *guests);
    events_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(events_fd, EPOLL_CTL_ADD, listener, &ready);
    if (!strcmp(task->scene, "paint")) {
        timer = start_timer();
        ready.data.ptr = &is_timer;
        epoll_ctl(events_fd, EPOLL_CTL_ADD, timer, &ready);
    }
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(events_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            Guest *guest = events[i].data.ptr;
            if (events[i].data.ptr == &is_listener) {
                greet(listener);
            } else if (events[i].data.ptr == &is_timer) {
                tick(timer, &turn);
            } else {
                if (guest->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(guest);
                if (guest->fd >= 0 && events[i].events & EPOLLOUT) flood(guest);
            }
        }
    }
}
