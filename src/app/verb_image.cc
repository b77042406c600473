// image: pictures that a model draws, saved as PNG; or one that was drawn before, decoded again
// from its codes.
#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <mutex>
#include <unistd.h>

#include "app/command_line.h"
#include "app/one_engine.h"
#include "base/json.h"

namespace app {
namespace {

constexpr uint64_t prompt_bytes_max = 64 * 1024;
constexpr uint64_t codes_bytes_max = 1 << 20;
constexpr auto signal_poll = std::chrono::milliseconds(30);

struct ImageOptions {
  std::string model, out, codes_out, codes_file;
  std::vector<std::string> words;
  int pictures = 1;
  std::optional<uint64_t> seed;
  double guidance = 5.0, temperature = 1.0;
  bool json = false, exact = false;
};

// The events of one request; the engine's thread writes, the verb's takes.
class Drawing {
 public:
  void take(const engine::Event& event) {
    std::lock_guard lock(mutex_);
    if (const auto* row = std::get_if<engine::SketchRow>(&event)) {
      if (row->picture == 0) row_ = row->row + 1;
      rows_ = row->rows;
    } else if (const auto* drawn = std::get_if<engine::Drawn>(&event)) {
      drawn_.push_back(*drawn);
    } else if (const auto* end = std::get_if<engine::End>(&event)) {
      end_ = *end;
    }
    changed_.notify_all();
  }

  struct News {
    int row = 0, rows = 0;
    std::vector<engine::Drawn> drawn;
    std::optional<engine::End> end;
  };
  // What has come since the last call; waits a moment for it.
  News wait() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, signal_poll,
                      [&] { return end_.has_value() || !drawn_.empty() || row_ != row_told_; });
    News out{row_, rows_, {drawn_.begin(), drawn_.end()}, end_};
    row_told_ = row_;
    drawn_.clear();
    return out;
  }

 private:
  int row_ = 0, row_told_ = 0, rows_ = 0;
  std::deque<engine::Drawn> drawn_;
  std::optional<engine::End> end_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

// One line of stderr, where a person looks at it.
class ProgressLine {
 public:
  explicit ProgressLine(const Session& session)
      : session_(session), shown_(isatty(STDERR_FILENO) == 1) {
    put(base::say(session_.language, base::Message::image_reading));
  }
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void row(int row, int rows) {
    if (row == row_ || row == 0) return;
    row_ = row;
    put(base::say(session_.language, base::Message::image_row, row, rows));
  }
  void clear() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
  }

 private:
  void put(const std::string& text) {
    if (shown_) std::fprintf(stderr, "\r\x1b[K%s", text.c_str());
  }
  const Session& session_;
  const bool shown_;
  int row_ = 0;
};

// "a.png" of several: "a-1.png", "a-2.png".
std::string numbered(const std::string& path, int index, int count) {
  if (count == 1) return path;
  const std::filesystem::path whole(path);
  std::filesystem::path out = whole.parent_path() / whole.stem();
  out += fmt::format("-{}", index + 1);
  out += whole.extension();
  return out.string();
}

// A name that says another kind of picture would mislead whoever opens it.
base::Result<void> check_ending(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  for (const std::string_view other :
       {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif", ".tiff"}) {
    if (ending != other) continue;
    return base::fail(base::ErrorKind::wrong_usage, path + " would be a PNG all the same",
                      "pictures are saved as PNG, with the seed in them",
                      "give a name that ends with .png");
  }
  return {};
}

// Before minutes are spent on what nobody could keep.
base::Result<void> check_place(const std::string& path) {
  if (path.empty() || path == "-") return {};
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return base::fail(base::ErrorKind::wrong_usage, path + " is a directory", "",
                      "give the name of a file");
  }
  if (::access(folder.c_str(), W_OK) == 0) return {};
  return base::fail(base::ErrorKind::io, "cannot write " + path, std::strerror(errno),
                    "choose a file in a directory that exists and may be written");
}

// The grid as --codes-out writes it: a JSON array, row after row; nested rows are taken too.
base::Result<std::vector<int32_t>> read_codes(const std::string& file) {
  ASSIGN(const std::string text, read_text_argument(file, codes_bytes_max));
  ASSIGN(const base::Json json, parse_input(text, file, "a JSON array of codes"));
  base::Json flat = base::Json::array();
  const bool nested = json.is_array() && !json.as_array().empty() && json.as_array()[0].is_array();
  if (nested) {
    for (const base::Json& row : json.as_array()) {
      for (const base::Json& code : row.is_array() ? row.as_array() : base::Json::Array{row}) {
        flat.push(code);
      }
    }
  }
  ASSIGN(std::vector<int32_t> codes, parse_ids((nested ? flat : json).dump(), file));
  if (!codes.empty()) return codes;
  return base::fail(base::ErrorKind::invalid_input, file + " has no codes", "it is an empty array",
                    "give the grid of one picture, as --codes-out writes it");
}

