/* load target SCENE, load client SCENE: the arguments. */

#include "load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char USAGE[] =
    "load target SCENE [-n SESSIONS] [-a AMOUNT]\n"
    "load client SCENE -p PORT [-w raw|connect|websocket] [-t] [-n SESSIONS] [-a AMOUNT] [-s SECONDS]\n"
    "-a is in bytes (down, stall; of each session), messages (up-large, up-small), keys or visits; -t is TLS.\n"
    "What is asked for by HTTP, with its token, is in the environment: LOAD_PATH.\n"
    "The target prints its port. The client prints `ready`, waits for a line on its input, prints what it measured\n"
    "as JSON, and waits for another; `idle` and `stall` do the first two twice.";

static Way way_of(const char *word) {
    if (!strcmp(word, "connect")) return CONNECT;
    if (!strcmp(word, "websocket")) return WEBSOCKET;
    if (strcmp(word, "raw")) die("there is no way in by %s", word);
    return RAW;
}

int main(int count, char **words) {
    Task task = {.route = {.path = "/"}, .sessions = 1, .amount = UINT32_MAX, .seconds = 60};
    if (count < 3) die("%s", USAGE);
    task.scene = words[2];
    optind = 3;
    for (int option; (option = getopt(count, words, "p:w:tn:a:s:")) != -1;) switch (option) {
        case 'p': task.route.port = atoi(optarg); break;
        case 'w': task.route.way = way_of(optarg); break;
        case 't': task.route.tls = true; break;
        case 'n': task.sessions = (unsigned)atoi(optarg); break;
        case 'a': task.amount = strtoull(optarg, NULL, 10); break;
        case 's': task.seconds = atof(optarg); break;
        default: die("%s", USAGE);
        }
    if (getenv("LOAD_PATH")) task.route.path = getenv("LOAD_PATH");
    if (!task.sessions) die("no sessions");
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    if (!strcmp(words[1], "target"))
        target(&task);
    else if (!strcmp(words[1], "client"))
        client(&task);
    else
        die("%s", USAGE);
    return 0;
}
