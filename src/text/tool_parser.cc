#include "text/tool_parser.h"

#include <algorithm>

#include "base/json.h"

namespace text {
namespace {

constexpr std::string_view spaces = " \t\r\n";
constexpr size_t spaces_held_bytes_max = 256;  // more white space is content, not a border

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(spaces) + 1 - first);
}

// How much of the end of `text` may be the beginning of `mark`.
size_t begun(std::string_view text, std::string_view mark) {
  for (size_t length = std::min(text.size(), mark.size() - 1); length > 0; --length) {
    if (text.ends_with(mark.substr(0, length))) return length;
  }
  return 0;
}

// "name\n```json\n{…}\n```", as V3 and R1 write what follows the separator; also without a fence.
void split_fenced(std::string_view body, std::string_view& name, std::string_view& arguments) {
  body = trimmed(body);
  const size_t line = std::min(body.find('\n'), body.size());
  name = trimmed(body.substr(0, line));
  arguments = trimmed(body.substr(line));
  for (const std::string_view fence : {"```json", "```"}) {
    if (!arguments.starts_with(fence)) continue;
    arguments = arguments.substr(fence.size());
    break;
  }
  if (arguments.ends_with("```")) arguments.remove_suffix(3);
}

// "functions.name:0"
std::string_view kimi_name(std::string_view head) {
  constexpr std::string_view prefix = "functions.";
  if (head.starts_with(prefix)) head.remove_prefix(prefix.size());
  return head.substr(0, head.rfind(':'));
}

// The bytes of the object that `text` begins with; 0: it does not end here.
size_t object_bytes(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      return i + 1;
    }
  }
  return 0;
}

const base::Json* arguments_of(const base::Json& call) {
  const base::Json* arguments = call.find("arguments");
  return arguments != nullptr ? arguments : call.find("parameters");
}

}  // namespace

ToolMarkup ToolMarkup::of(const Tokenizer& tokenizer, std::string_view template_source) {
  const auto mentions = [&](std::string_view text) {
    return template_source.find(text) != std::string_view::npos;
  };
  ToolMarkup out;
  if (mentions("<｜tool▁calls▁begin｜>")) {
    out = {Kind::deepseek,
           {{Role::open, "<｜tool▁calls▁begin｜>"},
            {Role::close, "<｜tool▁calls▁end｜>"},
            {Role::call_open, "<｜tool▁call▁begin｜>"},
            {Role::separator, "<｜tool▁sep｜>"},
            {Role::call_close, "<｜tool▁call▁end｜>"},
            {Role::result, "<｜tool▁outputs▁begin｜>"},
            {Role::result, "<｜tool▁output▁begin｜>"}}};
  } else if (mentions("<|tool_calls_section_begin|>")) {
    out = {Kind::kimi,
           {{Role::open, "<|tool_calls_section_begin|>"},
            {Role::close, "<|tool_calls_section_end|>"},
            {Role::call_open, "<|tool_call_begin|>"},
            {Role::separator, "<|tool_call_argument_begin|>"},
            {Role::call_close, "<|tool_call_end|>"}}};
  } else if (mentions("<tool_call>")) {
    out = {Kind::tagged,
           {{Role::call_open, "<tool_call>"},
            {Role::call_close, "</tool_call>"},
            {Role::result, "<tool_response>"}}};
  } else if (mentions("tool_calls") && tokenizer.id_of("<|python_tag|>") >= 0) {
    out = {Kind::bare, {{Role::open, "<|python_tag|>"}}};
  }
  for (Mark& mark : out.marks) mark.id = tokenizer.id_of(mark.text);
  return out;
}

std::vector<int32_t> ToolMarkup::ids() const {
  std::vector<int32_t> out;
  for (const Mark& mark : marks) {
    if (mark.id >= 0) out.push_back(mark.id);
  }
  return out;
}

ToolParser::ToolParser(ToolMarkup markup, std::vector<std::string> names, ToolLimits limits)
    : markup_(std::move(markup)), names_(std::move(names)), limits_(limits) {
  for (const auto& mark : markup_.marks) has_separator_ |= mark.role == Role::separator;
}

void ToolParser::push(Piece piece, std::vector<Piece>& out) {
  const auto mark = std::find_if(markup_.marks.begin(), markup_.marks.end(),
                                 [&](const auto& m) { return m.id >= 0 && m.id == piece.mark; });
  if (piece.mark >= 0 && mark != markup_.marks.end()) {
    read(held_.size(), true, out);
    on_mark(mark->role, out);
    for (const int32_t id : piece.ids) held_.append({}, id);
    swallow(0, out);
    return;
  }
  held_.append_text(piece.text);
  for (const int32_t id : piece.ids) held_.append({}, id);
  scan(out);
}

