// mockllm: a very cheap fake model service. One thread, epoll, HTTP/1.1 keep-alive, loopback only.
//   mockllm PORT [TLS_PORT CERT.pem KEY.pem]
// It speaks OpenAI chat completions (.../chat/completions), Anthropic Messages (.../v1/messages) and Gemini
// (...:generateContent, ...:streamGenerateContent, always as server-sent events).
// The behaviour is chosen by the first path segment, so that one process serves every test:
//   /n200d50/v1/chat/completions
//     n<chunks>   content chunks of a stream                          (default 50)
//     d<ms>       delay between chunks (0: all in one burst)          (default 0)
//     f<ms>       delay before the first byte                         (default 0)
//     s<bytes>    text in a plain answer                              (default 600: an answer of about 1 KB)
//     t<rounds>   answer with a tool call until the request holds that many "role":"tool" messages (OpenAI only)
//     e<pct>      answer 503 to about that share of requests
// Every content chunk is " tok@<seq>@<CLOCK_MONOTONIC ns at write>@", so a client on the same machine can check
// completeness and order, and measure the delay that a gateway adds to every single chunk.
// GET /-/count answers what was served so far: what a gateway's accounts must agree with.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"

enum { WHEEL = 16384, EVENTS = 512, BACKLOG = 16384, READ_START = 8192, READ_MAX = 8 << 20, FRAME = 16 };
enum state { READING, WAITING, STREAMING };

typedef struct conn {
  int fd;
  SSL *tls;
  char *rb;  // what was read and not yet answered
  size_t rlen, rcap;
  char *wb;  // what the socket did not take yet
  size_t wlen, woff, wcap;
  int want_out;
  enum state state;
  int streamed, delay, first_delay;
  struct answer answer;
  struct conn *tn, **tp;  // timer wheel links
} conn;

struct listener { int fd; SSL_CTX *tls; };

static conn *wheel[WHEEL];
static long timers;
static uint64_t tick;
static int ep;
static uint64_t n_asked, n_plain, n_streams, n_finished, n_tokens, n_tls;
static volatile sig_atomic_t stopping;

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// ---- timers: a wheel of one-millisecond slots

static void timer_del(conn *c) {
  if (!c->tp) return;
  *c->tp = c->tn;
  if (c->tn) c->tn->tp = c->tp;
  c->tp = NULL;
  c->tn = NULL;
  timers--;
}

static void timer_add(conn *c, int ms) {
  if (ms < 1) ms = 1;
  if (ms >= WHEEL) ms = WHEEL - 1;
  conn **head = &wheel[(tick + (uint64_t)ms) % WHEEL];
  c->tn = *head;
  if (*head) (*head)->tp = &c->tn;
  *head = c;
  c->tp = head;
  timers++;
}

// ---- bytes in and out. Every function that may close the connection returns -1 when it did.

static int close_conn(conn *c) {
  timer_del(c);
  if (c->tls) SSL_free(c->tls);
  close(c->fd);
  free(c->rb);
  free(c->wb);
  free(c);
  return -1;
}

