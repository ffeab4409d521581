// What the fake upstream says: the bytes of OpenAI chat, Anthropic Messages and Gemini answers. No sockets here.
#ifndef ANSWERS_H
#define ANSWERS_H
#include <stddef.h>

enum dialect { OPENAI, ANTHROPIC, GEMINI };

enum { PROMPT_TOKENS = 25, PLAIN_TOKENS = 150, MAX_FILLER = 64000, MAX_PLAIN = 70000, MAX_STEP = 2048 };

struct answer {
  enum dialect dialect;
  int chunks;      // content chunks of a stream
  int filler;      // bytes of text in a plain answer
  int tool;        // answer with a tool call (OpenAI dialect only)
  int want_usage;  // OpenAI streams carry usage only when asked to
  int step;        // steps already said
  int over;        // the terminal event has been said
};

// The next step of a stream into out (MAX_STEP bytes): one or a few whole server-sent events. Returns its length.
int answer_step(struct answer *a, char *out);

// The next step is the terminal one (real servers send it nearly at once with the last content).
int answer_ending(const struct answer *a);

// The first step carries no content: the first chunk follows it at once.
int answer_opens_empty(const struct answer *a);

// The whole plain answer into out (MAX_PLAIN bytes). Returns its length.
int answer_plain(const struct answer *a, char *out);

// Tokens that the finished answer reports as its output.
int answer_tokens(const struct answer *a, int streamed);

const char *answer_overloaded(enum dialect d);
#endif
