// ldgen: closed-loop HTTP/1.1 load client for plain and streamed model answers. One thread, epoll, keep-alive.
//   ldgen [-c conns] [-t seconds | -n requests] [-s] [-f chat|anthropic|gemini] [-u path] [-p port] [-m model]
//         [-H "header: v"]... [-k chunks_expected] [-B prompt_bytes] [-r ramp_seconds] [-w warmup_seconds]
//         [-d drain_seconds] [-P pid]...
//   -s  check every stream: each chunk " tok@<seq>@<ns>@" of mockllm must arrive once and in order, then the face's
//       own ending (chat [DONE], anthropic message_stop, gemini finishReason), then the end of the body.
//       Chunk delay = arrival - the ns stamp written by mockllm: what the path in between added.
//   -f  the shape of the request's body (a Gemini path itself says whether it streams)
//   -d  after the measured window no request starts; those in flight may end for so long
//   -P  pids whose CPU time is read at the start and end of the measured window, and RSS at its end
// One line of JSON on stdout. Latencies in microseconds. asked/answered/abandoned count the whole run, warm-up and
// drain included: what a gateway's accounts must agree with.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
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

#include "hist.h"

enum { HEAD_MAX = 8192, LINE_MAX_ = 4096, READ_SIZE = 262144, BODY_MAX = 4 << 20, EVENTS = 512, PIDS = 256 };
enum face { CHAT, ANTHROPIC, GEMINI };
enum framing { SIZE_LINE, DATA, DATA_END, TRAILER };
enum fault { NONE, OUT_OF_ORDER, BAD_CHUNK, AFTER_END };
static const char *const FAULTS[] = {"none", "out of order", "unreadable chunk", "chunk after the end"};

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

typedef struct {
  int fd, connected, busy, retired;
  // the answer's head
  int head_done, status, chunked, closes;
  long length, got;
  char head[HEAD_MAX];
  int head_len;
  // chunked framing
  enum framing framing;
  long left;
  // the stream's content
  char line[LINE_MAX_];
  int line_len, seq, ended;
  enum fault fault;
  uint64_t sent_at, last_at;
  size_t sent;
} conn;

static struct {
  int conns, stream, port, expect;
  enum face face;
  long requests, prompt;
  double secs, ramp, warm, drain;
  const char *path, *model;
  char headers[HEAD_MAX];
  int pids[PIDS], npid;
} opt = {.conns = 32, .port = 8000, .secs = 5, .warm = .5, .path = "/v1/chat/completions", .model = "mock"};

static struct {
  hist latency, first, delay, gap;
  long ok, err, incomplete, chunks, broken;  // in the measured window
  long asked, answered;                      // in the whole run
  uint64_t bytes;
  char sample[512];
} got;

static int ep, active, measuring, stopping;
static char *request;
static size_t request_len;

// ---- what the process under test used

static double cpu_seconds(void) {
  double sum = 0;
  for (int i = 0; i < opt.npid; i++) {
    char path[64], b[1024];
    unsigned long user, sys;
    snprintf(path, sizeof path, "/proc/%d/stat", opt.pids[i]);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    size_t k = fread(b, 1, sizeof b - 1, f);
    fclose(f);
    b[k] = 0;
    char *q = strrchr(b, ')');
    if (q && sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) == 2)
      sum += (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
  }
  return sum;
}

