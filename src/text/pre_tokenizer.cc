#include "text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <span>

#include "text/patterns.h"
#include "text/scanners.h"

namespace text {

using base::ErrorKind;
using base::fail;
using base::Result;

namespace {

constexpr size_t steps_max = 16;
constexpr size_t samples_max = 16;
constexpr size_t known_instructions_min = 16;  // of the programs of all `known_scanners`
// What an expression may need on a probe of `check_cost`, of 300 characters: enough for work that
// grows with the square of a run, not for more.
constexpr uint64_t probe_steps_max = 1'000'000;

// `P?C{1,most}`, where P and C are classes: no alternatives, so no stack.
class RunSplitting final : public Splitting {
 public:
  RunSplitting(const CharClass* prefix, const CharClass& members, uint32_t most)
      : prefix_(prefix ? std::optional(*prefix) : std::nullopt), members_(members), most_(most) {}

  void split(std::string_view text, RegexBudget&, FragmentSink sink) const override {
    size_t gap = 0;
    for (size_t at = 0; at < text.size();) {
      const Decoded d = decode_at(text, at);
      const size_t end = match(text, at, d);
      if (end == at) {
        at += d.bytes;
        continue;
      }
      if (at > gap) sink(text.substr(gap, at - gap));
      sink(text.substr(at, end - at));
      gap = at = end;
    }
    if (gap < text.size()) sink(text.substr(gap));
  }

 private:
  size_t match(std::string_view text, size_t at, Decoded d) const {
    if (prefix_ && prefix_->contains(d.code_point)) {
      const size_t end = run(text, at + d.bytes);
      if (end > at + d.bytes) return end;
    }
    return members_.contains(d.code_point) ? run(text, at) : at;
  }
  size_t run(std::string_view text, size_t at) const {
    for (uint32_t count = 0; count < most_ && at < text.size(); ++count) {
      const Decoded d = decode_at(text, at);
      if (!members_.contains(d.code_point)) break;
      at += d.bytes;
    }
    return at;
  }
  std::optional<CharClass> prefix_;
  CharClass members_;
  uint32_t most_;
};

// `C+$`: what of a run of C reaches the end of a line. Backtracking would try a long run in the
// middle of a text once from each of its characters.
class RunToEndSplitting final : public Splitting {
 public:
  explicit RunToEndSplitting(const CharClass& members) : members_(members) {}

  void split(std::string_view text, RegexBudget&, FragmentSink sink) const override {
    size_t gap = 0;
    for (size_t at = 0; at < text.size();) {
      size_t run_end = at, end = at;  // `end`: the last place in the run where a line ends
      while (run_end < text.size()) {
        const Decoded d = decode_at(text, run_end);
        if (!members_.contains(d.code_point)) break;
        if (text[run_end] == '\n' && run_end > at) end = run_end;
        run_end += d.bytes;
      }
      if (run_end > at && (run_end == text.size() || text[run_end] == '\n')) end = run_end;
      if (end > at) {
        if (at > gap) sink(text.substr(gap, at - gap));
        sink(text.substr(at, end - at));
        gap = at = end;
      } else {
        at = run_end > at ? run_end : at + decode_at(text, at).bytes;
      }
    }
    if (gap < text.size()) sink(text.substr(gap));
  }

 private:
  CharClass members_;
};

template <size_t (*scan)(std::string_view, size_t)>
class ScannerSplitting final : public Splitting {
 public:
  void split(std::string_view text, RegexBudget&, FragmentSink sink) const override {
    size_t gap = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = scan(text, at);
      if (end == at) {
        at += decode_at(text, at).bytes;
        continue;
      }
      if (at > gap) sink(text.substr(gap, at - gap));
      sink(text.substr(at, end - at));
      gap = at = end;
    }
    if (gap < text.size()) sink(text.substr(gap));
  }
};

class EngineSplitting final : public Splitting {
 public:
  explicit EngineSplitting(Regex regex) : regex_(std::move(regex)) {}
  const Regex& regex() const { return regex_; }

  void split(std::string_view text, RegexBudget& budget, FragmentSink sink) const override {
    size_t gap = 0;
    size_t last_end = std::string_view::npos;
    for (size_t at = 0; at <= text.size();) {
      const auto match = regex_.find(text, at, budget);
      if (!match) break;
      const auto [begin, end] = *match;
      if (begin == end && end == last_end) {  // nothing, right after a match: move on
        if (end == text.size()) break;
        at = end + decode_at(text, end).bytes;
        continue;
      }
      if (begin > gap) sink(text.substr(gap, begin - gap));
      if (end > begin) sink(text.substr(begin, end - begin));
      gap = at = last_end = end;
    }
    if (gap < text.size()) sink(text.substr(gap));
  }

