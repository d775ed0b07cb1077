/*
 * The load generator of the bench: one thread opens WebSocket connections, sends the greetings of each, and counts the
 * received frames. Written in C, so that reading costs less than the measured writing.
 *
 * Commands are lines on stdin; each gets one response line on stdout. `load.ts` is the other side.
 *
 *   token TEXT               append to the tokens
 *   say TEXT | wait N        append to the script of greetings; in TEXT `$RUN` is the connection's run, `$ID` is
 *                            1 + i % 50, and `$TOKEN` is token i modulo their number
 *   flight N                 connections that are opened at a time; at first 64
 *   open N PORT CONTROL RUNS PROTOCOL PATH   -> opened BEGUN NS   connection i reads run i * RUNS / N; PROTOCOL may be `-`
 *   every N                  after every N data frames, write the time of the last one to the control connection
 *   record | base INDEX NS | latencies   -> latencies FRAMES P50 P90 P99 MAX, in ns since the base of the frame's index
 *   pause I | resume I       stop reading connection I; read it again
 *   reader I                 -> reader FRAMES FIRST LAST, counted since `open`
 *   leave                    from now on the server may end connections; `close` must follow
 *   close                    -> closed FRAMES DISORDERED
 *
 * The control connection goes to the contender process, so that the parent sleeps during a measurement.
 * A data frame has at least 200 bytes; its text contains `"message":"#INDEX`, and the indices of a connection must increase.
 * Times are of CLOCK_MONOTONIC, which `process.hrtime` of Node.js uses too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTING, UPGRADING, GREETING, READY };
enum { BUFFER_BYTES = 1 << 18, DATA_BYTES = 200, STEPS = 16, TOKENS = 1 << 14, IDS = 50 };
#define STDIN_TAG UINT32_MAX
#define CONTROL_TAG (UINT32_MAX - 1)

typedef struct {
  int fd, state, step, seen;
  uint64_t frames, first, last;
  char *rest; /* The start of an incomplete frame. */
  size_t rest_bytes;
} Connection;
typedef struct {
  char *text; /* NULL: wait for `count` text frames. */
  int count;
} Step;
typedef struct {
  uint64_t index, ns;
} Arrival;

static int poller, control = -1;
static Connection *connections;
static uint32_t wanted, begun, opened, runs, flight = 64;
static int is_leaving;
static int port;
static char protocol[64], path[256];
static Step script[STEPS];
static int steps;
static char *tokens[TOKENS];
static uint32_t token_count;
static uint64_t begun_at;
static uint64_t frames, disordered, every, counted;
static Arrival *arrivals;
static size_t arrived, arrivals_size;
static int is_recording;
static uint64_t *bases;
static size_t bases_size;
static char buffer[BUFFER_BYTES * 2];

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("failed ");
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  exit(1);
}

static void tell(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  printf("\n");
  fflush(stdout);
  va_end(arguments);
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void watch(int operation, int fd, uint32_t events, uint32_t tag) {
  struct epoll_event event = {.events = events, .data.u32 = tag};
  if (epoll_ctl(poller, operation, fd, &event) < 0) fail("epoll_ctl: %s", strerror(errno));
}

static int dial(int to, int is_blocking) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | (is_blocking ? 0 : SOCK_NONBLOCK), 0);
  if (fd < 0) fail("socket: %s (see ulimit -n)", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    fail("connect: %s", strerror(errno));
  return fd;
}

/* Sends a few hundred bytes at a time, which always fit into the socket buffer. */
static void put(int fd, const void *bytes, size_t count) {
  if (send(fd, bytes, count, MSG_NOSIGNAL) != (ssize_t)count) fail("send: %s", strerror(errno));
}

/* A mask of zeros leaves the payload as it is. */
static void put_frame(int fd, int opcode, const char *payload, size_t count) {
  char frame[4096];
  size_t head = 2;
  if (count > sizeof frame - 8) fail("a greeting of %zu bytes", count);
  frame[0] = (char)(0x80 | opcode);
  if (count < 126) {
    frame[1] = (char)(0x80 | count);
  } else {
    frame[1] = (char)(0x80 | 126);
    frame[2] = (char)(count >> 8);
    frame[3] = (char)count;
    head = 4;
  }
  memset(frame + head, 0, 4);
  memcpy(frame + head + 4, payload, count);
  put(fd, frame, head + 4 + count);
}

