/* Viewers of desktops that send much, many at a time. */

#include "load.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { EVENTS = 64 };

typedef struct {
    Link link;
    uint64_t seen; /* bytes of the desktop */
    uint64_t sent_at;
} Viewer;

static unsigned char data[READ_SIZE];

static void ask(Viewer *viewer) { link_send(&viewer->link, UPDATE_REQUEST_MESSAGE, UPDATE_REQUEST_SIZE); }

static Viewer *enter_all(const Task *task, int *events_fd) {
    Viewer *viewers = allocate(task->sessions * sizeof *viewers);
    *events_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < task->sessions; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &viewers[i]};
        enter(&viewers[i].link, task, i);
        be_blocking(viewers[i].link.fd, false);
        epoll_ctl(*events_fd, EPOLL_CTL_ADD, viewers[i].link.fd, &event);
    }
    return viewers;
}

/* Call `view` for each viewer that has something to read, until `amount` bytes came to all or the time is over. */
static uint64_t watch(int events_fd, size_t (*view)(Viewer *), uint64_t amount, double seconds) {
    struct epoll_event events[EVENTS];
    uint64_t seen = 0, start = now_ns();
    while (seen < amount && (double)(now_ns() - start) < seconds * 1e9) {
        int count = epoll_wait(events_fd, events, EVENTS, 1000);
        for (int i = 0; i < count; i++) seen += view(events[i].data.ptr);
    }
    return seen;
}

static size_t view_flood(Viewer *viewer) {
    size_t seen = 0;
    ssize_t got;
    while ((got = link_read(&viewer->link, data, sizeof data)) > 0) {
        check(flood_pattern(), viewer->seen, data, (size_t)got, "client");
        viewer->seen += (uint64_t)got;
        seen += (size_t)got;
    }
    if (got == 0) die("the proxy hung up in the middle of a flood");
    return seen;
}

static void flood(const Task *task, int events_fd) {
    uint64_t start = now_ns();
    uint64_t seen = watch(events_fd, view_flood, task->amount * task->sessions, task->seconds);
    report((double)(now_ns() - start) / 1e9, seen, NULL, task->sessions);
}

/* down: `amount` bytes to each session. */
void read_down(const Task *task) {
    int events_fd;
    Viewer *viewers = enter_all(task, &events_fd);
    ready();
    for (unsigned i = 0; i < task->sessions; i++) ask(&viewers[i]);
    flood(task, events_fd);
}

/* stall: asks for the flood, reads nothing until told to, and then all of it. */
void let_flood_wait(const Task *task) {
    int events_fd;
    Viewer *viewers = enter_all(task, &events_fd);
    ready();
    for (unsigned i = 0; i < task->sessions; i++) ask(&viewers[i]);
    ready();
    flood(task, events_fd);
}

static uint64_t *delays;
static size_t delay_count, delay_limit;

/* Look at a piece of bursts; each is answered by the request for the next. */
static void look(Viewer *viewer, const unsigned char *piece, size_t size) {
    while (size) {
        size_t at = viewer->seen % BURST_SIZE, end = at < STAMP_AT ? STAMP_AT : BURST_SIZE;
        bool stamp = at >= STAMP_AT && at < STAMP_AT + STAMP_SIZE;
        if (stamp) end = STAMP_AT + STAMP_SIZE;
        size_t part = size < end - at ? size : end - at;
        if (stamp)
            memcpy((unsigned char *)&viewer->sent_at + at - STAMP_AT, piece, part);
        else
            check(burst_pattern(), at, piece, part, "client");
        viewer->seen += part;
        piece += part;
        size -= part;
        if (viewer->seen % BURST_SIZE == 0) {
            if (delay_count < delay_limit) delays[delay_count++] = now_ns() - viewer->sent_at;
            ask(viewer);
        }
    }
}

static size_t view_painting(Viewer *viewer) {
    size_t seen = 0;
    ssize_t got;
    while ((got = link_read(&viewer->link, data, sizeof data)) > 0) {
        look(viewer, data, (size_t)got);
        seen += (size_t)got;
    }
    if (got == 0) die("the proxy hung up in the middle of a painting");
    return seen;
}

/* paint: answers each burst, for `seconds`. */
void watch_paintings(const Task *task) {
    int events_fd;
    Viewer *viewers = enter_all(task, &events_fd);
    delay_limit = 1 << 20;
    delays = allocate(delay_limit * sizeof *delays);
    ready();
    uint64_t start = now_ns();
    for (unsigned i = 0; i < task->sessions; i++) ask(&viewers[i]);
    uint64_t seen = watch(events_fd, view_painting, UINT64_MAX, task->seconds);
    report((double)(now_ns() - start) / 1e9, seen, delays, delay_count);
}
