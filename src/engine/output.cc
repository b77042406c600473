#include "engine/output.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "text/splitter.h"
#include "text/stop_matcher.h"

namespace engine {
namespace {

Part part_of(text::Part part) {
  return part == text::Part::reasoning ? Part::reasoning : Part::answer;
}

}  // namespace

struct OutputStream::Parts {
  text::Splitter splitter;
  std::optional<text::ToolParser> tools;
  int calls_max = 0;
  text::StopMatcher stops;
  // Log-probabilities of ids that wait for their text, oldest first.
  std::vector<Token> waiting;
  bool with_tokens = false;
};

OutputStream::OutputStream(const text::Tokenizer& tokenizer, const text::ThinkMarkers& markers,
                           ThinkingStart start, const std::vector<std::string>& stop_strings,
                           const std::optional<ToolUse>& tools)
    : parts_(new Parts{text::Splitter(tokenizer, markers, start == ThinkingStart::inside,
                                      start != ThinkingStart::never,
                                      tools ? tools->markup.ids() : std::vector<int32_t>()),
                       std::nullopt,
                       0,
                       text::StopMatcher(stop_strings),
                       {},
                       false}) {
  if (!tools) return;
  parts_->calls_max = tools->calls_max;
  parts_->tools.emplace(tools->markup, tools->names,
                        text::ToolLimits{.calls_max = tools->calls_max});
}

OutputStream::~OutputStream() = default;

bool OutputStream::in_reasoning() const { return parts_->splitter.inside(); }
bool OutputStream::may_open_reasoning() const { return parts_->splitter.may_open(); }
bool OutputStream::opens_reasoning(int32_t id) const { return parts_->splitter.opens(id); }

OutputStream::Pushed OutputStream::push(int32_t id, std::optional<Token> token) {
  if (token) {
    parts_->with_tokens = true;
    parts_->waiting.push_back(std::move(*token));
  }
  std::vector<text::Piece> split;
  parts_->splitter.push(id, split);
  thinking_tokens_ += parts_->splitter.inside();
  return hand_on(std::move(split));
}

// Reasoning passes; the answer goes through the calls and the stop strings.
OutputStream::Pushed OutputStream::hand_on(std::vector<text::Piece> split) {
  std::vector<text::Piece> out, parsed;
  for (text::Piece& piece : split) {
    if (piece.part == text::Part::reasoning) {
      reasoning_tokens_ += static_cast<int>(piece.ids.size());
      out.push_back(std::move(piece));
      continue;
    }
    if (!parts_->tools) {
      parts_->stops.push(std::move(piece), out);
      continue;
    }
    parsed.clear();
    parts_->tools->push(std::move(piece), parsed);
    for (text::Piece& part : parsed) parts_->stops.push(std::move(part), out);
  }
  const bool called = parts_->tools && parts_->tools->calls() >= parts_->calls_max;
  return {to_deltas(std::move(out)), parts_->stops.stopped() || called};
}

std::vector<Delta> OutputStream::to_deltas(std::vector<text::Piece> pieces) {
  std::vector<Delta> deltas;
  for (text::Piece& piece : pieces) {
    if (piece.text.empty() && piece.ids.empty()) continue;
    Delta delta{part_of(piece.part), {}, std::move(piece.ids), {}, {}};
    if (piece.called.empty()) {
      delta.text = std::move(piece.text);
    } else {
      delta.calls.push_back({calls_++, std::move(piece.called), std::move(piece.text)});
    }
    auto& waiting = parts_->waiting;
    if (parts_->with_tokens) {
      auto count = static_cast<std::ptrdiff_t>(std::min(delta.ids.size(), waiting.size()));
      delta.logprobs.assign(std::make_move_iterator(waiting.begin()),
                            std::make_move_iterator(waiting.begin() + count));
      waiting.erase(waiting.begin(), waiting.begin() + count);
    }
    deltas.push_back(std::move(delta));
  }
  return deltas;
}

std::vector<Delta> OutputStream::finish() {
  if (parts_->stops.stopped()) return {};
  std::vector<text::Piece> split;
  parts_->splitter.finish(split);
  std::vector<Delta> deltas = hand_on(std::move(split)).deltas;
  if (parts_->stops.stopped()) return deltas;
  std::vector<text::Piece> held;
  if (parts_->tools) {
    std::vector<text::Piece> parsed;
    parts_->tools->finish(parsed);
    for (text::Piece& part : parsed) parts_->stops.push(std::move(part), held);
  }
  parts_->stops.finish(held);
  for (Delta& delta : to_deltas(std::move(held))) deltas.push_back(std::move(delta));
  return deltas;
}

}  // namespace engine
