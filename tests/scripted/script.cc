#include "scripted/script.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "api/sketch_png.h"

namespace scripted {
namespace {

constexpr int64_t second_us = 1'000'000;
constexpr int count_max = 200'000;
constexpr int percents = 100;

constexpr const char* words[] = {
    "deep",  "water", "holds", "the",    "light", "of",    "a",     "small", "lamp",  "and",
    "slow",  "hull",  "turns", "toward", "cold",  "sand",  "where", "old",   "stone", "sleeps",
    "under", "salt",  "grey",  "weight", "that",  "bends", "each",  "line",  "to",    "rest"};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

uint64_t mixed(uint64_t seed, uint64_t index) {
  uint64_t z = seed * 0x9e3779b97f4a7c15ull + index * 0xbf58476d1ce4e5b9ull + 0x94d049bb133111ebull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  return z ^ (z >> 31);
}

// Words in sentences of twelve and paragraphs of sixty, so that a page has something to lay out.
std::string nth_word(uint64_t seed, int index) {
  std::string word = words[mixed(seed, static_cast<uint64_t>(index)) % std::size(words)];
  if (index % 12 == 0) word[0] = static_cast<char>(word[0] - 'a' + 'A');
  if (index % 12 == 11) word += '.';
  if (index == 0) return word;
  return (index % 60 == 0 ? "\n\n" : " ") + word;
}

// The words of one step.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  std::string_view next() {
    while (!text_.empty() && is_space(text_.front())) text_.remove_prefix(1);
    size_t end = 0;
    while (end < text_.size() && !is_space(text_[end])) ++end;
    const std::string_view word = text_.substr(0, end);
    text_.remove_prefix(end);
    return word;
  }
  std::string_view rest() const { return text_; }
  // The number after `name`, wherever it stands in what is left.
  double after(std::string_view name, double otherwise) const {
    Reader copy(text_);
    for (std::string_view word = copy.next(); !word.empty(); word = copy.next()) {
      if (word == name) return std::atof(std::string(copy.next()).c_str());
    }
    return otherwise;
  }
  int first_number(int otherwise) const {
    Reader copy(text_);
    const std::string word(copy.next());
    if (word.empty() || word[0] < '0' || word[0] > '9') return otherwise;
    return std::clamp(std::atoi(word.c_str()), 0, count_max);
  }

 private:
  std::string_view text_;
};

class Builder {
 public:
  explicit Builder(uint64_t seed) : seed_(seed) {}

  // False: no such step.
  bool add(std::string_view line) {
    Reader reader(line);
    const std::string_view verb = reader.next();
    if (verb == "queue") return queue(reader);
    if (verb == "load") return load(reader);
    if (verb == "read") return read(reader);
    if (verb == "think") return stream(reader, engine::Part::reasoning);
    if (verb == "stream") return stream(reader, engine::Part::answer);
    if (verb == "pause") return wait(reader.first_number(1));
    if (verb == "hold") return push({Step::Kind::hold, 0, {}, false});
    if (verb == "gate") return push({Step::Kind::gate, 0, {}, false});
    if (verb == "die") return push({Step::Kind::die, 0, {}, false});
    if (verb == "stop") return end(engine::EndReason::stop, false);
    if (verb == "length") return end(engine::EndReason::length, false);
    if (verb == "full") return end(engine::EndReason::length, true);
    if (verb == "fail") return end(engine::EndReason::failed, false);
    if (verb == "sketch") return sketch(reader);
    if (verb == "refuse") return script.refused = true;
    if (verb == "context") {
      script.tokens_per_exchange = reader.first_number(0);
      return true;
    }
    return false;
  }

