#include "answers.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHAT_ID "\"id\":\"chatcmpl-BxMockMockMockMockMockMock12\",\"object\":"
#define CHUNK_HEAD                                                                                            \
  "data: {" CHAT_ID "\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini\","             \
  "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\","
#define CHOICE CHUNK_HEAD "\"choices\":[{\"index\":0,\"delta\":{"
#define TOOL_CALL                                                                                             \
  "\"id\":\"call_mock1\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\","                       \
  "\"arguments\":\"{\\\"city\\\":\\\"Oslo\\\"}\"}}]"
#define MESSAGE_HEAD "\"id\":\"msg_01MockMockMockMockMockMock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-mock\","

static unsigned long long stamp(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

static int openai_end(struct answer *a, char *out, const char *reason) {
  int l = sprintf(out, CHOICE "},\"logprobs\":null,\"finish_reason\":\"%s\"}]}\n\n", reason);
  if (a->want_usage)
    l += sprintf(out + l,
                 CHUNK_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
                            "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
                            "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\n",
                 PROMPT_TOKENS, answer_tokens(a, 1), PROMPT_TOKENS + answer_tokens(a, 1));
  a->over = 1;
  return l + sprintf(out + l, "data: [DONE]\n\n");
}

static int openai_step(struct answer *a, int i, char *out) {
  if (i == 0)
    return sprintf(out, CHOICE "\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  if (a->tool && i == 1)
    return sprintf(out, CHOICE "\"tool_calls\":[{\"index\":0," TOOL_CALL "},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  if (a->tool) return openai_end(a, out, "tool_calls");
  if (i > a->chunks) return openai_end(a, out, "stop");
  return sprintf(out, CHOICE "\"content\":\" tok@%d@%llu@\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n", i, stamp());
}

static int anthropic_step(struct answer *a, int i, char *out) {
  if (i == 0)
    return sprintf(out,
                   "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{" MESSAGE_HEAD
                   "\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%d,"
                   "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1,"
                   "\"service_tier\":\"standard\"}}}\n\n"
                   "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                   "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
                   "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                   PROMPT_TOKENS);
  if (i <= a->chunks)
    return sprintf(out,
                   "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
                   "\"delta\":{\"type\":\"text_delta\",\"text\":\" tok@%d@%llu@\"}}\n\n",
                   i, stamp());
  a->over = 1;
  return sprintf(out,
                 "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
                 "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
                 "\"stop_sequence\":null},\"usage\":{\"input_tokens\":%d,\"cache_creation_input_tokens\":0,"
                 "\"cache_read_input_tokens\":0,\"output_tokens\":%d}}\n\n"
                 "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
                 PROMPT_TOKENS, answer_tokens(a, 1));
}

static int gemini_tail(char *out, int tokens) {
  return sprintf(out,
                 "],\"usageMetadata\": {\"promptTokenCount\": %d,\"candidatesTokenCount\": %d,\"totalTokenCount\": %d,"
                 "\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": %d}]},"
                 "\"modelVersion\": \"gemini-mock\",\"responseId\": \"mockMockMockMockMock\"}",
                 PROMPT_TOKENS, tokens, PROMPT_TOKENS + tokens, PROMPT_TOKENS);
}

static int gemini_step(struct answer *a, int i, char *out) {
  int l;
  i++;  // no opening event in this dialect
  a->over = i > a->chunks;
  if (a->over)
    l = sprintf(out, "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"\"}],\"role\": \"model\"},"
                     "\"finishReason\": \"STOP\",\"index\": 0}");
  else
    l = sprintf(out, "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" tok@%d@%llu@\"}],"
                     "\"role\": \"model\"},\"index\": 0}", i, stamp());
  l += gemini_tail(out + l, a->over ? a->chunks : i);
  return l + sprintf(out + l, "\r\n\r\n");
}

int answer_step(struct answer *a, char *out) {
  int i = a->step++;
  switch (a->dialect) {
  case ANTHROPIC: return anthropic_step(a, i, out);
  case GEMINI: return gemini_step(a, i, out);
  default: return openai_step(a, i, out);
  }
}

int answer_ending(const struct answer *a) {
  if (a->tool) return a->step >= 2;
  return a->dialect == GEMINI ? a->step >= a->chunks : a->step > a->chunks;
}

int answer_opens_empty(const struct answer *a) { return a->dialect != GEMINI; }

static const char *filler(int bytes) {
  static char text[MAX_FILLER + 1];
  if (!text[0])
    for (int i = 0; i < MAX_FILLER; i++) text[i] = i % 6 == 5 ? ' ' : (char)('a' + i % 26);
  return text + MAX_FILLER - bytes;
}

static int openai_plain(const struct answer *a, char *out) {
  if (a->tool)
    return sprintf(out,
                   "{" CHAT_ID "\"chat.completion\",\"created\":1760000000,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,"
                   "\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{" TOOL_CALL "},\"logprobs\":null,"
                   "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d}}",
                   PROMPT_TOKENS, answer_tokens(a, 0), PROMPT_TOKENS + answer_tokens(a, 0));
  return sprintf(out,
                 "{" CHAT_ID "\"chat.completion\",\"created\":1760000000,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,"
                 "\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
                 "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
                 "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\"completion_tokens_details\":"
                 "{\"reasoning_tokens\":0,\"audio_tokens\":0}},\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\"}",
                 filler(a->filler), PROMPT_TOKENS, PLAIN_TOKENS, PROMPT_TOKENS + PLAIN_TOKENS);
}

int answer_plain(const struct answer *a, char *out) {
  int l;
  switch (a->dialect) {
  case ANTHROPIC:
    return sprintf(out,
                   "{" MESSAGE_HEAD "\"content\":[{\"type\":\"text\",\"text\":\"%s\"}],\"stop_reason\":\"end_turn\","
                   "\"stop_sequence\":null,\"usage\":{\"input_tokens\":%d,\"cache_creation_input_tokens\":0,"
                   "\"cache_read_input_tokens\":0,\"output_tokens\":%d,\"service_tier\":\"standard\"}}",
                   filler(a->filler), PROMPT_TOKENS, PLAIN_TOKENS);
  case GEMINI:
    l = sprintf(out, "{\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"%s\"}],\"role\": \"model\"},"
                     "\"finishReason\": \"STOP\",\"index\": 0}", filler(a->filler));
    return l + gemini_tail(out + l, PLAIN_TOKENS);
  default: return openai_plain(a, out);
  }
}

int answer_tokens(const struct answer *a, int streamed) {
  if (a->tool) return 15;
  return streamed ? a->chunks : PLAIN_TOKENS;
}

const char *answer_overloaded(enum dialect d) {
  switch (d) {
  case ANTHROPIC: return "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
  case GEMINI: return "{\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}";
  default: return "{\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":\"overloaded\"}}";
  }
}
