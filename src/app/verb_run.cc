// run: a conversation in the terminal, or one answer; the same engine as the server, in-process.
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <utility>

#include "app/command_line.h"
#include "app/one_engine.h"
#include "base/json.h"

namespace app {
namespace {

constexpr uint64_t ids_bytes_max = 64ull << 20;
constexpr auto signal_poll = std::chrono::milliseconds(30);

struct RunOptions {
  std::string model, system, ids_file;
  std::vector<std::string> words, image_files;
  std::optional<double> temperature, top_p, min_p;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  std::optional<int> tokens_max;  // none: until the context is full
  bool no_think = false, think = false, json = false, exact = false, ignore_end = false;
};

// Collects the events of one request; the engine's thread writes, the terminal's waits.
class Answer {
 public:
  Answer(bool show, bool dim) : show_(show), dim_(dim) {}

  void take(const engine::Event& event) {
    std::lock_guard lock(mutex_);
    if (const auto* delta = std::get_if<engine::Delta>(&event)) {
      add(*delta);
    } else if (const auto* end = std::get_if<engine::End>(&event)) {
      if (in_reasoning_) leave_reasoning();
      end_ = *end;
      done_.notify_all();
    }
  }

  // Waits for the end; a Ctrl-C meanwhile, or a stdout that takes nothing more (the disk is full,
  // the reader has gone), cancels the request.
  engine::End wait(engine::EngineClient& client, uint64_t request) {
    std::unique_lock lock(mutex_);
    const int seen = interrupts_so_far();
    bool cancelled = false;
    while (!done_.wait_for(lock, signal_poll, [&] { return end_.has_value(); })) {
      if ((interrupts_so_far() == seen && !unread_) || cancelled) continue;
      cancelled = true;
      lock.unlock();
      client.cancel(request);
      lock.lock();
    }
    return *end_;
  }

  bool unread() const { return unread_; }
  const std::string& text() const { return text_; }
  const std::string& reasoning() const { return reasoning_; }
  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<engine::Token>& tokens() const { return tokens_; }

 private:
  void add(const engine::Delta& delta) {
    const bool reasoning = delta.part == engine::Part::reasoning;
    (reasoning ? reasoning_ : text_) += delta.text;
    ids_.insert(ids_.end(), delta.ids.begin(), delta.ids.end());
    tokens_.insert(tokens_.end(), delta.logprobs.begin(), delta.logprobs.end());
    if (!show_ || delta.text.empty()) return;
    if (reasoning && !in_reasoning_) {
      in_reasoning_ = true;
      if (dim_) std::fputs("\x1b[2m", stdout);
    } else if (!reasoning && in_reasoning_) {
      leave_reasoning();
    }
    std::fwrite(delta.text.data(), 1, delta.text.size(), stdout);
    if (std::fflush(stdout) != 0) unread_ = true;
  }
  void leave_reasoning() {
    in_reasoning_ = false;
    if (show_) std::fputs(dim_ ? "\x1b[0m\n\n" : "\n\n", stdout);
  }

  const bool show_, dim_;
  bool in_reasoning_ = false, unread_ = false;
  std::string text_, reasoning_;
  std::vector<int32_t> ids_;
  std::vector<engine::Token> tokens_;
  std::optional<engine::End> end_;
  std::mutex mutex_;
  std::condition_variable done_;
};

class Terminal {
 public:
  Terminal(const Session& session, const RunOptions& options, engine::EngineClient& client)
      : session_(session),
        options_(options),
        client_(client),
        colour_(isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr) {
    thinking_ = options.no_think ? engine::Thinking::off
                : options.think  ? engine::Thinking::on
                                 : engine::Thinking::by_default;
    if (!options.system.empty()) set_system(options.system);
  }

  // One prompt, its answer on stdout (or JSON), an exit code.
  base::Result<int> answer_once(engine::Prompt prompt) {
    Answer answer(!options_.json, colour_);
    ASSIGN(const engine::End end, ask(std::move(prompt), answer));
    if (options_.json) {
      print_json(answer, end);
    } else {
      std::fputs("\n", stdout);
    }
    // Whether an unread answer is an error, finish_output() says.
    const bool by_person = end.reason == engine::EndReason::cancelled && !answer.unread();
    if (!by_person) return exit_done;
    std::fprintf(stderr, "%s\n", base::say(session_.language, base::Message::run_stopped).c_str());
    return exit_interrupted;
  }