static void begin_more(void) {
  while (begun < wanted && begun - opened < flight) {
    Connection *connection = &connections[begun];
    connection->fd = dial(port, 0);
    watch(EPOLL_CTL_ADD, connection->fd, EPOLLOUT, begun++);
  }
}

/* Writes a greeting with the values of a connection for its marks. */
static void fill_in(char *text, size_t size, const char *greeting, uint32_t number) {
  size_t used = 0;
  while (*greeting) {
    char *to = text + used;
    size_t room = size - used;
    int count;
    if (strncmp(greeting, "$RUN", 4) == 0) {
      count = snprintf(to, room, "run-%u", (unsigned)((uint64_t)number * runs / wanted));
      greeting += 4;
    } else if (strncmp(greeting, "$ID", 3) == 0) {
      count = snprintf(to, room, "%u", 1 + number % IDS);
      greeting += 3;
    } else if (strncmp(greeting, "$TOKEN", 6) == 0 && token_count > 0) {
      count = snprintf(to, room, "%s", tokens[number % token_count]);
      greeting += 6;
    } else count = snprintf(to, room, "%c", *greeting++);
    used += (size_t)count;
    if (used >= size) fail("a greeting of more than %zu bytes", size);
  }
}

static void greet(Connection *connection) {
  uint32_t number = (uint32_t)(connection - connections);
  for (; connection->step < steps; connection->step++) {
    Step *step = &script[connection->step];
    if (!step->text) {
      if (connection->seen < step->count) return;
      connection->seen -= step->count;
      continue;
    }
    char text[4000];
    fill_in(text, sizeof text, step->text, number);
    put_frame(connection->fd, 1, text, strlen(text));
  }
  connection->state = READY;
  opened++;
  begin_more();
  if (opened == wanted) tell("opened %" PRIu64 " %" PRIu64, begun_at, now());
}

static void tick(uint64_t at) {
  frames++;
  if (every > 0 && ++counted == every) {
    char line[32];
    counted = 0;
    put(control, line, (size_t)snprintf(line, sizeof line, "%" PRIu64 "\n", at));
  }
}

static void take_data(Connection *connection, const char *payload, size_t count, uint64_t at) {
  static const char mark[] = "\"message\":\"#";
  const char *found = memmem(payload, count, mark, sizeof mark - 1);
  if (!found) fail("a data frame without an index: %.*s", (int)count, payload);
  uint64_t index = 0;
  for (found += sizeof mark - 1; *found >= '0' && *found <= '9'; found++) index = index * 10 + (uint64_t)(*found - '0');
  if (connection->frames == 0) connection->first = index;
  else if (index <= connection->last) disordered++;
  connection->last = index;
  connection->frames++;
  if (is_recording) {
    if (arrived == arrivals_size) {
      arrivals_size = arrivals_size ? arrivals_size * 2 : 1 << 16;
      arrivals = realloc(arrivals, arrivals_size * sizeof *arrivals);
    }
    arrivals[arrived++] = (Arrival){index, at};
  }
  tick(at);
}

static void take_frame(Connection *connection, int opcode, const char *payload, size_t count, uint64_t at) {
  if (opcode == 8) fail("connection %u was closed: %.*s", (unsigned)(connection - connections), (int)count - 2, payload + 2);
  if (opcode == 9) put_frame(connection->fd, 10, payload, count);
  if (opcode != 1 && opcode != 2) return;
  if (count >= DATA_BYTES) take_data(connection, payload, count, at);
  else if (count == 1 && *payload == '2') put_frame(connection->fd, 1, "3", 1); /* A ping of Engine.IO. */
  else if (count == 4 && memcmp(payload, "PING", 4) == 0) put_frame(connection->fd, 1, "PONG", 4); /* Of tRPC. */
  else {
    connection->seen++;
    if (connection->state == GREETING) greet(connection);
  }
}

