// engine.h: the narrow door between the two halves. Structured messages go in, events come out; no
// prompt strings, since template and vocabulary live in the untrusted model file and only the
// engine process reads them. The gate's side is EngineClient: our own child process over a
// socketpair (child_client.h), the same engine in this process (local_client.h, for `nautile run`
// and other one-shot verbs), later a remote server.
//
// Threads: every method may be called from any thread. Event sinks are called on the client's own
// reading thread, one event at a time for a request, and must not block; they may call cancel()
// and answer_now(). start(), tokenize(), detokenize() and prompt_size() wait until the engine has
// read the text (milliseconds; call_timeout_ms of child_client.h at most): not for a loop thread.
// cancel(), answer_now(), models() and stats() never wait.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace engine {

// ---- what goes in ----------------------------------------------------------------------------

struct ToolCall {
  std::string id, name;
  std::string arguments;  // the JSON text of an object
};
struct Picture {
  uint64_t at = 0;    // stands before content[at] (a byte); pictures of a message are in this order
  std::string bytes;  // PNG, JPEG or WebP, as it came: read in a confined child of the engine
};
struct Message {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
  std::vector<Picture> pictures;     // user only
  std::string name;                  // empty: none
  std::string reasoning_content;     // assistant only; templates decide what becomes of it
  bool prefix = false;               // last assistant message: continue it, do not close it
  std::vector<ToolCall> tool_calls;  // assistant only
  std::string tool_call_id;          // tool only: which call this is the result of
};

struct SamplingParams {
  double temperature = 1.0;  // 0: argmax, lowest id wins ties
  int top_k = 0;             // 0: off
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  std::optional<uint64_t> seed;  // absent: the engine draws one and reports it
};

enum class Thinking { by_default, on, off };

// none: no call is given out. required, named: the answer is made to begin with a call, of any
// declared function or of `tool_name`; what its arguments are is the model's.
enum class ToolChoice : uint8_t { none, automatic, required, named };
struct Tool {
  std::string name;
  base::Json definition;  // {"type":"function","function":{…}}, for the template
};

struct ChatPrompt {
  std::vector<Message> messages;
  Thinking thinking = Thinking::by_default;
  base::Json template_arguments;  // object or null: extra keywords for the chat template
  std::vector<Tool> tools;
  ToolChoice tool_choice = ToolChoice::automatic;
  std::string tool_name;       // when named
  bool parallel_calls = true;  // false: the answer ends with its first call
};
struct TextPrompt {
  std::string text;     // /v1/completions: no template; special tokens parsed
  bool add_bos = true;  // if the tokenizer says so
};
struct IdsPrompt {
  std::vector<int32_t> ids;  // taken as they are
};
// Pictures, drawn by a model that draws. Picture i is drawn with seed + i, so each can be had again
// alone. Of SamplingParams temperature and seed count, of Request neither stops nor logprobs.
struct DrawPrompt {
  std::string text;
  int pictures = 1;       // 1 to pictures_drawn_max
  double guidance = 5.0;  // weight of the text against no text (classifier-free guidance)
  // Not empty: nothing is drawn, these codes are decoded (one picture; text is not looked at).
  std::vector<int32_t> codes;
};
inline constexpr int pictures_drawn_max = 8;
inline constexpr int pictures_seen_max = 16;                 // of all messages of a prompt
inline constexpr uint64_t picture_bytes_max = 20ull << 20;   // of one, as it came
inline constexpr uint64_t pictures_bytes_max = 40ull << 20;  // of all of a prompt
inline constexpr double guidance_max = 50;
// Every picture's seed is a number that JSON's readers take whole as a signed one.
inline constexpr int64_t drawing_seed_max = INT64_MAX - pictures_drawn_max;

using Prompt = std::variant<ChatPrompt, TextPrompt, IdsPrompt, DrawPrompt>;

struct Request {
  uint64_t id = 0;    // chosen by the caller, unique among its running requests
  std::string model;  // an id of models()
  Prompt prompt;
  SamplingParams sampling;
  int tokens_max = -1;                    // new tokens; -1: until the context is full
  std::vector<std::string> stop_strings;  // <= 16, checked by api; not part of the output
  std::vector<int32_t> stop_ids;
  bool ignore_end_tokens = false;
  int logprobs_top = -1;         // -1: none; n >= 0: the chosen token's and the n most likely
  bool prompt_logprobs = false;  // echo: a PromptToken event per prompt token
  bool exact = false;            // f32 activations (one-shot verbs only)
  int thinking_tokens_max = -1;  // budget: then the engine ends the thinking, as with answer_now()
  uint64_t account =
      0;  // fairness key and cache salt: requests of two accounts share no cache page
};

// ---- what comes out --------------------------------------------------------------------------

struct TokenLogprob {
  int32_t id = 0;
  std::string text;  // the token's bytes; may be an incomplete UTF-8 sequence
  float logprob = 0;
};
struct Token {  // one sampled token
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // logprobs_top of them, most likely first
};