  // They go with the next question, before its words.
  void attach(std::vector<engine::Picture> pictures) { pictures_ = std::move(pictures); }

  engine::ChatPrompt question(const std::string& text) {
    messages_.push_back(message("user", text));
    messages_.back().pictures = std::exchange(pictures_, {});
    return {messages_, thinking_, {}};
  }

  base::Result<int> converse() {
    const bool person = isatty(STDIN_FILENO) == 1;
    if (person) {
      std::fprintf(stderr, "%s\n", base::say(session_.language, base::Message::run_hint).c_str());
    }
    std::string text;
    while (std::ferror(stdout) == 0 && read_question(person, text)) {
      if (text.empty()) continue;
      if (text[0] == '/') {
        if (!command(text)) break;
        continue;
      }
      if (const auto readable = check_utf8(text, "the question"); !readable) {
        print_error(session_, readable.error());
        continue;
      }
      TRY(turn(text));
    }
    return exit_done;
  }

 private:
  base::Result<void> turn(const std::string& text) {
    Answer answer(true, colour_);
    auto end = ask(question(text), answer);
    if (!end) {
      pictures_ = std::move(messages_.back().pictures);
      messages_.pop_back();
      if (end.error().kind != base::ErrorKind::limit_exceeded) return base::fail(end.error());
      print_error(session_, end.error());
      return {};
    }
    std::fputs("\n\n", stdout);
    if (end->reason == engine::EndReason::cancelled) {
      std::fprintf(stderr, "%s\n",
                   base::say(session_.language, base::Message::run_stopped).c_str());
    }
    if (end->context_full) {
      std::fprintf(stderr, "%s\n",
                   base::say(session_.language, base::Message::run_context_full,
                             client_.models().front().context_tokens)
                       .c_str());
    }
    messages_.push_back(message("assistant", answer.text()));
    messages_.back().reasoning_content = answer.reasoning();
    return {};
  }

  base::Result<engine::End> ask(engine::Prompt prompt, Answer& answer) {
    engine::Request request;
    request.id = ++last_id_;
    request.model = client_.models().front().id;
    request.prompt = std::move(prompt);
    const base::Json defaults = client_.models().front().defaults;
    const auto number = [&](const char* key, std::optional<double> given, double standard) {
      const base::Json* value = defaults.find(key);
      return given                                    ? *given
             : value != nullptr && value->is_number() ? value->as_number()
                                                      : standard;
    };
    request.sampling.temperature = number("temperature", options_.temperature, 0.6);
    request.sampling.top_p = number("top_p", options_.top_p, 0.95);
    request.sampling.min_p = options_.min_p.value_or(0.0);
    request.sampling.top_k = options_.top_k.value_or(0);
    // 63 bits: a program reads the seed back from JSON, where larger numbers lose digits.
    request.sampling.seed = options_.seed ? *options_.seed : base::SystemRandom().u64() >> 1;
    request.tokens_max = options_.tokens_max.value_or(-1);
    request.ignore_end_tokens = options_.ignore_end;
    request.exact = options_.exact;
    if (options_.json) request.logprobs_top = 0;
    TRY(client_.start(std::move(request),
                      [&answer](uint64_t, const engine::Event& event) { answer.take(event); }));
    engine::End end = answer.wait(client_, last_id_);
    if (end.reason == engine::EndReason::failed) return base::fail(end.error);
    return end;
  }

  static void print_json(const Answer& answer, const engine::End& end) {
    base::Json ids = base::Json::array(), logprobs = base::Json::array();
    for (const int32_t id : answer.ids()) ids.push(id);
    for (const engine::Token& token : answer.tokens()) {
      logprobs.push(static_cast<double>(token.chosen.logprob));
    }
    const char* reason = end.reason == engine::EndReason::length      ? "length"
                         : end.reason == engine::EndReason::cancelled ? "cancelled"
                                                                      : "stop";
    base::Json object = base::Json::object({{"text", answer.text()},
                                            {"ids", std::move(ids)},
                                            {"logprobs", std::move(logprobs)},
                                            {"finish_reason", reason},
                                            {"prompt_tokens", end.usage.prompt_tokens},
                                            {"completion_tokens", end.usage.completion_tokens},
                                            {"seed", static_cast<int64_t>(end.usage.seed)}});
    if (!answer.reasoning().empty()) object.set("reasoning", answer.reasoning());
    std::printf("%s\n", object.dump().c_str());
  }