void ToolParser::finish(std::vector<Piece>& out) {
  finishing_ = true;
  scan(out);
  if (state_ == State::bare) end_bare(out);
  end_call(out);
  swallow(held_.size(), out);
  state_ = State::content;
}

// Marks that are texts part what is held; what may still become one stays.
void ToolParser::scan(std::vector<Piece>& out) {
  while (state_ != State::bare) {
    const std::string_view text = held_.text();
    size_t at = std::string_view::npos;
    const ToolMarkup::Mark* first = nullptr;
    for (const auto& mark : markup_.marks) {
      const size_t found = mark.id >= 0 ? std::string_view::npos : text.find(mark.text);
      if (found >= at) continue;
      at = found;
      first = &mark;
    }
    if (first == nullptr) break;
    const Role role = first->role;
    read(at, true, out);
    swallow(first->text.size(), out);
    on_mark(role, out);
  }
  size_t kept = 0;
  for (const auto& mark : markup_.marks) {
    if (mark.id < 0 && !finishing_) kept = std::max(kept, begun(held_.text(), mark.text));
  }
  read(held_.size() - kept, false, out);
}

// The first `bytes` of what is held are no mark. White space that may turn out to belong to markup
// stays held, unless a mark follows: then it does.
void ToolParser::read(size_t bytes, bool mark_follows, std::vector<Piece>& out) {
  const std::string_view text = std::string_view(held_.text()).substr(0, bytes);
  const size_t first = text.find_first_not_of(spaces);
  if (state_ == State::between && !section_ && first != std::string_view::npos) {
    swallow(first, out);
    state_ = State::content;
    return read(bytes - first, mark_follows, out);
  }
  if (state_ == State::start) {
    if (first == std::string_view::npos && bytes <= spaces_held_bytes_max && !finishing_) {
      if (mark_follows) swallow(bytes, out);
      return;
    }
    const bool object = first != std::string_view::npos && text[first] == '{';
    const bool bare = markup_.kind == ToolMarkup::Kind::bare && object && !names_.empty();
    state_ = bare ? State::bare : State::content;
  }
  if (state_ == State::content) {
    size_t end = text.find_last_not_of(spaces) + 1;
    if (!mark_follows && (finishing_ || bytes - end > spaces_held_bytes_max)) end = bytes;
    give(end, out);
    if (mark_follows) swallow(bytes - end, out);
    return;
  }
  if (state_ == State::bare) {
    if (held_.size() <= limits_.call_bytes_max) return;
    if (!marked_ && !looks_called(held_.text())) {
      state_ = State::content;
      return give(held_.size(), out);
    }
    state_ = State::dropped;
    bytes = held_.size();
  } else if (state_ == State::head || state_ == State::body) {
    std::string& into = state_ == State::head ? head_ : body_;
    broken_ |= into.size() + bytes > limits_.call_bytes_max;
    if (!broken_) into += text;
  }
  swallow(bytes, out);
}

void ToolParser::on_mark(Role role, std::vector<Piece>& out) {
  if (markup_.kind == ToolMarkup::Kind::bare) {
    if (state_ == State::bare) end_bare(out);
    state_ = State::bare;
    marked_ = true;
    return;
  }
  const bool in_call = state_ == State::head || state_ == State::body;
  const bool in_markup = in_call || state_ == State::between;
  switch (role) {
    case Role::separator:
      broken_ |= state_ == State::body;  // a second one
      if (state_ == State::head) state_ = State::body;
      break;
    case Role::call_open:  // in an open call: that one was never closed
      end_call(out);
      state_ = has_separator_ ? State::head : State::body;
      break;
    case Role::call_close:
      end_call(out);
      if (in_markup) state_ = State::between;
      break;
    case Role::close:  // in an open call: what follows may be the rest of it
      end_call(out);
      section_ = false;
      if (in_markup) state_ = in_call ? State::dropped : State::between;
      break;
    case Role::open:
      end_call(out);
      section_ = true;
      state_ = State::between;
      break;
    case Role::result:
      end_call(out);
      section_ = false;
      state_ = State::dropped;
      break;
  }
}

void ToolParser::give(size_t bytes, std::vector<Piece>& out) {
  Piece piece;
  held_.take(bytes, piece);
  if (!piece.text.empty() || !piece.ids.empty()) out.push_back(std::move(piece));
}

