// A log histogram of durations: 64 sub-buckets per power of two, in units of 0.1 us.
#ifndef HIST_H
#define HIST_H
#include <stdint.h>

enum { SUB = 64, POWERS = 64 };
typedef struct { uint64_t b[SUB * POWERS], n, max; } hist;

static void hist_add(hist *h, uint64_t ns) {
  uint64_t v = ns / 100 ? ns / 100 : 1;
  int e = 63 - __builtin_clzll(v);
  h->b[e * SUB + (int)((e >= 6 ? v >> (e - 6) : v << (6 - e)) & 63)]++;
  h->n++;
  if (ns > h->max) h->max = ns;
}

static double hist_at(const hist *h, double q) {  // us
  uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;
  for (int i = 0; h->n && i < SUB * POWERS; i++) {
    seen += h->b[i];
    if (seen > want) return (i % SUB + 64.5) / 64.0 * (double)(1ull << (i / SUB)) / 10.0;
  }
  return (double)h->max / 1000.0;
}
#endif