 private:
  Regex regex_;
};

// Refuses an expression that needs absurdly many steps: it is run on repeats of characters that
// its own classes contain, which is where bad backtracking shows. Short repeats too: an expression
// may be quick as soon as there is enough of them.
Result<void> check_cost(const EngineSplitting& splitting, const Regex& regex,
                        std::string_view pattern) {
  std::vector<uint32_t> samples;
  for (const Regex::Instruction& in : regex.program()) {
    if (in.op != Regex::Op::set && in.op != Regex::Op::run) continue;
    const auto& ranges = regex.char_set(in.a).ranges();
    if (ranges.empty() || samples.size() >= samples_max) continue;
    const uint32_t sample = ranges.front().first;
    if (std::ranges::find(samples, sample) == samples.end()) samples.push_back(sample);
  }
  for (const uint32_t sample : samples) {
    for (const size_t length : {20, 45, 300}) {
      std::string text;
      for (size_t i = 0; i < length; ++i) append_utf8(text, sample);
      text += sample == '!' ? "?" : "!";
      RegexBudget budget(probe_steps_max);
      splitting.split(text, budget, [](std::string_view) {});
      if (budget.steps_left > 0) continue;
      return fail(
          ErrorKind::limit_exceeded,
          fmt::format("regular expression {}", base::shown_name(pattern)),
          fmt::format("it needs more than {} steps for {} characters", probe_steps_max, length + 1),
          "use a tokenizer without this expression");
    }
  }
  return {};
}

Result<std::unique_ptr<const Splitting>> on_engine(Regex regex, std::string_view pattern) {
  auto made = std::make_unique<EngineSplitting>(std::move(regex));
  TRY(check_cost(*made, made->regex(), pattern));
  return std::unique_ptr<const Splitting>(std::move(made));
}

template <size_t (*scan)(std::string_view, size_t)>
std::unique_ptr<const Splitting> make_scanner() {
  return std::make_unique<ScannerSplitting<scan>>();
}
using ScannerMaker = std::unique_ptr<const Splitting> (*)();
struct KnownScanner {
  std::string_view pattern;
  ScannerMaker make;
};
constexpr std::array known_scanners = {
    KnownScanner{patterns::gpt2, make_scanner<scanners::gpt2>},
    KnownScanner{patterns::llama3, make_scanner<scanners::llama3>},
    KnownScanner{patterns::qwen2, make_scanner<scanners::qwen2>},
    KnownScanner{patterns::deepseek_v3, make_scanner<scanners::deepseek_v3>}};

// The plain form, or nothing if the program has another.
std::unique_ptr<const Splitting> run_form(const Regex& regex) {
  using Op = Regex::Op;
  const auto& program = regex.program();
  if (program.size() == 3 && program[1].op == Op::line_end && program[0].op == Op::run &&
      program[0].least == 1 && program[0].most == UINT32_MAX) {
    return std::make_unique<RunToEndSplitting>(regex.char_class(program[0].a));
  }
  const bool prefixed = program.size() == 3 && program[0].op == Op::run && program[0].least == 0 &&
                        program[0].most == 1;
  if (!prefixed && program.size() != 2) return nullptr;
  const Regex::Instruction& last = program[prefixed ? 1 : 0];
  const bool single = last.op == Op::set;
  if (!single && (last.op != Op::run || last.least != 1)) return nullptr;
  return std::make_unique<RunSplitting>(prefixed ? &regex.char_class(program[0].a) : nullptr,
                                        regex.char_class(last.a), single ? 1 : last.most);
}

// One expression for each step.
std::vector<std::string_view> expressions_of(const TokenizerSpec& spec) {
  using StepKind = PreTokenizerStep::Kind;
  std::vector<std::string_view> expressions;
  for (const PreTokenizerStep& step : spec.pre_tokenizer) {
    switch (step.kind) {
      case StepKind::split_isolated:
        expressions.push_back(step.pattern);
        break;
      case StepKind::byte_level_gpt2:
        expressions.push_back(patterns::gpt2);
        break;
      case StepKind::digits_individual:
        expressions.push_back(patterns::digit);
        break;
      case StepKind::digits_together:
        expressions.push_back(patterns::digits);
        break;
    }
  }
  return expressions;
}

}  // namespace

