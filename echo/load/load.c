/* The load: many connections to one or more servers, driven by commands on standard input.
 *
 * Python decides what is sent and judges what the messages mean (generator.py); this program
 * does what Python is too slow for: it reads more frames a second than any server writes, and
 * compares every byte. Each command is a line, with bytes behind it where the line says how
 * many, and is answered before the next one is read:
 *
 *   open COUNT AT_ONCE GREETINGS KINDS RETRIES REQUEST FIRST HOST PORT
 *                                                           opened BEGAN ENDED REFUSED
 *       Opens connections, AT_ONCE at a time. The bytes: a REQUEST, in which {n} is the
 *       connection's number % KINDS (none: plain TCP), and what is sent FIRST after a 101.
 *       A connection is open once it has had so many messages as GREETINGS. Handshakes that
 *       are REFUSED with 429 or 503 are tried again a second later, RETRIES times in all.
 *   expect EVENTS KINDS READERS ORDERED                     armed
 *       From here on, each of the first READERS connections gets so many EVENTS and the
 *       others none. Connection n must get the same bytes as connection n % KINDS, in the
 *       same order if ORDERED. Those that are opened later count as well.
 *   collect                                                 collected LAST BYTES
 *       Reads until all events are there. LAST is when the last one came. The bytes: the
 *       events of the first KINDS connections, each behind a line with the connection's
 *       number and the event's length.
 *   exchange SECONDS STATUS MESSAGE REPLY                   exchanged COUNT SECONDS
 *       Each connection sends the MESSAGE, waits for the whole reply, compares it and sends
 *       the next. The REPLY is a payload, or, with a STATUS, an HTTP response with it.
 *   cut                                                     cut AT
 *       Resets all connections.
 *
 * Times are CLOCK_MONOTONIC, which is Python's time.monotonic(). What is wrong ends the
 * program with the line "error TEXT": lost, doubled, changed, out of order, closed, silent.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 4 << 20,    /* the most that is read at once */
    MAX_REPLY = 2 << 20,     /* a longer frame or response is an error */
    TURN_EVENTS = 512,       /* connections served between two calls of epoll_wait */
    RETRY_SECONDS = 1,       /* after a refused handshake */
    MAX_QUOTED = 120,        /* bytes of a message that an error quotes */
};

/* RFC 6455 section 5.2. */
enum { FIN = 0x80, MASKED = 0x80, CONTINUATION = 0, CLOSE = 8, PING = 9, PONG = 10 };

/* A heartbeat may come at any time, and is no event. */
static const char HEARTBEAT[] = "{\"type\":\"heartbeat\"";
/* The key that every handshake sends is constant, and so is the right answer to it
 * (generator.py, KEY). */
static const char ACCEPT[] = "\r\nsec-websocket-accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n";

struct bytes {
    unsigned char *data;
    size_t length, capacity;
};

struct connection {
    int fd;
    unsigned number;     /* its place in the table */
    enum { REFUSED, CONNECTING, UPGRADING, GREETING, OPEN } stage;
    double retry_at;     /* when a refused one tries again */
    unsigned greetings;  /* messages that it still has to get before it is open */
    unsigned events;     /* how many of the expected events it has */
    uint64_t digest;     /* of those events */
    struct bytes left;   /* what it has of an incomplete frame or response */
    struct bytes record; /* its events, if others are compared with it */
    size_t sent;         /* how much of the message is sent, in an exchange */
    bool is_waiting;     /* for a reply */
    bool is_full;        /* the kernel takes no more: EPOLLOUT is watched */
};

static int epoll;
static struct connection **connections;
static unsigned count;
static unsigned char buffer[READ_BYTES];
/* Counts whatever brings a command nearer to its end. */
static unsigned long progress;
/* When it has stood still for so long, the run has failed. */
static double silence_seconds;

static struct {
    struct addrinfo *address;
    unsigned target, greetings, kinds, under_way;
    unsigned retries, refused, away; /* away: refused ones that wait to try again */
    struct bytes request, first;
} opening;

static struct {
    unsigned events, kinds, readers, missing; /* missing: readers that are not complete */
    bool is_ordered;
    double last;
} expecting;

static struct {
    bool is_on, is_over; /* over: replies are awaited, and nothing more is sent */
    int status;
    unsigned waiting;
    unsigned long replies;
    struct bytes message, reply;
} exchanging;

/* --- small things ---------------------------------------------------------------------- */