static double rss_mb(void) {
  double pages = 0;
  for (int i = 0; i < opt.npid; i++) {
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", opt.pids[i]);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    if (fscanf(f, "%ld %ld", &size, &resident) == 2) pages += (double)resident;
    fclose(f);
  }
  return pages * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

// ---- the request

static int prompt_text(char *out, long bytes) {  // words and escaped line ends, as a pasted document has
  static const char words[] = "The kubelet keeps the state of every pod and says \\\"ready\\\" when its probes succeed.\\n";
  long n = 0;
  while (n + (long)sizeof words - 1 <= bytes) {
    memcpy(out + n, words, sizeof words - 1);
    n += (long)sizeof words - 1;
  }
  while (n < bytes) out[n++] = 'x';
  out[n] = 0;
  return (int)n;
}

static void build_request(void) {
  static const char system[] = "You are a helpful assistant. Answer briefly, and say when you do not know.";
  char *user = malloc(BODY_MAX + 1), *body = malloc(BODY_MAX + 4096);
  int n;
  if (opt.prompt) prompt_text(user, opt.prompt < BODY_MAX ? opt.prompt : BODY_MAX);
  else strcpy(user, "Explain kubernetes pods to a new engineer in two sentences, please. What is the difference between a pod and a container?");
  if (opt.face == GEMINI)
    n = sprintf(body, "{\"systemInstruction\":{\"parts\":[{\"text\":\"%s\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"%s\"}]}],"
                      "\"generationConfig\":{\"temperature\":0.7,\"maxOutputTokens\":256}}", system, user);
  else if (opt.face == ANTHROPIC)
    n = sprintf(body, "{\"model\":\"%s\",\"max_tokens\":256,\"temperature\":0.7,\"system\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}",
                opt.model, system, user, opt.stream ? ",\"stream\":true" : "");
  else
    n = sprintf(body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"%s\"}],\"temperature\":0.7,\"max_tokens\":256%s}",
                opt.model, system, user, opt.stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
  request = malloc((size_t)n + HEAD_MAX + 1024);
  request_len = (size_t)sprintf(request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: ldgen\r\nAccept: */*\r\n"
                                         "Content-Type: application/json\r\n%sContent-Length: %d\r\n\r\n",
                                opt.path, opt.port, opt.headers, n);
  memcpy(request + request_len, body, (size_t)n);
  request_len += (size_t)n;
  free(user);
  free(body);
}

// ---- connections

static void wait_for(conn *c, uint32_t events, int op) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(ep, op, c->fd, &e);
}

static void open_conn(conn *c) {
  int one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  c->connected = 0;
  if (connect(c->fd, (void *)&a, sizeof a) < 0 && errno != EINPROGRESS) got.broken++;
  wait_for(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void reopen(conn *c) {
  close(c->fd);
  open_conn(c);
}

static void send_more(conn *c) {
  ssize_t k = send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL);
  if (k > 0) c->sent += (size_t)k;
}

static void ask(conn *c) {
  if (stopping || (opt.requests && got.asked >= opt.requests)) {
    c->retired = 1;
    active--;
    close(c->fd);
    return;
  }
  got.asked++;
  c->busy = 1;
  c->head_done = c->head_len = c->status = c->chunked = c->closes = 0;
  c->length = -1;
  c->got = c->left = 0;
  c->framing = SIZE_LINE;
  c->line_len = c->seq = c->ended = 0;
  c->fault = NONE;
  c->last_at = 0;
  c->sent = 0;
  c->sent_at = now();
  send_more(c);
  if (c->sent < request_len) wait_for(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void finish(conn *c, uint64_t t) {
  int good = c->status == 200 && !c->fault;
  if (opt.stream && good && (!c->ended || (opt.expect && c->seq != opt.expect))) {
    good = 0;
    got.incomplete += measuring;
  }
  got.answered += good;
  if (measuring && good) {
    got.ok++;
    hist_add(&got.latency, t - c->sent_at);
  } else if (measuring) got.err++;
  if (!good && !got.sample[0])
    snprintf(got.sample, sizeof got.sample, "status %d, %d chunks, ended %d, fault: %s; %.200s", c->status, c->seq, c->ended, FAULTS[c->fault], c->line);
  c->busy = 0;
  if (c->closes) reopen(c);
  else ask(c);
}

static void cut(conn *c, uint64_t t) {  // the other side closed
  if (c->busy && c->head_done && !c->chunked && c->length < 0) {
    c->closes = 1;
    finish(c, t);
    return;
  }
  if (c->busy) {
    if (measuring) {
      got.err++;
      got.broken++;
    }
    if (!got.sample[0]) snprintf(got.sample, sizeof got.sample, "closed after %d chunks, head %d", c->seq, c->head_done);
    c->busy = 0;
    if (opt.requests && got.err > opt.requests) stopping = 1;
  }
  reopen(c);
}

// ---- the answer's content

static void content_chunk(conn *c, const char *p, uint64_t t) {
  char *at;
  int seq = (int)strtol(p, &at, 10);
  uint64_t stamped = *at == '@' ? strtoull(at + 1, NULL, 10) : 0;
  if (!stamped) c->fault = BAD_CHUNK;
  else if (c->ended) c->fault = AFTER_END;
  else if (seq != c->seq + 1) c->fault = OUT_OF_ORDER;
  if (measuring && stamped) {
    got.chunks++;
    hist_add(&got.delay, t > stamped ? t - stamped : 0);
    if (!c->last_at) hist_add(&got.first, t - c->sent_at);
    else hist_add(&got.gap, t - c->last_at);
  }
  c->seq = seq;
  c->last_at = t;
}

static int is_ending(const char *line) {
  switch (opt.face) {
  case ANTHROPIC: return strstr(line, "\"message_stop\"") != NULL;
  case GEMINI: return strstr(line, "\"finishReason\"") != NULL;
  default: return !strncmp(line, "data: [DONE]", 12) || !strncmp(line, "data:[DONE]", 11);
  }
}

static void data_line(conn *c, uint64_t t) {
  c->line[c->line_len] = 0;
  if (strncmp(c->line, "data:", 5)) return;
  for (const char *p = c->line; (p = strstr(p, "tok@"));) content_chunk(c, p += 4, t);
  if (is_ending(c->line)) c->ended = 1;
}

static void content(conn *c, const char *p, long n, uint64_t t) {
  if (!opt.stream || c->status != 200) {  // keep the start: the sample of an error
    long k = n < 200 - c->line_len ? n : 200 - c->line_len;
    if (c->status == 200 || k <= 0) return;
    memcpy(c->line + c->line_len, p, (size_t)k);
    c->line_len += (int)k;
    c->line[c->line_len] = 0;
    return;
  }
  while (n > 0) {
    const char *nl = memchr(p, '\n', (size_t)n);
    long k = nl ? nl - p : n, room = LINE_MAX_ - 1 - c->line_len, take = k < room ? k : room;
    memcpy(c->line + c->line_len, p, (size_t)take);
    c->line_len += (int)take;
    p += k;
    n -= k;
    if (!nl) break;
    data_line(c, t);
    p++;
    n--;
    c->line_len = 0;
  }
  c->line[c->line_len] = 0;
}

// ---- the answer's framing. Returns 1 when the answer has ended (nothing may follow: requests are not pipelined).

static int hex(char ch) {
  if (ch >= '0' && ch <= '9') return ch - '0';
  ch |= 32;
  return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static int chunked_body(conn *c, const char *b, long n, uint64_t t) {
  while (n > 0) {
    if (c->framing == DATA) {
      long k = n < c->left ? n : c->left;
      content(c, b, k, t);
      b += k;
      n -= k;
      c->left -= k;
      if (!c->left) c->framing = DATA_END;
      continue;
    }
    char ch = *b++;
    n--;
    if (c->framing == SIZE_LINE && ch == '\n') c->framing = c->left ? DATA : TRAILER;
    else if (c->framing == SIZE_LINE && hex(ch) >= 0) c->left = c->left * 16 + hex(ch);
    else if (c->framing == DATA_END && ch == '\n') c->framing = SIZE_LINE;
    else if (c->framing == TRAILER && ch == '\n') return 1;
  }
  return 0;
}

static int feed(conn *c, const char *b, long n, uint64_t t) {
  if (!c->head_done) {
    int old = c->head_len, room = HEAD_MAX - 1 - old;
    int k = n < room ? (int)n : room;
    memcpy(c->head + old, b, (size_t)k);
    c->head_len += k;
    c->head[c->head_len] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return 0;
    end[2] = 0;
    c->head_done = 1;
    c->status = atoi(c->head + 9);
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (length) c->length = atol(length + 17);
    c->chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked") != NULL;
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    long used = (end + 4 - c->head) - old;
    b += used;
    n -= used;
    if (!c->chunked && c->length == 0) return 1;
  }
  if (c->chunked) return chunked_body(c, b, n, t);
  content(c, b, n, t);
  c->got += n;
  return c->length >= 0 && c->got >= c->length;
}

static void writable(conn *c) {
  if (c->connected) {
    if (c->busy && c->sent < request_len) send_more(c);
    if (!c->busy || c->sent >= request_len) wait_for(c, EPOLLIN, EPOLL_CTL_MOD);
    return;
  }
  int e = 0;
  socklen_t l = sizeof e;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &l);
  if (e) {
    if (++got.broken > 10000) {
      fprintf(stderr, "too many connect errors\n");
      exit(1);
    }
    reopen(c);
    return;
  }
  c->connected = 1;
  wait_for(c, EPOLLIN, EPOLL_CTL_MOD);
  ask(c);
}

static void readable(conn *c, char *buf) {
  ssize_t r = recv(c->fd, buf, READ_SIZE, 0);
  uint64_t t = now();
  if (r > 0) {
    if (measuring) got.bytes += (uint64_t)r;
    if (c->busy && feed(c, buf, r, t)) finish(c, t);
  } else if (r == 0 || errno != EAGAIN) cut(c, t);
}

// ---- the run

static void options(int ac, char **av) {
  int o;
  while ((o = getopt(ac, av, "c:t:n:sf:u:p:m:H:k:B:r:w:d:P:")) != -1) switch (o) {
    case 'c': opt.conns = atoi(optarg); break;
    case 't': opt.secs = atof(optarg); break;
    case 'n': opt.requests = atol(optarg); break;
    case 's': opt.stream = 1; break;
    case 'f': opt.face = *optarg == 'a' ? ANTHROPIC : *optarg == 'g' ? GEMINI : CHAT; break;
    case 'u': opt.path = optarg; break;
    case 'p': opt.port = atoi(optarg); break;
    case 'm': opt.model = optarg; break;
    case 'H':
      if (strlen(opt.headers) + strlen(optarg) + 3 > HEAD_MAX) exit(2);
      strcat(strcat(opt.headers, optarg), "\r\n");
      break;
    case 'k': opt.expect = atoi(optarg); break;
    case 'B': opt.prompt = atol(optarg); break;
    case 'r': opt.ramp = atof(optarg); break;
    case 'w': opt.warm = atof(optarg); break;
    case 'd': opt.drain = atof(optarg); break;
    case 'P': if (opt.npid < PIDS) opt.pids[opt.npid++] = atoi(optarg); break;
    default: exit(2);
    }
}

static void print_result(double secs, double cpu, double rss) {
  for (char *p = got.sample; *p; p++)
    if (*p == '"' || *p == '\\' || (unsigned char)*p < 32 || (unsigned char)*p > 126) *p = '\'';
  printf("{\"secs\":%.2f,\"ok\":%ld,\"err\":%ld,\"incomplete\":%ld,\"broken\":%ld,\"asked\":%ld,\"answered\":%ld,\"abandoned\":%d", secs, got.ok,
         got.err, got.incomplete, got.broken, got.asked, got.answered, active);
  printf(",\"rps\":%.0f,\"p50\":%.0f,\"p99\":%.0f,\"max\":%.0f", (double)got.ok / secs, hist_at(&got.latency, .5), hist_at(&got.latency, .99),
         (double)got.latency.max / 1e3);
  if (opt.stream)
    printf(",\"chunks\":%ld,\"chunks_s\":%.0f,\"first50\":%.0f,\"first99\":%.0f,\"delay50\":%.0f,\"delay99\":%.0f,\"delaymax\":%.0f,"
           "\"gap50\":%.0f,\"gap99\":%.0f,\"gapmax\":%.0f",
           got.chunks, (double)got.chunks / secs, hist_at(&got.first, .5), hist_at(&got.first, .99), hist_at(&got.delay, .5),
           hist_at(&got.delay, .99), (double)got.delay.max / 1e3, hist_at(&got.gap, .5), hist_at(&got.gap, .99), (double)got.gap.max / 1e3);
  if (opt.npid)
    printf(",\"cpu_s\":%.2f,\"cpu\":%.3f,\"us_req\":%.1f,\"rps_core\":%.0f,\"us_chunk\":%.2f,\"chunks_core\":%.0f,\"rss_mb\":%.1f", cpu, cpu / secs,
           got.ok ? cpu * 1e6 / (double)got.ok : 0, cpu > 0 ? (double)got.ok / cpu : 0, got.chunks ? cpu * 1e6 / (double)got.chunks : 0,
           cpu > 0 ? (double)got.chunks / cpu : 0, rss);
  if (got.sample[0]) printf(",\"sample\":\"%s\"", got.sample);
  printf(",\"mb_s\":%.1f}\n", (double)got.bytes / secs / 1e6);
}

int main(int ac, char **av) {
  struct rlimit rl;
  getrlimit(RLIMIT_NOFILE, &rl);
  rl.rlim_cur = rl.rlim_max;
  setrlimit(RLIMIT_NOFILE, &rl);
  signal(SIGPIPE, SIG_IGN);
  options(ac, av);
  build_request();
  ep = epoll_create1(0);
  conn *conns = calloc((size_t)opt.conns, sizeof *conns);
  char *buf = malloc(READ_SIZE);
  struct epoll_event events[EVENTS];
  int opened = 0, began = 0;
  double cpu_from = 0, cpu_to = 0, rss = 0;
  uint64_t start = now(), from = opt.requests ? start : start + (uint64_t)((opt.warm + opt.ramp) * 1e9), to = 0;
  uint64_t until = opt.requests ? start + 300000000000ull : from + (uint64_t)(opt.secs * 1e9), hard = until + (uint64_t)(opt.drain * 1e9);
  active = opt.conns;
  while (active > 0) {
    uint64_t t = now();
    int want = opt.ramp > 0 ? (int)((double)(t - start) / (opt.ramp * 1e9) * opt.conns) + 1 : opt.conns;
    while (!stopping && opened < opt.conns && opened < want) open_conn(&conns[opened++]);
    if (!began && t >= from) {
      began = measuring = 1;
      from = t;
      cpu_from = cpu_seconds();
    }
    if (measuring && t >= until) {
      measuring = 0;
      stopping = 1;
      to = t;
      cpu_to = cpu_seconds();
      rss = rss_mb();
    }
    if (t >= hard) break;
    int k = epoll_wait(ep, events, EVENTS, opened < opt.conns ? 1 : 5);
    for (int i = 0; i < k; i++) {
      conn *c = events[i].data.ptr;
      if (events[i].events & EPOLLOUT) writable(c);
      if (!c->retired && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c, buf);
    }
  }
  if (!to) {
    to = now();
    cpu_to = cpu_seconds();
    rss = rss_mb();
  }
  print_result((double)(to - from) / 1e9, cpu_to - cpu_from, rss);
  return 0;
}
