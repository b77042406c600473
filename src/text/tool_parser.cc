#include "text/tool_parser.h"

#include <algorithm>

namespace text {
namespace {

constexpr std::string_view spaces = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(spaces) + 1 - first);
}

// V3: "name\n```json\n{…}\n```". False: not of this form.
bool unfence(std::string_view body, std::string_view& name, std::string_view& arguments) {
  constexpr std::string_view open = "```json", close = "```";
  body = trimmed(body);
  const size_t at = body.find(open);
  if (at == std::string_view::npos || !body.ends_with(close)) return false;
  const size_t begin = at + open.size();
  if (body.size() < begin + close.size()) return false;
  name = trimmed(body.substr(0, at));
  arguments = body.substr(begin, body.size() - close.size() - begin);
  return true;
}

// Kimi: "functions.name:0".
std::string_view kimi_name(std::string_view head) {
  if (head.starts_with("functions.")) head.remove_prefix(10);
  return head.substr(0, head.rfind(':'));
}

}  // namespace

ToolMarkup ToolMarkup::of(const Tokenizer& tokenizer, std::string_view template_source) {
  const auto id = [&](std::string_view literal) { return tokenizer.id_of(literal); };
  ToolMarkup deepseek{Kind::plain,
                      id("<｜tool▁calls▁begin｜>"),
                      id("<｜tool▁calls▁end｜>"),
                      id("<｜tool▁call▁begin｜>"),
                      id("<｜tool▁sep｜>"),
                      id("<｜tool▁call▁end｜>")};
  const bool fenced = template_source.find("```json") != std::string_view::npos;
  if (fenced) deepseek.kind = Kind::fenced;
  const ToolMarkup kimi{Kind::kimi,
                        id("<|tool_calls_section_begin|>"),
                        id("<|tool_calls_section_end|>"),
                        id("<|tool_call_begin|>"),
                        id("<|tool_call_argument_begin|>"),
                        id("<|tool_call_end|>")};
  for (const ToolMarkup& markup : {deepseek, kimi}) {
    if (markup.open >= 0 && markup.close >= 0 && markup.call_open >= 0 && markup.separator >= 0 &&
        markup.call_close >= 0) {
      return markup;
    }
  }
  const ToolMarkup tagged{Kind::tagged, -1, -1, id("<tool_call>"), -1, id("</tool_call>")};
  if (tagged.call_open >= 0 && tagged.call_close >= 0) return tagged;
  if (id("<|python_tag|>") >= 0) return {Kind::bare, id("<|python_tag|>")};
  return {};
}

bool ToolMarkup::marks(int32_t id) const {
  return id >= 0 &&
         (id == open || id == close || id == call_open || id == separator || id == call_close);
}

ToolParser::ToolParser(ToolMarkup markup, std::vector<std::string> names, ToolLimits limits)
    : markup_(markup), names_(std::move(names)), limits_(limits) {}

void ToolParser::push(int32_t id, std::string_view text, std::vector<ToolPiece>& out) {
  if (markup_.kind != ToolMarkup::Kind::none && markup_.marks(id)) return mark(id, out);
  if (state_ == State::head || state_ == State::body || state_ == State::bare) {
    std::string& into = state_ == State::head ? head_ : body_;
    // What a bare answer has too much of is still content: it goes out, none of it is lost.
    if (into.size() + text.size() <= limits_.arguments_bytes_max) {
      into += text;
    } else if (state_ == State::bare && !tagged_bare_) {
      out.push_back({-1, {}, std::move(body_) + std::string(text)});
      body_.clear();
      state_ = State::content;
    } else {
      too_large_ = true;
    }
    return;
  }
  if (state_ == State::between) {
    // Inside a section nothing but calls counts; without sections white space is markup's.
    if (markup_.open >= 0 || trimmed(text).empty()) return;
    state_ = State::content;
  }
  if (state_ == State::start && markup_.kind == ToolMarkup::Kind::bare) {
    body_ += text;
    return begin_bare(out);
  }
  if (!text.empty()) out.push_back({-1, {}, std::string(text)});
}

// Llama, no markup yet: the first character that is no space decides.
void ToolParser::begin_bare(std::vector<ToolPiece>& out) {
  const std::string_view rest = trimmed(body_);
  if (rest.empty() && body_.size() <= limits_.arguments_bytes_max) return;
  state_ = rest.starts_with('{') ? State::bare : State::content;
  if (state_ == State::bare) return;
  out.push_back({-1, {}, std::move(body_)});
  body_.clear();
}

void ToolParser::mark(int32_t id, std::vector<ToolPiece>& out) {
  if (markup_.kind == ToolMarkup::Kind::bare) {
    if (state_ != State::start && state_ != State::content) return;
    body_.clear();
    tagged_bare_ = true;
    state_ = State::bare;
  } else if (id == markup_.call_open) {  // in an open call: that one was never closed
    head_.clear();
    body_.clear();
    too_large_ = false;
    state_ = markup_.separator >= 0 ? State::head : State::body;
  } else if (id == markup_.separator) {
    if (state_ == State::head)
      state_ = State::body;
    else if (state_ == State::body)
      too_large_ = true;  // a second one: the call is broken
  } else if (id == markup_.call_close) {
    if (state_ == State::body) end_call(out);
    if (state_ == State::head || state_ == State::body) state_ = State::between;
  } else if (id == markup_.open) {
    state_ = State::between;
  } else if (state_ != State::start) {
    state_ = State::content;  // the section ends, and an open call with it
  }
}

void ToolParser::end_call(std::vector<ToolPiece>& out) {
  if (too_large_) return;
  std::string_view name, arguments = body_;
  switch (markup_.kind) {
    case ToolMarkup::Kind::fenced:
      if (unfence(body_, name, arguments)) give_call(name, arguments, out);
      break;
    case ToolMarkup::Kind::plain:
      give_call(trimmed(head_), arguments, out);
      break;
    case ToolMarkup::Kind::kimi:
      give_call(kimi_name(trimmed(head_)), arguments, out);
      break;
    default:
      give_object(out);
      break;
  }
}

bool ToolParser::give_call(std::string_view name, std::string_view arguments,
                           std::vector<ToolPiece>& out) {
  if (calls_ >= limits_.calls_max || name.empty() || name.size() > limits_.name_bytes_max ||
      std::find(names_.begin(), names_.end(), name) == names_.end()) {
    return false;
  }
  arguments = trimmed(arguments);
  const auto parsed = base::parse_json(arguments, "arguments of a tool call");
  if (!parsed || !parsed->is_object()) return false;
  out.push_back({calls_++, std::string(name), std::string(arguments)});
  return true;
}

bool ToolParser::give_object(std::vector<ToolPiece>& out) {
  const auto parsed = base::parse_json(trimmed(body_), "a tool call");
  if (!parsed || !parsed->is_object()) return false;
  const base::Json* name = parsed->find("name");
  const base::Json* arguments = parsed->find("arguments");
  if (arguments == nullptr) arguments = parsed->find("parameters");
  if (name == nullptr || !name->is_string() || arguments == nullptr) return false;
  return give_call(name->as_string(), arguments->dump(), out);
}

void ToolParser::finish(std::vector<ToolPiece>& out) {
  if (state_ == State::start || state_ == State::bare) {
    const bool call = state_ == State::bare && !too_large_ && give_object(out);
    if (!call && !tagged_bare_ && !body_.empty()) out.push_back({-1, {}, std::move(body_)});
  }
  head_.clear();
  body_.clear();
  state_ = State::content;
}

}  // namespace text