void ToolParser::swallow(size_t bytes, std::vector<Piece>& out) {
  Piece piece;
  held_.take(bytes, piece);
  piece.text.clear();
  if (!piece.ids.empty()) out.push_back(std::move(piece));
}

// The open call, if there is one, ends: by its mark, or because another mark or the end of the
// stream proves that none will come.
void ToolParser::end_call(std::vector<Piece>& out) {
  if (state_ == State::body && !broken_) {
    const std::string_view head = trimmed(head_), body = trimmed(body_);
    if (markup_.kind == ToolMarkup::Kind::tagged) {
      give_object(body, out);
    } else if (markup_.kind == ToolMarkup::Kind::kimi) {
      give_call(kimi_name(head), body, out);
    } else if (body.starts_with('{')) {  // V3.1: the name stands before the separator
      give_call(head, body, out);
    } else {  // V3, R1: the type stands there
      std::string_view name, arguments;
      split_fenced(body, name, arguments);
      give_call(name, arguments, out);
    }
  }
  head_.clear();
  body_.clear();
  broken_ = false;
}

void ToolParser::end_bare(std::vector<Piece>& out) {
  std::string_view rest = trimmed(held_.text());
  bool called = false;
  while (const size_t bytes = rest.starts_with('{') ? object_bytes(rest) : 0) {
    if (!give_object(rest.substr(0, bytes), out)) break;
    called = true;
    rest.remove_prefix(bytes);
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t\r\n;,"), rest.size()));
  }
  if (called || marked_ || looks_called(rest)) {
    swallow(held_.size(), out);
  } else {
    give(held_.size(), out);
  }
}

// An object that is no declared call, or that does not end: whether a call was meant.
bool ToolParser::looks_called(std::string_view text) const {
  text = trimmed(text);
  if (const auto parsed = base::parse_json(text, "a tool call")) {
    const base::Json* name = parsed->find("name");
    const base::Json* arguments = arguments_of(*parsed);
    return name != nullptr && name->is_string() && arguments != nullptr && arguments->is_object();
  }
  std::string compact;
  constexpr size_t looked_at_bytes_max = 512;
  for (const char c : text.substr(0, looked_at_bytes_max)) {
    if (spaces.find(c) == std::string_view::npos) compact.push_back(c);
  }
  for (const std::string_view opening : {R"({"name":")", R"({"type":"function","name":")"}) {
    if (opening.starts_with(compact)) return true;
    if (!compact.starts_with(opening)) continue;
    const std::string_view rest = std::string_view(compact).substr(opening.size());
    const size_t quote = rest.find('"');
    const std::string_view name = rest.substr(0, quote);
    if (quote == std::string_view::npos) {
      return std::any_of(names_.begin(), names_.end(),
                         [&](const std::string& n) { return n.starts_with(name); });
    }
    const std::string_view after = rest.substr(quote);
    return std::find(names_.begin(), names_.end(), name) != names_.end() ||
           after.starts_with(R"(","parameters":)") || after.starts_with(R"(","arguments":)");
  }
  return false;
}

bool ToolParser::give_call(std::string_view name, std::string_view arguments,
                           std::vector<Piece>& out) {
  if (calls_ >= limits_.calls_max ||
      std::find(names_.begin(), names_.end(), name) == names_.end()) {
    return false;
  }
  arguments = trimmed(arguments);
  const auto parsed = base::parse_json(arguments, "the arguments of a tool call");
  if (!parsed || !parsed->is_object()) return false;
  ++calls_;
  Piece piece;
  piece.text = arguments;
  piece.called = name;
  out.push_back(std::move(piece));
  return true;
}

bool ToolParser::give_object(std::string_view object, std::vector<Piece>& out) {
  const auto parsed = base::parse_json(object, "a tool call");
  if (!parsed || !parsed->is_object()) return false;
  const base::Json* name = parsed->find("name");
  const base::Json* arguments = arguments_of(*parsed);
  if (name == nullptr || !name->is_string()) return false;
  if (arguments == nullptr) {  // a function without parameters; without marks it is just an object
    const bool marked = markup_.kind == ToolMarkup::Kind::tagged;
    return marked && give_call(name->as_string(), "{}", out);
  }
  // Some models write the arguments as a text that holds the object.
  return give_call(name->as_string(),
                   arguments->is_string() ? arguments->as_string() : arguments->dump(), out);
}

}  // namespace text