base::Result<std::string> read_prompt(const ImageOptions& options) {
  std::string prompt;
  for (const std::string& word : options.words) prompt += (prompt.empty() ? "" : " ") + word;
  const bool piped = prompt == "-";
  if (piped) {
    ASSIGN(prompt, read_stdin(prompt_bytes_max));
  }
  TRY(check_utf8(prompt, piped ? "standard input" : "the prompt"));
  const bool empty = prompt.find_first_not_of(" \t\r\n") == std::string::npos;
  if (!options.codes_file.empty()) {
    if (options.words.empty()) return prompt;
    return base::fail(base::ErrorKind::wrong_usage, "--codes and a prompt exclude each other",
                      "codes are decoded as they are", "give one of them");
  }
  if (!empty) return prompt;
  return base::fail(base::ErrorKind::wrong_usage, "the prompt is empty", "",
                    "say what is to be drawn, for example 'a lighthouse in the fog'");
}

class Pictures {
 public:
  Pictures(const Session& session, const ImageOptions& options, engine::EngineClient& client)
      : session_(session), options_(options), client_(client) {}

  base::Result<int> draw(engine::DrawPrompt prompt) {
    const uint64_t seed =
        options_.seed ? *options_.seed : base::SystemRandom().below(uint64_t{1} << 31);
    engine::Request request;
    request.id = 1;
    request.model = client_.models().front().id;
    request.prompt = std::move(prompt);
    request.sampling.temperature = options_.temperature;
    request.sampling.seed = seed;
    request.exact = options_.exact;
    Drawing drawing;
    TRY(client_.start(std::move(request),
                      [&drawing](uint64_t, const engine::Event& event) { drawing.take(event); }));
    const engine::End end = follow(drawing);
    if (end.reason == engine::EndReason::failed) return base::fail(end.error);
    if (options_.json) print_json(end);
    if (end.reason == engine::EndReason::cancelled && !lost_) {
      std::fprintf(stderr, "%s\n",
                   base::say(session_.language, base::Message::image_stopped, saved_,
                             options_.pictures, seed)
                       .c_str());
      return exit_interrupted;
    }
    if (lost_) return base::fail(*lost_);
    return exit_done;
  }

 private:
  // Saves each picture as soon as it is there: what is done stays, whatever happens to the next.
  engine::End follow(Drawing& drawing) {
    ProgressLine progress(session_);
    const int seen = interrupts_so_far();
    bool cancelled = false;
    for (;;) {
      Drawing::News news = drawing.wait();
      progress.row(news.row, news.rows);
      for (const engine::Drawn& one : news.drawn) {
        progress.clear();
        keep(one);
      }
      if (news.end) return *news.end;
      if (cancelled || interrupts_so_far() == seen) continue;
      cancelled = true;
      client_.cancel(1);
    }
  }

  void keep_codes(const engine::Drawn& drawn) {
    if (options_.codes_out.empty()) return;
    const auto done = write_output(numbered(options_.codes_out, drawn.picture, options_.pictures),
                                   codes_json(drawn.codes).dump() + "\n");
    if (done || lost_) return;
    lost_ = done.error();
    lost_->next = fmt::format(
        "the picture itself is written; for its codes make room or choose another place with "
        "--codes-out, then draw it again with --seed {}",
        drawn.seed);
  }

  void keep(const engine::Drawn& drawn) {
    const std::string path = options_.out.empty()
                                 ? fmt::format("nautile-{}.png", drawn.seed)
                                 : numbered(options_.out, drawn.picture, options_.pictures);
    if (const auto done = write_output(path, drawn.png); !done) {
      base::Error error = done.error();
      error.next = fmt::format(
          "make room or choose another place with -o, then draw it again with "
          "--seed {}",
          drawn.seed);
      if (!lost_) lost_ = std::move(error);
      return;
    }
    ++saved_;
    keep_codes(drawn);
    told_.push(base::Json::object({{"file", path},
                                   {"seed", static_cast<int64_t>(drawn.seed)},
                                   {"codes", static_cast<int64_t>(drawn.codes.size())}}));
    const std::string line =
        base::say(session_.language, base::Message::image_saved, path, drawn.seed);
    std::fprintf(options_.json || path == "-" ? stderr : stdout, "%s\n", line.c_str());
    std::fflush(stdout);
  }