  // A line, or several between two lines of """. False at the end of input.
  static bool read_question(bool person, std::string& text) {
    text.clear();
    if (person) std::fputs(">>> ", stderr);
    std::string line;
    if (!std::getline(std::cin, line)) return false;
    if (line != "\"\"\"") {
      text = line;
      return true;
    }
    while (std::getline(std::cin, line) && line != "\"\"\"") text += line + "\n";
    return true;
  }

  void set_system(const std::string& text) {
    if (!messages_.empty() && messages_.front().role == "system")
      messages_.erase(messages_.begin());
    if (!text.empty()) messages_.insert(messages_.begin(), message("system", text));
  }

  static engine::Message message(const char* role, const std::string& text) {
    engine::Message out;
    out.role = role;
    out.content = text;
    return out;
  }

  // False: leave.
  bool command(const std::string& text) {
    if (text == "/exit" || text == "/bye") return false;
    if (text == "/new") {
      std::erase_if(messages_, [](const auto& message) { return message.role != "system"; });
    } else if (text == "/drop") {
      const size_t first = !messages_.empty() && messages_.front().role == "system" ? 1 : 0;
      for (int i = 0; i < 2 && messages_.size() > first; ++i) {
        messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(first));
      }
    } else if (text.starts_with("/system ")) {
      set_system(text.substr(8));
    } else if (text == "/think on") {
      thinking_ = engine::Thinking::on;
    } else if (text == "/think off") {
      thinking_ = engine::Thinking::off;
    } else {
      std::fprintf(stderr, "%s\n", base::say(session_.language, base::Message::run_help).c_str());
    }
    return true;
  }

  const Session& session_;
  const RunOptions& options_;
  engine::EngineClient& client_;
  const bool colour_;
  engine::Thinking thinking_;
  std::vector<engine::Message> messages_;
  std::vector<engine::Picture> pictures_;
  uint64_t last_id_ = 0;
};

// The question of the command line, or of standard input for "-"; empty if there is none.
base::Result<std::string> read_prompt(const RunOptions& options) {
  std::string prompt;
  for (const std::string& word : options.words) prompt += (prompt.empty() ? "" : " ") + word;
  const bool piped = prompt == "-";
  if (piped) {
    ASSIGN(prompt, read_stdin(ids_bytes_max));
  }
  TRY(check_utf8(prompt, piped ? "standard input" : "the prompt"));
  TRY(check_utf8(options.system, "the system prompt"));
  if (!options.words.empty() && prompt.find_first_not_of(" \t\r\n") == std::string::npos) {
    return base::fail(base::ErrorKind::invalid_input, "the prompt is empty", "",
                      "write a question, or leave it out for a conversation");
  }
  return prompt;
}

base::Result<std::vector<engine::Picture>> read_pictures(const RunOptions& options) {
  std::vector<engine::Picture> out;
  uint64_t bytes = 0;
  for (const std::string& file : options.image_files) {
    ASSIGN(std::string picture, read_text_argument(file, engine::picture_bytes_max));
    bytes += picture.size();
    out.push_back({0, std::move(picture)});
  }
  if (out.size() <= static_cast<size_t>(engine::pictures_seen_max) &&
      bytes <= engine::pictures_bytes_max) {
    return out;
  }
  return base::fail(base::ErrorKind::limit_exceeded, "these are too many pictures",
                    fmt::format("a prompt has at most {} of them, and {} bytes of all",
                                engine::pictures_seen_max, engine::pictures_bytes_max),
                    "give fewer or smaller ones");
}

base::Result<void> check_sees(const engine::ModelStatus& model) {
  if (model.sees) return {};
  return base::fail(base::ErrorKind::unsupported,
                    fmt::format("the model {} cannot see pictures", base::shown_name(model.id)),
                    "it has no part that looks at them", "ask a Janus-Pro model");
}

base::Result<int> run_model(const Session& session, const RunOptions& options) {
  end_on_interrupt(session);
  if (!options.ids_file.empty() && !options.words.empty()) {
    return base::fail(base::ErrorKind::wrong_usage, "there are two prompts",
                      "--ids continues token ids, and a question was given too",
                      "give one of them");
  }
  if (!options.ids_file.empty() && !options.image_files.empty()) {
    return base::fail(base::ErrorKind::wrong_usage, "--ids takes no picture",
                      "a picture has its place in a chat, and ids are taken as they are",
                      "ask a question with --image");
  }
  std::shared_ptr<media::PictureReader> reader;
  if (!options.image_files.empty()) {  // before anything foreign has been read
    ASSIGN(reader, media::start_picture_reader());
  }
  ASSIGN(const std::string prompt, read_prompt(options));
  ASSIGN(std::vector<engine::Picture> pictures, read_pictures(options));
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto client,
         open_one_engine(session, stored,
                         {.exact = options.exact, .drawn = 0, .pictures = std::move(reader)}));
  if (!pictures.empty()) {
    TRY(check_sees(client->models().front()));
  }
  count_interrupts();
  if (stored.starter && isatty(STDERR_FILENO) == 1) {
    std::fprintf(stderr, "%s\n",
                 base::say(session.language, base::Message::starter_note, stored.name,
                           distill_suggestion(machine_memory_bytes()))
                     .c_str());
  }
  Terminal terminal(session, options, *client);
  terminal.attach(std::move(pictures));
  if (!options.ids_file.empty()) {
    ASSIGN(const std::string json, read_text_argument(options.ids_file, ids_bytes_max));
    ASSIGN(std::vector<int32_t> ids, parse_ids(json, options.ids_file));
    return terminal.answer_once(engine::IdsPrompt{std::move(ids)});
  }
  if (prompt.empty()) return terminal.converse();
  if (!client->models().front().has_template) {
    return terminal.answer_once(engine::TextPrompt{prompt, true});
  }
  return terminal.answer_once(terminal.question(prompt));
}

}  // namespace