/* Returns the number of consumed bytes: whole frames only. */
static size_t take_frames(Connection *connection, const char *bytes, size_t count, uint64_t at) {
  size_t taken = 0;
  for (;;) {
    const unsigned char *frame = (const unsigned char *)bytes + taken;
    size_t left = count - taken, head = 2, length;
    if (left < 2) return taken;
    length = frame[1] & 0x7f;
    if (length == 126) {
      if (left < (head = 4)) return taken;
      length = (size_t)frame[2] << 8 | frame[3];
    } else if (length == 127) {
      if (left < (head = 10)) return taken;
      length = 0;
      for (int index = 2; index < 10; index++) length = length << 8 | frame[index];
    }
    if (left < head + length) return taken;
    /* Compressed frames are counted, not parsed. */
    if (frame[0] & 0x40) {
      connection->frames++;
      tick(at);
    } else take_frame(connection, frame[0] & 0x0f, (const char *)frame + head, length, at);
    taken += head + length;
  }
}

static void read_from(Connection *connection) {
  size_t before = connection->rest_bytes;
  if (before > BUFFER_BYTES) fail("a frame of more than %d bytes", BUFFER_BYTES);
  if (before > 0) memcpy(buffer, connection->rest, before);
  ssize_t received = recv(connection->fd, buffer + before, BUFFER_BYTES, 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0 && is_leaving) {
    watch(EPOLL_CTL_DEL, connection->fd, 0, 0);
    return;
  }
  if (received <= 0) fail("connection %u was lost", (unsigned)(connection - connections));
  uint64_t at = now();
  size_t count = before + (size_t)received, taken = 0;
  if (connection->state == UPGRADING) {
    char *end = memmem(buffer, count, "\r\n\r\n", 4);
    if (end) {
      if (count < 12 || memcmp(buffer + 9, "101", 3) != 0) fail("not upgraded: %.12s", buffer);
      taken = (size_t)(end + 4 - buffer);
      connection->state = GREETING;
      greet(connection);
    }
  }
  if (connection->state >= GREETING) taken += take_frames(connection, buffer + taken, count - taken, at);
  size_t rest = count - taken;
  if (rest > 0) {
    connection->rest = realloc(connection->rest, rest);
    memcpy(connection->rest, buffer + taken, rest);
  } else if (connection->rest) {
    free(connection->rest);
    connection->rest = NULL;
  }
  connection->rest_bytes = rest;
}

static void upgrade(Connection *connection) {
  char request[1024];
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) fail("connect: %s", strerror(error));
  int is_extension = strncmp(protocol, "permessage-", 11) == 0;
  int count = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                       path, port,
                       *protocol == '-' ? "" : is_extension ? "Sec-WebSocket-Extensions: " : "Sec-WebSocket-Protocol: ",
                       *protocol == '-' ? "" : protocol, *protocol == '-' ? "" : "\r\n");
  put(connection->fd, request, (size_t)count);
  connection->state = UPGRADING;
  watch(EPOLL_CTL_MOD, connection->fd, EPOLLIN, (uint32_t)(connection - connections));
}