static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("error ", stdout);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    fflush(stdout);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void append(struct bytes *bytes, const void *data, size_t length)
{
    if (bytes->length + length > bytes->capacity) {
        bytes->capacity = (bytes->length + length) * 2;
        if (!(bytes->data = realloc(bytes->data, bytes->capacity)))
            fail("out of memory");
    }
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

/* Return a length that is safe to print, for "%.*s". */
static int quoted(size_t length)
{
    return length < MAX_QUOTED ? (int)length : MAX_QUOTED;
}

/* Mix eight bytes at a time: a tenth of what a frame's read costs. */
static uint64_t digest(const unsigned char *data, size_t length)
{
    uint64_t hash = length, word;
    for (; length; data += sizeof word) {
        size_t size = length < sizeof word ? length : sizeof word;
        word = 0;
        if (size == sizeof word)
            memcpy(&word, data, sizeof word); /* of a constant size: one instruction */
        else
            memcpy(&word, data, size);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15;
        hash ^= hash >> 32;
        length -= size;
    }
    return hash;
}

static void watch(struct connection *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->fd, &event) < 0)
        fail("epoll: %s", strerror(errno));
}

/* Send small bytes that the kernel's buffer always has room for. */
static void send_small(struct connection *c, const void *data, size_t length)
{
    if (send(c->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail("connection %u cannot send: %s", c->number, strerror(errno));
}

/* --- opening --------------------------------------------------------------------------- */

static void start_connecting(struct connection *c)
{
    int on = 1;
    c->stage = CONNECTING;
    c->fd = socket(opening.address->ai_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("connection %u: %s: raise the limit of open files (ulimit -n)", c->number,
             strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, opening.address->ai_addr, opening.address->ai_addrlen) < 0 &&
        errno != EINPROGRESS)
        fail("expected a server, got: %s: start it, or mend the address", strerror(errno));
    watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void start_connection(void)
{
    struct connection *c = calloc(1, sizeof *c);
    c->number = count;
    c->greetings = opening.greetings;
    connections[count++] = c;
    opening.under_way++;
    start_connecting(c);
}

static void finish_opening(struct connection *c)
{
    c->stage = OPEN;
    progress++;
    opening.under_way--;
    if (count < opening.target)
        start_connection();
}

/* Send the handshake, with the connection's kind in place of {n}. */
static void finish_connecting(struct connection *c)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        fail("expected a server, got: %s: start it, or mend the address", strerror(error));
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    if (!opening.request.length) {
        finish_opening(c);
        return;
    }
    struct bytes head = {0};
    char number[16];
    unsigned char *data = opening.request.data;
    unsigned char *place = memmem(data, opening.request.length, "{n}", 3);
    if (place) {
        append(&head, data, place - data);
        append(&head, number, sprintf(number, "%u", c->number % opening.kinds));
        append(&head, place + 3, data + opening.request.length - place - 3);
    } else {
        append(&head, data, opening.request.length);
    }
    send_small(c, head.data, head.length);
    free(head.data);
    c->stage = UPGRADING;
}

/* Close a connection that was refused, to try again. Fails if there is no try left. */
static void take_refusal(struct connection *c, int status, const char *head,
                         const char *body, size_t length)
{
    if ((status != 429 && status != 503) || opening.refused == opening.retries)
        fail("expected 101 Switching Protocols, got %.*s: %.*s", (int)strcspn(head, "\r\n"),
             head, 4 * quoted(length), body);
    close(c->fd);
    c->stage = REFUSED;
    c->retry_at = now() + RETRY_SECONDS;
    opening.refused++;
    opening.away++;
}

/* Let those try again that were refused long enough ago. */
static void retry_refused(double time)
{
    for (unsigned n = 0; n < count && opening.away; n++)
        if (connections[n]->stage == REFUSED && connections[n]->retry_at <= time) {
            opening.away--;
            start_connecting(connections[n]);
        }
}

/* Return the length of the response's head, or 0 if it is not complete. */
static size_t take_head(struct connection *c, unsigned char *data, size_t length)
{
    unsigned char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t size = end + 4 - data;
    end[3] = 0; /* a string that ends with the last header's line */
    int status = size < 12 ? 0 : atoi((char *)data + 9);
    if (status != 101) {
        take_refusal(c, status, (char *)data, (char *)data + size, length - size);
        return 0;
    }
    if (!strcasestr((char *)data, ACCEPT))
        fail("expected the Sec-WebSocket-Accept of our key, got %s", data);
    if (opening.first.length)
        send_small(c, opening.first.data, opening.first.length);
    c->stage = GREETING;
    if (!c->greetings)
        finish_opening(c);
    return size;
}

/* --- events ---------------------------------------------------------------------------- */

static void take_event(struct connection *c, const unsigned char *payload, size_t length)
{
    char line[32];
    if (c->number >= expecting.readers || c->events == expecting.events)
        fail("connection %u got a message that is one too many, or comes too late: %.*s",
             c->number, quoted(length), payload);
    progress++;
    uint64_t own = digest(payload, length);
    c->digest = expecting.is_ordered ? c->digest * 31 + own : c->digest + own;
    if (c->number < expecting.kinds) {
        append(&c->record, line, sprintf(line, "%u %zu\n", c->number, length));
        append(&c->record, payload, length);
    }
    if (++c->events == expecting.events) {
        expecting.missing--;
        expecting.last = now();
    }
}

static void compare_readers(void)
{
    for (unsigned n = expecting.kinds; n < expecting.readers; n++)
        if (connections[n]->digest != connections[n % expecting.kinds]->digest)
            fail("connection %u got other events than connection %u, or in another order",
                 n, n % expecting.kinds);
}

/* --- exchanges ------------------------------------------------------------------------- */

/* Send what is left of the message; watch for room if the kernel does not take it all. */
static void send_message(struct connection *c)
{
    ssize_t size = send(c->fd, exchanging.message.data + c->sent,
                        exchanging.message.length - c->sent, MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN)
        fail("connection %u cannot send: %s", c->number, strerror(errno));
    c->sent += size < 0 ? 0 : size;
    bool is_full = c->sent < exchanging.message.length;
    if (is_full != c->is_full)
        watch(c, EPOLL_CTL_MOD, EPOLLIN | (is_full ? EPOLLOUT : 0));
    c->is_full = is_full;
}

static void begin_exchange(struct connection *c)
{
    c->sent = 0;
    c->is_waiting = true;
    exchanging.waiting++;
    send_message(c);
}

static void finish_exchange(struct connection *c)
{
    if (!c->is_waiting)
        fail("connection %u got a reply too many", c->number);
    progress++;
    exchanging.replies++;
    exchanging.waiting--;
    c->is_waiting = false;
    if (!exchanging.is_over)
        begin_exchange(c);
}

static void take_echo(struct connection *c, int opcode, const unsigned char *payload,
                      size_t length)
{
    if (opcode != (exchanging.message.data[0] & 0x0F) ||
        length != exchanging.reply.length ||
        memcmp(payload, exchanging.reply.data, length))
        fail("connection %u: expected the echo of %zu bytes, got %zu bytes, opcode %d: %.*s",
             c->number, exchanging.reply.length, length, opcode, quoted(length), payload);
    finish_exchange(c);
}

/* Return the length of an HTTP response that is complete, or 0. */
static size_t take_response(struct connection *c, unsigned char *data, size_t length)
{
    unsigned char *end = memmem(data, length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t size = end + 4 - data;
    end[3] = 0;
    char *field = strcasestr((char *)data, "\r\ncontent-length:");
    bool is_chunked = strcasestr((char *)data, "\r\ntransfer-encoding: chunked");
    end[3] = '\n';
    if (field)
        size += strtoul(field + 17, NULL, 10);
    else if (is_chunked && length >= size)
        size = memcmp(data + length - 5, "0\r\n\r\n", 5) ? length + 1 : length;
    if (length < size)
        return 0;
    if (atoi((char *)data + 9) != exchanging.status)
        fail("expected %d, got %.*s", exchanging.status, (int)size, data);
    finish_exchange(c);
    return size;
}

/* --- frames ---------------------------------------------------------------------------- */

static void take_message(struct connection *c, int opcode, const unsigned char *payload,
                         size_t length)
{
    size_t prefix = sizeof HEARTBEAT - 1;
    if (length >= prefix && !memcmp(payload, HEARTBEAT, prefix))
        return;
    if (c->stage == GREETING) {
        if (!--c->greetings)
            finish_opening(c);
    } else if (exchanging.is_on) {
        take_echo(c, opcode, payload, length);
    } else {
        take_event(c, payload, length);
    }
}

static void take_control(struct connection *c, int opcode, const unsigned char *payload,
                         size_t length)
{
    if (opcode == CLOSE)
        fail("the server closed connection %u: %d %.*s", c->number,
             length >= 2 ? payload[0] << 8 | payload[1] : 1005,
             length >= 2 ? (int)length - 2 : 0, length >= 2 ? (char *)payload + 2 : "");
    /* Between two messages only: a pong must not come inside a frame. */
    if (opcode == PING && !c->is_full) {
        unsigned char pong[131] = {FIN | PONG, MASKED | length}; /* a masking key of zero */
        memcpy(pong + 6, payload, length);
        send_small(c, pong, length + 6);
    }
}

/* Take one whole frame; return its length, or 0 if it is not complete. */
static size_t take_frame(struct connection *c, unsigned char *data, size_t length)
{
    if (length < 2)
        return 0;
    size_t start = 2, size = data[1];
    if (size == 126) {
        if (length < 4)
            return 0;
        start = 4;
        size = (size_t)data[2] << 8 | data[3];
    } else if (size == 127) {
        if (length < 10)
            return 0;
        start = 10;
        size = 0;
        for (int place = 2; place < 10; place++)
            size = size << 8 | data[place];
    }
    int opcode = data[0] & 0x0F;
    if (data[1] & MASKED || !(data[0] & FIN) || data[0] & 0x70 || opcode == CONTINUATION ||
        size > MAX_REPLY)
        fail("connection %u: expected a whole, unmasked frame, got %02x %02x, %zu bytes",
             c->number, data[0], data[1], size);
    if (length < start + size)
        return 0;
    if (opcode < CLOSE)
        take_message(c, opcode, data + start, size);
    else if (size <= 125)
        take_control(c, opcode, data + start, size);
    else
        fail("connection %u got a control frame of %zu bytes", c->number, size);
    return start + size;
}

/* Read what there is, and take all of it that is whole. */
static void read_connection(struct connection *c)
{
    size_t kept = c->left.length, used = 0, size;
    if (kept)
        memcpy(buffer, c->left.data, kept);
    ssize_t got = recv(c->fd, buffer + kept, READ_BYTES - kept, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        fail("the server cut connection %u: %s", c->number,
             got ? strerror(errno) : "no close frame");
    size_t length = kept + got;
    do {
        if (c->stage == UPGRADING)
            size = take_head(c, buffer + used, length - used);
        else if (exchanging.is_on && exchanging.status)
            size = take_response(c, buffer + used, length - used);
        else
            size = take_frame(c, buffer + used, length - used);
        used += size;
    } while (size && used < length);
    if (c->stage == REFUSED)
        used = length;
    if (length - used > MAX_REPLY)
        fail("connection %u got a response of more than %d bytes", c->number, MAX_REPLY);
    c->left.length = 0;
    append(&c->left, buffer + used, length - used);
}

/* --- commands -------------------------------------------------------------------------- */

/* Serve the connections that are ready; return true if a command is. */
static bool take_turn(int milliseconds)
{
    struct epoll_event events[TURN_EVENTS];
    bool is_commanded = false;
    int ready = epoll_wait(epoll, events, TURN_EVENTS, milliseconds);
    for (int n = 0; n < ready; n++) {
        struct connection *c = events[n].data.ptr;
        if (!c)
            is_commanded = true;
        else if (c->stage == CONNECTING)
            finish_connecting(c);
        else {
            if (events[n].events & EPOLLOUT)
                send_message(c);
            if (events[n].events & ~EPOLLOUT)
                read_connection(c);
        }
    }
    return is_commanded;
}

/* Take turns until `left` is 0, or until a time if there is one. Fails if all is silent. */
static void run(const unsigned *left, double until, const char *what)
{
    unsigned long seen = progress;
    double since = now(), time;
    while (*left) {
        take_turn(until ? 1 : 100);
        time = now();
        if (opening.away)
            retry_refused(time);
        if (until && time >= until)
            return;
        if (progress != seen) {
            seen = progress;
            since = time;
        } else if (time - since > silence_seconds) {
            fail("%u of %u %s, and nothing has come for %g s", *left, count, what,
                 silence_seconds);
        }
    }
}

/* Read the bytes behind a command. */
static void read_bytes(struct bytes *bytes, size_t length)
{
    static unsigned char taken[MAX_REPLY + 16];
    if (length > sizeof taken || fread(taken, 1, length, stdin) != length)
        fail("expected %zu bytes behind the command", length);
    bytes->length = 0;
    append(bytes, taken, length);
}

static void open_connections(const char *arguments)
{
    unsigned more, at_once;
    size_t request, first;
    char host[64], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    if (sscanf(arguments, "%u %u %u %u %u %zu %zu %63s %7s", &more, &at_once,
               &opening.greetings, &opening.kinds, &opening.retries, &request, &first, host,
               port) != 9 ||
        !opening.kinds ||
        getaddrinfo(host, port, &hints, &opening.address))
        fail("open: expected numbers and an address, got %s", arguments);
    read_bytes(&opening.request, request);
    read_bytes(&opening.first, first);
    opening.target = count + more;
    opening.refused = 0;
    connections = realloc(connections, opening.target * sizeof *connections);
    double began = now();
    while (count < opening.target && opening.under_way < at_once)
        start_connection();
    run(&opening.under_way, 0, "connections do not open");
    printf("opened %.9f %.9f %u\n", began, now(), opening.refused);
    freeaddrinfo(opening.address);
}

static void expect_events(const char *arguments)
{
    int ordered;
    if (sscanf(arguments, "%u %u %u %d", &expecting.events, &expecting.kinds,
               &expecting.readers, &ordered) != 4 || !expecting.kinds)
        fail("expect: expected four numbers, got %s", arguments);
    expecting.is_ordered = ordered;
    expecting.missing = expecting.events ? expecting.readers : 0;
    for (unsigned n = 0; n < count; n++) {
        connections[n]->events = connections[n]->digest = 0;
        connections[n]->record.length = 0;
    }
    puts("armed");
}

static void collect_events(void)
{
    size_t length = 0;
    run(&expecting.missing, 0, "readers have not got all events");
    compare_readers();
    for (unsigned n = 0; n < expecting.kinds && n < expecting.readers; n++)
        length += connections[n]->record.length;
    printf("collected %.9f %zu\n", expecting.last, length);
    for (unsigned n = 0; n < expecting.kinds && n < expecting.readers; n++)
        fwrite(connections[n]->record.data, 1, connections[n]->record.length, stdout);
}

static void exchange_messages(const char *arguments)
{
    double seconds;
    size_t message, reply;
    if (sscanf(arguments, "%lf %d %zu %zu", &seconds, &exchanging.status, &message,
               &reply) != 4)
        fail("exchange: expected four numbers, got %s", arguments);
    read_bytes(&exchanging.message, message);
    read_bytes(&exchanging.reply, reply);
    exchanging.is_on = true;
    exchanging.is_over = false;
    exchanging.replies = 0;
    double began = now();
    for (unsigned n = 0; n < count; n++)
        begin_exchange(connections[n]);
    run(&exchanging.waiting, began + seconds, "connections have no reply");
    exchanging.is_over = true;
    run(&exchanging.waiting, 0, "connections have no reply");
    exchanging.is_on = false;
    printf("exchanged %lu %.9f\n", exchanging.replies, now() - began);
}

/* With a reset: no close frame, and no port that stays occupied. */
static void cut_connections(void)
{
    struct linger linger = {.l_onoff = 1};
    printf("cut %.9f\n", now());
    for (; count; count--) {
        struct connection *c = connections[count - 1];
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(c->fd);
        free(c->left.data);
        free(c->record.data);
        free(c);
    }
    expecting.readers = expecting.events = 0;
}

int main(int argc, char **argv)
{
    char line[256], name[16];
    int end;
    struct rlimit files;
    struct epoll_event event = {.events = EPOLLIN};
    if (argc != 2 || (silence_seconds = atof(argv[1])) <= 0)
        fail("expected the seconds of silence as the only argument");
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        /* Pings are answered between two commands too. Each command is answered before the
         * next one comes, so none waits in the buffer of stdin, where epoll cannot see it. */
        while (!take_turn(-1))
            ;
        if (!fgets(line, sizeof line, stdin))
            return 0;
        if (sscanf(line, "%15s%n", name, &end) != 1)
            fail("expected a command, got %s", line);
        if (!strcmp(name, "open"))
            open_connections(line + end);
        else if (!strcmp(name, "expect"))
            expect_events(line + end);
        else if (!strcmp(name, "collect"))
            collect_events();
        else if (!strcmp(name, "exchange"))
            exchange_messages(line + end);
        else if (!strcmp(name, "cut"))
            cut_connections();
        else
            fail("expected a command, got %s", line);
        fflush(stdout);
    }
}