  void say(std::string_view text) {
    Reader reader(text);
    double rate = 200;
    Reader peek = reader;
    if (peek.next() == "at") {
      rate = rate_of(reader);
      reader.next();
      reader.next();
    }
    std::string_view rest = reader.rest();
    if (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    for (const std::string& piece : pieces_of(std::string(rest))) {
      emit(piece, engine::Part::answer, rate);
    }
  }

  // From now on "sketch" draws; what it leaves out comes at the end.
  void draw(int pictures) { pictures_ = pictures; }
  void finish_drawing() {
    while (rows_drawn_ < drawn_grid) sketch_row(200);
    for (int i = 0; i < pictures_; ++i) {
      const uint64_t seed = seed_ + static_cast<uint64_t>(i);
      engine::Drawn event;
      event.picture = i;
      event.seed = seed;
      std::string colours;
      for (int row = 0; row < drawn_grid; ++row) colours += colours_of(seed, row);
      event.png = api::sketch_png(drawn_grid, colours, drawn_side);
      event.codes.assign(drawn_grid * drawn_grid, static_cast<int32_t>(seed % 1000));
      push({Step::Kind::event, 20'000, std::move(event), false});
    }
  }

  Script script;

 private:
  // A sky, a moon somewhere, the sea.
  static std::string colours_of(uint64_t seed, int row) {
    const int moon_x = 3 + static_cast<int>(mixed(seed, 1) % 18);
    const int moon_y = 3 + static_cast<int>(mixed(seed, 2) % 8);
    const int warm = static_cast<int>(mixed(seed, 3) % 90);
    std::string out;
    for (int x = 0; x < drawn_grid; ++x) {
      const int dx = x - moon_x, dy = row - moon_y;
      const bool moon = dx * dx + dy * dy<8, sea = row> 15;
      const int wave = static_cast<int>(mixed(seed, static_cast<uint64_t>(row * 100 + x)) % 24);
      out += static_cast<char>(moon ? 245 : sea ? 20 + wave : 40 + warm + row * 4);
      out += static_cast<char>(moon ? 225 : sea ? 70 + wave : 60 + row * 6);
      out += static_cast<char>(moon ? 160 : sea ? 110 + wave : 130 + row * 3);
    }
    return out;
  }
  void sketch_row(double rate) {
    for (int i = 0; i < pictures_; ++i) {
      engine::SketchRow event;
      event.picture = i;
      event.row = rows_drawn_;
      event.rows = drawn_grid;
      event.colours = colours_of(seed_ + static_cast<uint64_t>(i), rows_drawn_);
      const auto delay_us = static_cast<int64_t>(i == 0 ? second_us / rate : 0);
      push({Step::Kind::event, delay_us, std::move(event), false});
    }
    ++rows_drawn_;
  }
  bool sketch(const Reader& reader) {
    const int count = reader.first_number(1);
    for (int i = 0; i < count && rows_drawn_ < drawn_grid; ++i) sketch_row(rate_of(reader));
    return true;
  }

  // "still [at F]": the one part of `parts` that is to be said; -1: all of them, in their time.
  static int still_at(const Reader& reader, int parts) {
    Reader copy(reader);
    for (std::string_view word = copy.next(); !word.empty(); word = copy.next()) {
      if (word != "still") continue;
      return std::clamp(static_cast<int>(copy.after("at", 0) * parts / 100), 0, parts);
    }
    return -1;
  }
  static double rate_of(const Reader& reader) {
    return std::clamp(reader.after("at", 200), 0.1, 100'000.0);
  }
  bool push(Step step) {
    step.delay_us += carried_us_;
    carried_us_ = 0;
    script.steps.push_back(std::move(step));
    return true;
  }
  bool wait(double seconds) {
    carried_us_ += static_cast<int64_t>(seconds * second_us);
    return true;
  }
  bool queue(const Reader& reader) {
    const int places = std::clamp(reader.first_number(1), 1, 100);
    const double seconds = reader.after("for", places);
    const auto each_us = static_cast<int64_t>(seconds * second_us / places);
    const int still = still_at(reader, places - 1);
    for (int place = places; place >= 1; --place) {
      if (still >= 0 && place != places - still) continue;
      const int64_t left_ms = each_us * place / 1000;
      push({Step::Kind::event, 0, engine::Queued{place, left_ms * 8 / 10, left_ms * 12 / 10},
            false});
      if (still < 0) carried_us_ += each_us;
    }
    return true;
  }
  bool load(const Reader& reader) {
    const double seconds = reader.after("for", 2);
    const auto all_us = static_cast<int64_t>(seconds * second_us);
    const int still = still_at(reader, percents);
    const int parts = still >= 0 ? percents : 10;
    for (int i = 0; i <= parts; ++i) {
      if (still >= 0 && i != still) continue;
      push({Step::Kind::event, 0,
            engine::Loading{"scripted", all_us * (parts - i) / parts / 1000,
                            static_cast<double>(i) / parts},
            false});
      if (still < 0 && i < parts) carried_us_ += all_us / parts;
    }
    return true;
  }
  bool read(const Reader& reader) {
    const int total = reader.first_number(100);
    const double seconds = reader.after("for", 1);
    const int still = still_at(reader, percents);
    const int parts = still >= 0 ? percents : 10;
    for (int i = 0; i <= parts; ++i) {
      if (still >= 0 && i != still) continue;
      push({Step::Kind::event, 0, engine::Reading{total * i / parts, total, 0}, false});
      if (still < 0 && i < parts) carried_us_ += static_cast<int64_t>(seconds * second_us / parts);
    }
    return true;
  }
  bool stream(const Reader& reader, engine::Part part) {
    const int count = reader.first_number(24);
    const double rate = rate_of(reader);
    for (int i = 0; i < count; ++i) emit(nth_word(seed_, index_++), part, rate);
    return true;
  }
  void emit(std::string text, engine::Part part, double rate) {
    engine::Delta delta;
    delta.part = part;
    delta.text = std::move(text);
    const bool reasoning = part == engine::Part::reasoning;
    push({Step::Kind::event, static_cast<int64_t>(second_us / rate), std::move(delta), reasoning});
  }
  bool end(engine::EndReason reason, bool full) {
    engine::End event;
    event.reason = reason;
    event.context_full = full;
    if (reason == engine::EndReason::failed) {
      event.error = {base::ErrorKind::internal, "the script says that this one fails", "", ""};
    }
    return push({Step::Kind::event, 0, std::move(event), false});
  }

  uint64_t seed_;
  int index_ = 0;
  int pictures_ = 0, rows_drawn_ = 0;
  int64_t carried_us_ = 0;
};

}  // namespace

std::vector<std::string> pieces_of(const std::string& text) {
  constexpr size_t piece_bytes_max = 16;
  std::vector<std::string> out;
  std::string piece;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool word_ends = !piece.empty() && is_space(text[i]) && !is_space(piece.back());
    const bool full = piece.size() >= piece_bytes_max && starts_character(text[i]);
    if (word_ends || full) {
      out.push_back(std::move(piece));
      piece.clear();
    }
    piece += text[i];
  }
  if (!piece.empty()) out.push_back(std::move(piece));
  return out;
}

namespace {

constexpr std::string_view mark = "/script";

void add_steps(Builder& builder, const std::string& prompt) {
  std::string_view rest = std::string_view(prompt).substr(mark.size());
  while (!rest.empty()) {
    Reader reader(rest);
    if (reader.next() == "say") {
      builder.say(reader.rest());
      break;
    }
    const size_t end = std::min(rest.find_first_of(";\n"), rest.size());
    builder.add(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

}  // namespace

Script script_of(const std::string& prompt, uint64_t seed) {
  Builder builder(seed);
  if (prompt.starts_with(mark)) {
    add_steps(builder, prompt);
  } else {
    builder.add("stream 24 at 200");
  }
  return std::move(builder.script);
}

Script drawing_of(const engine::DrawPrompt& prompt, uint64_t seed) {
  Builder builder(seed);
  builder.draw(prompt.pictures);
  if (prompt.text.starts_with(mark)) add_steps(builder, prompt.text);
  builder.finish_drawing();
  return std::move(builder.script);
}

}  // namespace scripted