Result<std::unique_ptr<const Splitting>> make_engine_splitting(std::string_view pattern) {
  ASSIGN(Regex regex, Regex::compile(pattern));
  return on_engine(std::move(regex), pattern);
}

Result<std::unique_ptr<const Splitting>> make_splitting(std::string_view pattern) {
  ASSIGN(Regex regex, Regex::compile(pattern));
  if (auto plain = run_form(regex)) return plain;
  if (regex.program().size() < known_instructions_min) return on_engine(std::move(regex), pattern);
  for (const KnownScanner& known : known_scanners) {
    ASSIGN(const Regex same, Regex::compile(known.pattern));
    if (regex.same_as(same)) return known.make();
  }
  return on_engine(std::move(regex), pattern);
}

std::vector<std::string_view> patterns_of(std::string_view name) {
  namespace p = patterns;
  const auto among = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
  };
  if (among({"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-code", "roberta-bpe", "gigachat",
             "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"})) {
    return {p::gpt2};
  }
  if (among({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
             "lfm2", "dbrx", "smaug-bpe", "chatglm-bpe", "glm4"})) {
    return {p::llama3};
  }
  if (among({"qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "solar-open"})) {
    return {p::qwen2};
  }
  if (among({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"})) {
    return {p::digit, p::gpt2};
  }
  if (among({"deepseek-v3", "hunyuan-dense", "joyai-llm"})) {
    return {p::digits_by_three, p::deepseek_v3_cjk, p::deepseek_v3};
  }
  if (name == "deepseek-coder") {
    return {p::newline, p::space_letters, p::space_punctuation, p::deepseek_cjk, p::digit};
  }
  if (name == "deepseek-llm") {
    return {p::newline,        p::deepseek_llm_letters, p::deepseek_llm_punctuation,
            p::trailing_space, p::deepseek_cjk,         p::digits};
  }
  if (name == "tekken") return {p::tekken};
  if (among({"gpt-4o", "llama4"})) return {p::gpt4o};
  return {};
}

std::string pre_tokenizer_name_of(const TokenizerSpec& spec) {
  if (spec.pre_tokenizer.empty()) return spec.pre_tokenizer_name;
  const auto compile_all = [](std::span<const std::string_view> expressions) {
    std::vector<Regex> compiled;
    for (const std::string_view expression : expressions) {
      auto regex = Regex::compile(expression);
      if (regex) compiled.push_back(std::move(*regex));
    }
    return compiled;
  };
  const std::vector<Regex> wanted = compile_all(expressions_of(spec));
  if (wanted.size() != spec.pre_tokenizer.size()) return "";
  for (const std::string_view name : {"llama-bpe", "qwen2", "deepseek-v3", "deepseek-llm",
                                      "deepseek-coder", "smollm", "gpt-2", "tekken", "gpt-4o"}) {
    const std::vector<Regex> known = compile_all(patterns_of(name));
    if (std::equal(wanted.begin(), wanted.end(), known.begin(), known.end(),
                   [](const Regex& a, const Regex& b) { return a.same_as(b); })) {
      return std::string(name);
    }
  }
  return "";
}

Result<PreTokenizer> PreTokenizer::make(const TokenizerSpec& spec) {
  std::vector<std::string_view> expressions = expressions_of(spec);
  if (spec.pre_tokenizer.empty() && !spec.pre_tokenizer_name.empty()) {
    expressions = patterns_of(spec.pre_tokenizer_name);
    if (expressions.empty()) {
      return fail(ErrorKind::unsupported,
                  fmt::format("pre-tokenizer {}", base::shown_name(spec.pre_tokenizer_name)),
                  "its expressions are not known, and guessing them would tokenise wrongly",
                  "use a file made by a newer converter, or the model's tokenizer.json");
    }
  }
  if (expressions.size() > steps_max) {
    return fail(ErrorKind::limit_exceeded, "pre-tokenizer",
                fmt::format("it has {} steps; at most {} are run", expressions.size(), steps_max));
  }
  PreTokenizer made;
  for (const std::string_view expression : expressions) {
    ASSIGN(auto step, make_splitting(expression));
    made.steps_.push_back(std::move(step));
  }
  return made;
}

void PreTokenizer::split_from(size_t step, std::string_view text, RegexBudget& budget,
                              FragmentSink sink) const {
  if (step == steps_.size()) {
    sink(text);
    return;
  }
  steps_[step]->split(text, budget, [&](std::string_view fragment) {
    split_from(step + 1, fragment, budget, sink);
  });
}

}  // namespace text