static int by_value(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

static void tell_latencies(void) {
  uint64_t *times = malloc((arrived + 1) * sizeof *times);
  for (size_t at = 0; at < arrived; at++) {
    Arrival *arrival = &arrivals[at];
    if (arrival->index >= bases_size || bases[arrival->index] == 0) fail("no base for %" PRIu64, arrival->index);
    times[at] = arrival->ns - bases[arrival->index];
  }
  qsort(times, arrived, sizeof *times, by_value);
#define AT(share) (arrived ? times[(size_t)((double)(arrived - 1) * (share))] : 0)
  tell("latencies %zu %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, arrived, AT(0.5), AT(0.9), AT(0.99), AT(1.0));
  free(times);
  is_recording = 0;
}

static void close_all(void) {
  for (uint32_t at = 0; at < wanted; at++) {
    close(connections[at].fd);
    free(connections[at].rest);
  }
  if (control >= 0) close(control);
  free(connections);
  for (int at = 0; at < steps; at++) free(script[at].text);
  while (token_count > 0) free(tokens[--token_count]);
  tell("closed %" PRIu64 " %" PRIu64, frames, disordered);
  connections = NULL;
  control = -1;
  wanted = begun = opened = 0;
  steps = 0;
  frames = disordered = every = counted = 0;
  is_leaving = 0;
}

static void obey(char *line) {
  uint64_t index, ns;
  int control_port;
  if (strncmp(line, "say ", 4) == 0 || strncmp(line, "wait ", 5) == 0) {
    if (steps == STEPS) fail("more than %d greetings", STEPS);
    script[steps++] = *line == 's' ? (Step){strdup(line + 4), 0} : (Step){NULL, atoi(line + 5)};
    tell("ok");
  } else if (strncmp(line, "token ", 6) == 0) {
    if (token_count == TOKENS) fail("more than %d tokens", TOKENS);
    tokens[token_count++] = strdup(line + 6);
    tell("ok");
  } else if (sscanf(line, "open %u %d %d %u %63s %255s", &wanted, &port, &control_port, &runs, protocol, path) == 6) {
    connections = calloc(wanted, sizeof *connections);
    control = dial(control_port, 1);
    watch(EPOLL_CTL_ADD, control, EPOLLIN, CONTROL_TAG);
    begun_at = now();
    begin_more();
  } else if (sscanf(line, "every %" SCNu64, &every) == 1) {
    counted = 0;
    tell("ok");
  } else if (strcmp(line, "record") == 0) {
    is_recording = 1;
    arrived = 0;
    tell("ok");
  } else if (sscanf(line, "base %" SCNu64 " %" SCNu64, &index, &ns) == 2) {
    if (index >= bases_size) {
      size_t size = (index + 1) * 2;
      bases = realloc(bases, size * sizeof *bases);
      memset(bases + bases_size, 0, (size - bases_size) * sizeof *bases);
      bases_size = size;
    }
    bases[index] = ns;
    tell("ok");
  } else if (strcmp(line, "latencies") == 0) {
    tell_latencies();
  } else if (sscanf(line, "pause %" SCNu64, &index) == 1) {
    watch(EPOLL_CTL_DEL, connections[index].fd, 0, 0);
    tell("ok");
  } else if (sscanf(line, "resume %" SCNu64, &index) == 1) {
    watch(EPOLL_CTL_ADD, connections[index].fd, EPOLLIN, (uint32_t)index);
    tell("ok");
  } else if (sscanf(line, "reader %" SCNu64, &index) == 1) {
    Connection *connection = &connections[index];
    tell("reader %" PRIu64 " %" PRIu64 " %" PRIu64, connection->frames, connection->first, connection->last);
  } else if (sscanf(line, "flight %u", &flight) == 1) {
    tell("ok");
  } else if (strcmp(line, "leave") == 0) {
    is_leaving = 1;
    watch(EPOLL_CTL_DEL, control, 0, 0);
    tell("ok");
  } else if (strcmp(line, "close") == 0) {
    close_all();
  } else {
    fail("not understood: %s", line);
  }
}

static void listen_to_parent(void) {
  static char lines[1 << 16];
  static size_t held;
  ssize_t received = read(0, lines + held, sizeof lines - 1 - held);
  if (received <= 0) exit(0);
  held += (size_t)received;
  char *start = lines, *end;
  while ((end = memchr(start, '\n', held - (size_t)(start - lines)))) {
    *end = 0;
    obey(start);
    start = end + 1;
  }
  held -= (size_t)(start - lines);
  memmove(lines, start, held);
}

int main(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  poller = epoll_create1(0);
  watch(EPOLL_CTL_ADD, 0, EPOLLIN, STDIN_TAG);
  for (;;) {
    struct epoll_event events[256];
    int count = epoll_wait(poller, events, 256, -1);
    for (int at = 0; at < count; at++) {
      uint32_t tag = events[at].data.u32;
      if (tag == STDIN_TAG) {
        listen_to_parent();
        break; /* Connections may have been freed: epoll reports the remaining events again. */
      }
      if (tag == CONTROL_TAG) fail("the contender hung up");
      Connection *connection = &connections[tag];
      if (connection->state == CONNECTING) upgrade(connection);
      else read_from(connection);
    }
  }
}
