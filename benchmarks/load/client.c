/* The viewers: each scene from opening its sessions to what was measured. */

#include "load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PER_SOURCE = 100, /* sessions of one address */ DELAY_LIMIT = 4 << 20 };

void enter(Link *link, const Task *task, unsigned number) {
    static const char version[] = "RFB 003.008\n";
    unsigned char init[24 + 4], heard[12];
    link_open(link, &task->route, task->sessions > PER_SOURCE ? 1 + number / PER_SOURCE : 0);
    link_read_all(link, heard, 12);
    if (memcmp(heard, version, 12)) die("no greeting of RFB 3.8");
    link_send(link, version, 12);
    link_read_all(link, heard, 2);
    if (memcmp(heard, "\1\1", 2)) die("security types other than None");
    link_send(link, "\1", 1);
    link_read_all(link, heard, 4);
    if (memcmp(heard, "\0\0\0\0", 4)) die("no SecurityResult OK");
    link_send(link, "\1", 1);
    link_read_all(link, init, sizeof init);
    if (memcmp(init + 24, "load", 4)) die("not the target's ServerInit");
    link_read_all(link, heard, 1);
    if (heard[0] != BELL) die("the first byte of the desktop is wrong");
}

void ready(void) {
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) exit(0);
}

static int by_size(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void report(double seconds, uint64_t bytes, uint64_t *delays_ns, size_t count) {
    printf("{\"seconds\": %.6f, \"bytes\": %llu, \"count\": %zu", seconds, (unsigned long long)bytes, count);
    if (delays_ns && count) {
        qsort(delays_ns, count, sizeof *delays_ns, by_size);
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f", (double)delays_ns[count / 2] / 1e3,
               (double)delays_ns[count * 99 / 100] / 1e3);
    }
    puts("}");
    fflush(stdout);
    (void)getchar();
}

static void type_key(Link *link, uint32_t count) {
    unsigned char typed[TYPED_SIZE], due[SHOWN_SIZE], shown[SHOWN_SIZE];
    write_typed(typed, count);
    write_shown(due, count);
    link_send(link, typed, TYPED_SIZE);
    link_read_all(link, shown, SHOWN_SIZE);
    if (memcmp(shown, due, SHOWN_SIZE)) die("the answer to key %u is wrong", count);
}

/* keys: one keystroke after the other until `amount` of them or `seconds` are over. */
static void type_keys(const Task *task) {
    uint64_t *delays = allocate(task->amount * sizeof *delays), start, before;
    uint32_t count = 0;
    Link link;
    enter(&link, task, 0);
    for (; count < 100; count++) type_key(&link, count);
    ready();
    start = before = now_ns();
    size_t done = 0;
    while (done < task->amount && (double)(before - start) < task->seconds * 1e9) {
        type_key(&link, count++);
        uint64_t now = now_ns();
        delays[done++] = now - before;
        before = now;
    }
    report((double)(before - start) / 1e9, 0, delays, done);
}

/* The bytes of a pattern as they go out: in masked frames for a WebSocket. */
static unsigned char *framed(const Pattern *pattern, size_t frame, Way way, size_t *size) {
    unsigned char *bytes = allocate(pattern->period / frame * (frame + 14)), *at = bytes;
    for (size_t done = 0; done < pattern->period; done += frame) {
        uint32_t mask = (uint32_t)(done + 1) * 2654435761u;
        if (way == WEBSOCKET) at += frame_head(at, frame, mask);
        memcpy(at, pattern->bytes + done, frame);
        if (way == WEBSOCKET) apply_mask(at, frame, mask);
        at += frame;
    }
    *size = (size_t)(at - bytes);
    return bytes;
}

/* up-large, up-small: `amount` messages without a pause, until the target has rung. */
static void send_up(const Task *task) {
    bool large = !strcmp(task->scene, "up-large");
    const Pattern *pattern = large ? large_pattern() : small_pattern();
    size_t frame = large ? LARGE_SIZE : SMALL_SIZE, size;
    unsigned char *bytes = framed(pattern, frame, task->route.way, &size), bell;
    size_t per_round = pattern->period / frame;
    if (task->amount % per_round) die("the amount must be a multiple of %zu", per_round);
    Link link;
    enter(&link, task, 0);
    ready();
    uint64_t start = now_ns();
    for (uint64_t round = 0; round < task->amount / per_round; round++) link_write(&link, bytes, size);
    link_read_all(&link, &bell, 1);
    if (bell != BELL) die("the target did not ring");
    report((double)(now_ns() - start) / 1e9, task->amount * frame, NULL, task->amount);
}

/* connect: visit after visit by `sessions` callers at a time, each until the first byte of its desktop. */
static const Task *calling;
static uint64_t calls, calling_since, *call_delays;

static void *caller(void *nothing) {
    for (;;) {
        uint64_t start = now_ns(), number;
        if ((double)(start - calling_since) > calling->seconds * 1e9) return nothing;
        number = __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
        if (number >= calling->amount) return nothing;
        Link link;
        enter(&link, calling, 0);
        call_delays[number] = now_ns() - start;
        link_close(&link);
    }
}

static void call_again(const Task *task) {
    pthread_t callers[64];
    if (task->sessions > 64) die("at most 64 callers");
    calling = task;
    call_delays = allocate(task->amount * sizeof *call_delays);
    for (unsigned i = 0; i < 2 * task->sessions; i++) {
        Link link;
        enter(&link, task, 0);
        link_close(&link);
    }
    ready();
    calling_since = now_ns();
    for (unsigned i = 0; i < task->sessions; i++)
        if (pthread_create(&callers[i], NULL, caller, NULL)) die("no thread");
    for (unsigned i = 0; i < task->sessions; i++) pthread_join(callers[i], NULL);
    uint64_t spent = now_ns() - calling_since, done = calls < task->amount ? calls : task->amount;
    report((double)spent / 1e9, 0, call_delays, done);
}

/* idle: one session, then all of them, then a keystroke in each. */
static void stay(const Task *task) {
    Link *links = allocate((task->sessions + 1) * sizeof *links);
    enter(&links[0], task, 0);
    type_key(&links[0], 0);
    ready();
    uint64_t start = now_ns();
    for (unsigned i = 1; i <= task->sessions; i++) enter(&links[i], task, i);
    double seconds = (double)(now_ns() - start) / 1e9;
    ready();
    for (unsigned i = 1; i <= task->sessions; i++) type_key(&links[i], 0);
    report(seconds, 0, NULL, task->sessions);
}

void client(const Task *task) {
    static const struct {
        const char *scene;
        void (*play)(const Task *);
    } scenes[] = {
        {"down", read_down}, {"paint", watch_paintings}, {"stall", let_flood_wait}, {"keys", type_keys},
        {"up-large", send_up}, {"up-small", send_up}, {"connect", call_again}, {"idle", stay},
    };
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        if (!strcmp(scenes[i].scene, task->scene)) {
            scenes[i].play(task);
            return;
        }
    die("there is no scene %s", task->scene);
}
