// Sequence: one request inside the engine, from the queue to its End. Owned by the model thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/call_opening.h"
#include "engine/engine.h"
#include "engine/output.h"
#include "engine/prefix_index.h"
#include "engine/prompt.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "model/kv.h"

namespace engine {

struct Sequence {
  Sequence(Request request_, EventSink sink_, PreparedPrompt prompt, uint64_t seed_,
           const PromptBuilder& prompts)
      : request(std::move(request_)),
        sink(std::move(sink_)),
        seed(seed_),
        ids(std::move(prompt.ids)),
        prompt_length(static_cast<int>(ids.size())),
        output(prompts.tokenizer(), prompts.markers(), prompt.start, request.stop_strings,
               prompt.tools) {
    if (prompt.opening) opening.emplace(std::move(*prompt.opening), prompts.tokenizer());
  }

  Request request;  // its prompt is empty by now
  EventSink sink;
  uint64_t seed;

  std::vector<int32_t> ids;  // prompt, then sampled
  int prompt_length;
  model::KvTable kv;  // kv.length of the ids are computed
  PrefixIndex::Node chain = PrefixIndex::root;
  int listed_pages = 0;  // leading pages that stand in the prefix index
  bool admitted = false;
  bool ever_admitted = false;
  int64_t arrival = 0;
  History history;  // filled only for penalties

  std::optional<OpeningGuide> opening;  // until the answer has begun as it was asked to
  OutputStream output;
  bool answer_now = false;
  int close_ids_fed = 0;  // of the marker that ends the thinking, when we end it
  bool done = false;
  int prompt_tokens_echoed = 0;  // PromptToken events so far
  WaitEstimate announced;        // the last Queued event
  int64_t announced_ns = 0;

  int cached_tokens = 0;
  int64_t arrived_ns = 0, admitted_ns = 0, first_token_ns = 0, thinking_began_ns = 0;
  int64_t thinking_ms = 0;

  int completion_tokens() const { return static_cast<int>(ids.size()) - prompt_length; }
  int pending() const { return static_cast<int>(ids.size()) - kv.length; }
};

}  // namespace engine