static void want_out(conn *c, int on) {
  if (c->want_out == on) return;
  c->want_out = on;
  struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

// Bytes moved, 0 when the socket is not ready, -1 when it is finished.
static ssize_t tls_result(conn *c, int r) {
  if (r > 0) return r;
  int e = SSL_get_error(c->tls, r);
  ERR_clear_error();
  return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t push(conn *c, const char *p, size_t n) {
  if (c->tls) return tls_result(c, SSL_write(c->tls, p, (int)n));
  ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);
  return k >= 0 ? k : errno == EAGAIN ? 0 : -1;
}

static ssize_t pull(conn *c, char *p, size_t n) {
  if (c->tls) return tls_result(c, SSL_read(c->tls, p, (int)n));
  ssize_t k = recv(c->fd, p, n, 0);
  return k > 0 ? k : k < 0 && errno == EAGAIN ? 0 : -1;
}

static int put(conn *c, const char *p, size_t n) {
  while (c->wlen == c->woff && n) {
    ssize_t k = push(c, p, n);
    if (k < 0) return close_conn(c);
    if (k == 0) break;
    p += k;
    n -= (size_t)k;
  }
  if (!n) return 0;
  if (c->wlen == c->woff) c->wlen = c->woff = 0;
  if (c->wlen + n > c->wcap) {
    c->wcap = (c->wlen + n) * 2;
    c->wb = realloc(c->wb, c->wcap);
  }
  memcpy(c->wb + c->wlen, p, n);
  c->wlen += n;
  want_out(c, 1);
  return 0;
}

static int flush(conn *c) {
  while (c->woff < c->wlen) {
    ssize_t k = push(c, c->wb + c->woff, c->wlen - c->woff);
    if (k < 0) return close_conn(c);
    if (k == 0) return 0;
    c->woff += (size_t)k;
  }
  c->woff = c->wlen = 0;
  want_out(c, 0);
  return 0;
}

// ---- answers

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    "x-request-id: req_mock\r\ntransfer-encoding: chunked\r\n\r\n";

static int put_json(conn *c, const char *status, const char *body, size_t n) {
  char out[MAX_PLAIN + 256];
  int l = snprintf(out, 256, "HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-request-id: req_mock\r\ncontent-length: %zu\r\n\r\n",
                   status, n);
  memcpy(out + l, body, n);
  return put(c, out, (size_t)l + n);
}

static void finished(conn *c) {
  n_finished++;
  n_tokens += (uint64_t)answer_tokens(&c->answer, c->streamed);
  c->state = READING;
}

static size_t framed_step(conn *c, char *out) {  // one HTTP chunk per event group; the last chunk after the terminal one
  char event[MAX_STEP];
  int n = answer_step(&c->answer, event), k = sprintf(out, "%x\r\n", (unsigned)n);
  memcpy(out + k, event, (size_t)n);
  memcpy(out + k + n, "\r\n", 2);
  size_t l = (size_t)(k + n + 2);
  if (c->answer.over) {
    memcpy(out + l, "0\r\n\r\n", 5);
    l += 5;
    finished(c);
  }
  return l;
}

static int stream_more(conn *c) {
  size_t room = c->delay ? 4 * (MAX_STEP + FRAME) : (size_t)(c->answer.chunks + 4) * 512 + 4 * MAX_STEP;
  char small[4 * (MAX_STEP + FRAME)], *out = c->delay ? small : malloc(room);
  int opening = c->answer.step == 0;
  size_t l = framed_step(c, out);
  if (c->delay && opening && answer_opens_empty(&c->answer)) l += framed_step(c, out + l);
  while (c->state == STREAMING && (!c->delay || answer_ending(&c->answer))) l += framed_step(c, out + l);
  int r = put(c, out, l);
  if (out != small) free(out);
  if (r == 0 && c->state == STREAMING) timer_add(c, c->delay);
  return r;
}

static int begin(conn *c) {  // the first byte is due
  if (c->streamed) {
    c->state = STREAMING;
    if (put(c, STREAM_HEAD, sizeof STREAM_HEAD - 1) < 0) return -1;
    return stream_more(c);
  }
  char out[MAX_PLAIN];
  size_t n = (size_t)answer_plain(&c->answer, out);
  finished(c);
  return put_json(c, "200 OK", out, n);
}

// ---- requests

static int says_stream(const char *body, size_t n) {
  const char *p = body, *e = body + n;
  while ((p = memmem(p, (size_t)(e - p), "\"stream\"", 8))) {
    p += 8;
    while (p < e && (*p == ' ' || *p == ':')) p++;
    if (p < e && *p == 't') return 1;
  }
  return 0;
}

static int tool_results(const char *body, size_t n) {
  int have = 0;
  const char *p = body, *e = body + n;
  while ((p = memmem(p, (size_t)(e - p), "\"role\"", 6))) {
    p += 6;
    while (p < e && (*p == ' ' || *p == ':')) p++;
    have += e - p > 6 && !memcmp(p, "\"tool\"", 6);
  }
  return have;
}

static int respond_get(conn *c, const char *path) {
  char out[512];
  int l = !strncmp(path, "/-/count ", 9)
              ? sprintf(out, "{\"asked\":%llu,\"plain\":%llu,\"streams\":%llu,\"finished\":%llu,\"input_tokens\":%llu,"
                             "\"output_tokens\":%llu,\"tls_connections\":%llu}",
                        (unsigned long long)n_asked, (unsigned long long)n_plain, (unsigned long long)n_streams,
                        (unsigned long long)n_finished, (unsigned long long)n_finished * PROMPT_TOKENS,
                        (unsigned long long)n_tokens, (unsigned long long)n_tls)
              : sprintf(out, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"created\":1760000000,"
                             "\"owned_by\":\"mock\"}]}");
  return put_json(c, "200 OK", out, (size_t)l);
}

static int respond_post(conn *c, const char *path, size_t path_len, const char *body, size_t n) {
  struct answer a = {.chunks = 50, .filler = 600};
  int tool_rounds = 0, overloaded_pct = 0;
  c->delay = c->first_delay = 0;
  const char *p = path + 1, *end = path + path_len;
  if (strncmp(p, "v1", 2))
    while (p < end && *p != '/') {
      char k = *p++, *rest;
      int v = (int)strtol(p, &rest, 10);
      p = rest;
      if (k == 'n') a.chunks = v;
      else if (k == 'd') c->delay = v;
      else if (k == 'f') c->first_delay = v;
      else if (k == 's') a.filler = v < 0 ? 0 : v > MAX_FILLER ? MAX_FILLER : v;
      else if (k == 't') tool_rounds = v;
      else if (k == 'e') overloaded_pct = v;
      else break;
    }
  if (memmem(path, path_len, "/messages", 9)) a.dialect = ANTHROPIC;
  else if (memmem(path, path_len, "enerateContent", 14)) a.dialect = GEMINI;
  n_asked++;
  if (overloaded_pct && rand() % 100 < overloaded_pct) {
    const char *b = answer_overloaded(a.dialect);
    return put_json(c, "503 Service Unavailable", b, strlen(b));
  }
  c->streamed = a.dialect == GEMINI ? memmem(path, path_len, ":stream", 7) != NULL : says_stream(body, n);
  if (tool_rounds && a.dialect == OPENAI) a.tool = tool_results(body, n) < tool_rounds;
  a.want_usage = memmem(body, n, "include_usage", 13) != NULL;
  c->answer = a;
  *(c->streamed ? &n_streams : &n_plain) += 1;
  c->state = WAITING;
  if (!c->first_delay) return begin(c);
  timer_add(c, c->first_delay);
  return 0;
}

// The length of the whole request at the start of the read buffer, 0 when more must be read.
static size_t request_length(conn *c, size_t *head_len, size_t *body_len) {
  char *head_end = memmem(c->rb, c->rlen, "\r\n\r\n", 4);
  if (!head_end) return 0;
  size_t head = (size_t)(head_end - c->rb) + 4;
  c->rb[head - 1] = 0;  // a string for strcasestr; put back below
  char *length = strcasestr(c->rb, "\r\ncontent-length:"), *chunked = strcasestr(c->rb, "\r\ntransfer-encoding: chunked");
  size_t want = length ? strtoul(length + 17, NULL, 10) : 0;
  c->rb[head - 1] = '\n';
  *head_len = head;
  if (chunked) {
    char *last = memmem(c->rb + head, c->rlen - head, "0\r\n\r\n", 5);
    if (!last) return 0;
    *body_len = (size_t)(last - c->rb) - head;
    return (size_t)(last - c->rb) + 5;
  }
  *body_len = want;
  return c->rlen < head + want ? 0 : head + want;
}

static int answer_requests(conn *c) {
  while (c->state == READING && c->rlen) {
    size_t head, body, total = request_length(c, &head, &body);
    if (!total) return 0;
    char *path = memchr(c->rb, ' ', head);
    if (!path) return close_conn(c);
    path++;
    char *path_end = memchr(path, ' ', head - (size_t)(path - c->rb));
    if (!path_end) return close_conn(c);
    int r = c->rb[0] == 'G' ? respond_get(c, path)
                            : respond_post(c, path, (size_t)(path_end - path), c->rb + head, body);
    if (r < 0) return -1;
    memmove(c->rb, c->rb + total, c->rlen - total);
    c->rlen -= total;
  }
  return 0;
}

static void readable(conn *c) {
  for (;;) {  // TLS keeps decrypted bytes that epoll does not know of: read until there is nothing
    if (c->rlen == c->rcap) {
      if (c->rcap >= READ_MAX) { close_conn(c); return; }
      c->rcap *= 2;
      c->rb = realloc(c->rb, c->rcap + 1);
    }
    ssize_t r = pull(c, c->rb + c->rlen, c->rcap - c->rlen);
    if (r < 0) { close_conn(c); return; }
    if (r == 0) return;
    c->rlen += (size_t)r;
    if (answer_requests(c) < 0 || !c->tls) return;
  }
}

static void due(conn *c) {
  int r = c->state == WAITING ? begin(c) : stream_more(c);
  if (r == 0) answer_requests(c);
}

// With nobody waiting the wheel stands still: it must be set right before the first timer of a batch is added.
static void set_clock(uint64_t started) {
  if (!timers) tick = now_ms() - started;
}

static void run_timers(uint64_t started) {
  uint64_t to = now_ms() - started;
  while (tick < to) {
    tick++;
    conn **head = &wheel[tick % WHEEL], *list = *head;
    *head = NULL;
    if (list) list->tp = &list;
    while (list) {
      conn *c = list;
      timer_del(c);
      due(c);
    }
  }
}

// ---- listening

static void accept_all(const struct listener *l) {
  int fd, one = 1;
  while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->rcap = READ_START;
    c->rb = malloc(c->rcap + 1);
    if (l->tls) {
      c->tls = SSL_new(l->tls);
      SSL_set_fd(c->tls, fd);
      SSL_set_accept_state(c->tls);
      n_tls++;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
  }
}

static int listen_on(struct listener *l, int port) {
  int one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(l->fd, (void *)&a, sizeof a) || listen(l->fd, BACKLOG)) {
    perror("mockllm: bind");
    return -1;
  }
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = l};
  return epoll_ctl(ep, EPOLL_CTL_ADD, l->fd, &e);
}