void add_run(CommandLine& line, Session& session) {
  auto options = std::make_shared<RunOptions>();
  Verb verb = line.verb(
      "run", "talk to a model in the terminal, or get one answer",
      "  nautile run smollm2\n  nautile run ./model.gguf 'Why is the sea salty?' --temp 0\n"
      "  nautile run ./janus-pro-1b 'What is in it?' --image photo.jpg");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.option("PROMPT", options->words, "one question; none: a conversation; -: stdin");
  verb.option("--temp", options->temperature,
              "temperature, 0 picks the likeliest token; without it what the model's makers "
              "advise, else 0.6")
      .range(0.0, 2.0);
  verb.option("--top-p", options->top_p,
              "nucleus; without it what the model's makers advise, else 0.95")
      .range(0.0, 1.0);
  verb.option("--top-k", options->top_k, "only the k likeliest; 0: off").range(0, 1 << 20);
  verb.option("--min-p", options->min_p, "least share of the likeliest").range(0.0, 1.0);
  verb.option("--seed", options->seed, "the same seed gives the same answer");
  verb.option("--max-tokens", options->tokens_max,
              "new tokens at most; without it, until the context is full")
      .range(0, 1 << 24);
  verb.option("--system", options->system, "system prompt");
  const Option think =
      verb.flag("--think", options->think, "think first, where the model can choose");
  verb.flag("--no-think", options->no_think, "answer at once, where the model can choose")
      .excludes(think);
  verb.option("--image", options->image_files,
              "a PNG, JPEG or WebP file that the first question is about; may be repeated; "
              "-: stdin")
      .repeated();
  verb.option("--ids", options->ids_file,
              "in place of PROMPT, a file with a JSON array of token ids to go on from, "
              "without the chat template; -: stdin");
  verb.flag("--json", options->json, "one JSON object: text, ids, logprobs, usage");
  verb.flag("--exact", options->exact, "f32 activations on decoded weights (slow)");
  verb.flag("--ignore-eos", options->ignore_end, "go on after an end token");
  for (const char* key : {"threads", "context", "isa", "memory", "speculation"}) verb.setting(key);
  verb.runs([&session, options] { return run_model(session, *options); });
}

}  // namespace app