  static base::Json codes_json(const std::vector<int32_t>& codes) {
    base::Json out = base::Json::array();
    for (const int32_t code : codes) out.push(code);
    return out;
  }

  void print_json(const engine::End& end) {
    print_line(base::Json::object({{"pictures", std::move(told_)},
                                   {"prompt_tokens", end.usage.prompt_tokens},
                                   {"completion_tokens", end.usage.completion_tokens},
                                   {"prompt_ms", end.usage.prompt_ms},
                                   {"decode_ms", end.usage.decode_ms}})
                   .dump());
  }

  const Session& session_;
  const ImageOptions& options_;
  engine::EngineClient& client_;
  int saved_ = 0;
  std::optional<base::Error> lost_;  // the first picture that could not be kept
  base::Json told_ = base::Json::array();
};

base::Result<void> check_outputs(const ImageOptions& options) {
  if (options.out == "-" && (options.pictures > 1 || options.json)) {
    return base::fail(base::ErrorKind::wrong_usage, "standard output takes one picture and no text",
                      "-o - was given with --n or --json", "give a file with -o");
  }
  TRY(check_ending(options.out));
  TRY(check_place(options.out.empty() ? "nautile.png" : options.out));
  return check_place(options.codes_out);
}

base::Result<engine::DrawPrompt> prompt_of(const ImageOptions& options) {
  engine::DrawPrompt out;
  ASSIGN(out.text, read_prompt(options));
  out.pictures = options.pictures;
  out.guidance = options.guidance;
  if (options.codes_file.empty()) return out;
  if (options.pictures != 1) {
    return base::fail(base::ErrorKind::wrong_usage, "--codes decodes one picture",
                      "--n asks for several", "leave --n out");
  }
  ASSIGN(out.codes, read_codes(options.codes_file));
  return out;
}

base::Result<int> draw_images(const Session& session, const ImageOptions& options) {
  end_on_interrupt(session);
  ASSIGN(engine::DrawPrompt prompt, prompt_of(options));
  TRY(check_outputs(options));
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto client,
         open_one_engine(session, stored,
                         {.exact = options.exact, .drawn = options.pictures, .pictures = nullptr}));
  const engine::ModelStatus model = client->models().front();
  if (model.drawn_side == 0) {
    return base::fail(base::ErrorKind::unsupported,
                      fmt::format("the model {} cannot draw pictures", base::shown_name(model.id)),
                      "it makes text alone", "take a Janus-Pro model");
  }
  count_interrupts();
  return Pictures(session, options, *client).draw(std::move(prompt));
}

}  // namespace

void add_image(CommandLine& line, Session& session) {
  auto options = std::make_shared<ImageOptions>();
  Verb verb =
      line.verb("image", "draw pictures with Janus-Pro",
                "  nautile image ./janus-pro-1b 'a lighthouse in the fog' -o lighthouse.png\n"
                "  nautile image ./janus-pro-1b 'a lighthouse in the fog' --n 4 --seed 7");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.option("PROMPT", options->words, "what is to be drawn; -: stdin");
  verb.option("--n", options->pictures, "how many pictures, each with the next seed")
      .range(1, engine::pictures_drawn_max);
  verb.option("--seed", options->seed, "the same seed gives the same picture")
      .range(int64_t{0}, static_cast<int64_t>(engine::drawing_seed_max));
  verb.option("--cfg", options->guidance, "weight of the text against no text")
      .range(0.0, engine::guidance_max);
  verb.option("--temp", options->temperature, "temperature, 0 takes the likeliest codes")
      .range(0.0, 2.0);
  verb.option("-o,--output", options->out,
              "PNG to write, of several FILE-1.png, FILE-2.png …; without it "
              "nautile-SEED.png; -: stdout");
  verb.option("--codes-out", options->codes_out,
              "also write the codes of the picture, a JSON array row after row");
  verb.option("--codes", options->codes_file,
              "in place of PROMPT, a file with such an array: it is decoded, nothing is drawn; "
              "-: stdin");
  verb.flag("--json", options->json, "one JSON object: files, seeds, usage");
  verb.flag("--exact", options->exact, "f32 activations on decoded weights (slow)");
  for (const char* key : {"threads", "isa", "memory"}) verb.setting(key);
  verb.runs([&session, options] { return draw_images(session, *options); });
}

}  // namespace app