static SSL_CTX *tls_context(const char *cert, const char *key) {
  SSL_CTX *x = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_mode(x, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(x, cert) == 1 && SSL_CTX_use_PrivateKey_file(x, key, SSL_FILETYPE_PEM) == 1) return x;
  ERR_print_errors_fp(stderr);
  return NULL;
}

static volatile sig_atomic_t stopped_by;

static void on_signal(int s, siginfo_t *from, void *context) {
  (void)s;
  (void)context;
  stopped_by = from->si_pid;
  stopping = 1;
}

int main(int ac, char **av) {
  struct listener listeners[2] = {{0}};
  struct rlimit rl;
  getrlimit(RLIMIT_NOFILE, &rl);
  rl.rlim_cur = rl.rlim_max;
  setrlimit(RLIMIT_NOFILE, &rl);
  signal(SIGPIPE, SIG_IGN);
  struct sigaction ending = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGTERM, &ending, NULL);
  sigaction(SIGINT, &ending, NULL);
  ep = epoll_create1(0);
  if (listen_on(&listeners[0], ac > 1 ? atoi(av[1]) : 9000)) return 1;
  if (ac > 4) {
    listeners[1].tls = tls_context(av[3], av[4]);
    if (!listeners[1].tls || listen_on(&listeners[1], atoi(av[2]))) return 1;
  }
  struct epoll_event events[EVENTS];
  uint64_t started = now_ms();
  while (!stopping) {
    int k = epoll_wait(ep, events, EVENTS, timers ? 1 : 1000);
    set_clock(started);
    for (int i = 0; i < k; i++) {
      struct listener *l = events[i].data.ptr;
      if (l == &listeners[0] || l == &listeners[1]) {
        accept_all(l);
        continue;
      }
      conn *c = events[i].data.ptr;
      if (events[i].events & EPOLLOUT && flush(c) < 0) continue;
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
    }
    run_timers(started);
  }
  if (stopped_by != getppid()) fprintf(stderr, "mockllm: ended by process %d\n", (int)stopped_by);
  return 0;
}