struct Queued {      // sent at once and whenever it changes
  int position = 0;  // 1: next
  int64_t wait_ms_low = 0, wait_ms_high = 0;
};
struct Loading {
  std::string model;
  int64_t remaining_ms = 0;
  double fraction = 0;
};
struct Reading {
  int done = 0, total = 0, cached = 0;
};  // prompt tokens; first one: admitted
struct PromptToken {
  Token token;
  bool has_logprob = false;
};  // the first has none
enum class Part : uint8_t { reasoning, answer };
struct CalledTool {
  int index = 0;                // of this answer's calls
  std::string name, arguments;  // declared; the JSON text of an object
};
struct Delta {  // whole UTF-8 characters only; text may be empty when only logprobs arrive
  Part part = Part::answer;
  std::string text;
  std::vector<int32_t> ids;       // the sampled ids that this delta accounts for
  std::vector<Token> logprobs;    // as many as ids when logprobs were asked for
  std::vector<CalledTool> calls;  // whole ones; a delta has calls or text, not both
};
// Of a DrawPrompt: rows as they are sampled, then the picture.
struct SketchRow {
  int picture = 0;        // 0 to pictures - 1
  int row = 0, rows = 0;  // 0: the top one
  std::string colours;    // 3 bytes RGB a code: its mean colour, about
};
struct Drawn {
  int picture = 0;
  uint64_t seed = 0;           // DrawPrompt of one picture with it gives the same bytes
  std::string png;             // with prompt and seed in its text chunks
  std::vector<int32_t> codes;  // (rows, rows)
};
enum class EndReason : uint8_t { stop, length, cancelled, failed };
struct Usage {
  int prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  uint64_t seed = 0;
  int64_t queue_ms = 0, prompt_ms = 0, decode_ms = 0, thinking_ms = 0;
};
struct End {
  EndReason reason = EndReason::stop;
  bool context_full = false;  // `length` because the context ended, not tokens_max
  Usage usage;
  base::Error error;  // when failed; kind unavailable: the engine died, may be retried
};
using Event = std::variant<Queued, Loading, Reading, PromptToken, Delta, End, SketchRow, Drawn>;
// End is the last event of every request that start() accepted, always.
using EventSink = std::function<void(uint64_t request_id, const Event&)>;

// ---- what is asked besides --------------------------------------------------------------------

enum class ThinkingSupport : uint8_t { never, optional, always };
struct ModelStatus {
  std::string id;  // as clients name it
  std::string architecture, quantization, license;
  uint64_t parameters = 0, weight_bytes = 0, memory_bytes = 0;  // memory: weights + KV + workspace
  int context_tokens = 0;  // what this server serves, <= what the file declares
  bool loaded = false;
  ThinkingSupport thinking = ThinkingSupport::never;
  bool has_template = false;
  bool starter = false;  // the demonstration model
  base::Json defaults;   // {"temperature":…, "top_p":…} from the file or the family's advice
  int64_t created_unix = 0;
  bool tools = false;      // its template and vocabulary have a form for tool calls
  bool sees = false;       // messages may have pictures
  int picture_tokens = 0;  // what one takes of the context
  int drawn_side = 0;      // pixels each way of what it draws; 0: it does not draw
};

// A configured model that could not be opened, and why: for the page and for error messages.
struct UnusableModel {
  std::string id;
  base::Error error;
};

struct EngineStats {  // for /metrics and the page; all monotonic since the engine's start
  bool ready = false;
  int64_t restarts = 0;
  uint64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, preemptions = 0;
  int running = 0, waiting = 0;
  int kv_pages_total = 0, kv_pages_used = 0;
};

struct PromptSize {
  int tokens = 0;          // of the whole rendered prompt
  int context_tokens = 0;  // what prompt and answer share; a prompt fits if tokens < context_tokens
  // How many of the oldest exchanges (a user message and what follows it up to the next one) must
  // be left out until the prompt fits with room for an answer. 0: it fits. -1: even the last
  // question alone does not fit.
  int drop_exchanges = 0;
};

class EngineClient {
 public:
  virtual ~EngineClient() = default;

  // Takes the request or refuses it at once: unknown model: not_found; prompt too long:
  // limit_exceeded with the numbers in `why` (and typed in prompt_size()); values out of range and
  // pictures that are too large or too many: invalid_input; engine restarting: unavailable. After
  // success events follow; the first may come before start() has returned.
  virtual base::Result<void> start(Request request, EventSink sink) = 0;
  // Ends within one step; End{cancelled} follows. Unknown ids are ignored.
  virtual void cancel(uint64_t request_id) = 0;
  // Ends the thinking: the end-of-thinking token is fed as if the model had chosen it.
  virtual void answer_now(uint64_t request_id) = 0;

  virtual std::vector<ModelStatus> models() = 0;
  virtual EngineStats stats() = 0;
  // Those that models() lacks although they were configured. Never waits.
  virtual std::vector<UnusableModel> unusable_models() { return {}; }

  virtual base::Result<std::vector<int32_t>> tokenize(const std::string& model,
                                                      const std::string& text, bool parse_special,
                                                      bool add_bos) = 0;
  virtual base::Result<std::string> detokenize(const std::string& model,
                                               const std::vector<int32_t>& ids) = 0;
  virtual base::Result<PromptSize> prompt_size(const std::string& model,
                                               const ChatPrompt& prompt) = 0;
};

}  // namespace engine
