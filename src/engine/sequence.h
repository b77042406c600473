// Sequence: one request inside the engine, from the queue to its End; of a request for pictures,
// one picture. Owned by the model thread.
//
// It is computed as a group of rows: one, or two for a picture that is drawn, with its text and
// without, which have the same length at any time and get the same codes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/call_opening.h"
#include "engine/canvas.h"
#include "engine/engine.h"
#include "engine/output.h"
#include "engine/picture_work.h"
#include "engine/prefix_index.h"
#include "engine/prompt.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "model/kv.h"

namespace engine {

struct Strand {              // one row of a group
  std::vector<int32_t> ids;  // prompt, then sampled
  model::KvTable kv;         // kv.length of the ids are computed
  PrefixIndex::Node chain = PrefixIndex::root;
  int listed_pages = 0;  // leading pages that stand in the prefix index
};

// A request for pictures; its sequences share it.
struct DrawingOrder {
  DrawPrompt prompt;
  bool reading = true;  // the first picture's prompt is not computed: the others wait to share it
  int left = 1;         // pictures that are not there
  int codes_sampled = 0;
  int cached_tokens = 0;
  int64_t admitted_ns = 0, first_code_ns = 0;
  bool ended = false;
};

struct Drawing {  // one picture of it
  std::shared_ptr<DrawingOrder> order;
  int picture = 0;
  Strand without_text;
  int rows_told = 0;        // of the sketch
  bool painting = false;    // its codes are there, pixels are computed
  int64_t served_step = 0;  // that computed it last
};

struct SeenPicture {  // of a prompt
  int first = 0;      // positions first … first + rows - 1 are its rows
  int rows = 0;
  std::shared_ptr<const Canvas> canvas;
  int end() const { return first + rows; }
};

struct Sequence : Strand {
  Sequence(Request request_, EventSink sink_, PreparedPrompt prompt, uint64_t seed_,
           const PromptBuilder& prompts)
      : request(std::move(request_)),
        sink(std::move(sink_)),
        seed(seed_),
        prompt_length(static_cast<int>(prompt.ids.size())),
        output(prompts.tokenizer(), prompts.markers(), prompt.start, request.stop_strings,
               prompt.tools) {
    ids = std::move(prompt.ids);
    if (prompt.opening) opening.emplace(std::move(*prompt.opening), prompts.tokenizer());
  }

  Request request;  // its prompt is empty by now
  EventSink sink;
  uint64_t seed;

  int prompt_length;
  bool admitted = false;
  bool ever_admitted = false;
  int64_t arrival = 0;
  History history;  // filled only for penalties

  std::vector<SeenPicture> seen;             // in the order of their positions
  std::shared_ptr<const Features> features;  // of seen[features_of]
  size_t features_of = 0;
  std::optional<Drawing> drawing;

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
