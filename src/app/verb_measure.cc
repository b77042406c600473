// logits and perplexity: the model's numbers for a given text, to be held against another
// implementation.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/row_runner.h"
#include "base/json.h"

namespace app {
namespace {

constexpr uint64_t input_bytes_max = 256ull << 20;

struct LogitsOptions {
  std::string model, ids_file, rows = "last", head = "text", out;
  bool exact = false;
};

constexpr const char* rows_advice =
    "say --rows all, --rows last, or numbers with commas between them: --rows 0,5,9";

base::Result<std::set<int>> parse_rows(const std::string& text, int count) {
  std::set<int> rows;
  if (text == "last") {
    rows.insert(count - 1);
  } else if (text == "all") {
    for (int i = 0; i < count; ++i) rows.insert(i);
  } else {
    const auto listed = parse_ids("[" + text + "]", "--rows");
    if (!listed || listed->empty()) {
      return base::fail(base::ErrorKind::wrong_usage,
                        "--rows " + base::shown_name(text) + " is not a list of rows", "",
                        rows_advice);
    }
    for (const int32_t row : *listed) {
      if (row >= count) {
        return base::fail(base::ErrorKind::wrong_usage, fmt::format("there is no row {}", row),
                          fmt::format("the input has rows 0 to {}", count - 1), rows_advice);
      }
      rows.insert(row);
    }
  }
  return rows;
}

base::Result<int> write_logits(const Session& session, const LogitsOptions& options) {
  if (options.head != "text" && options.head != "mtp") {
    return base::fail(base::ErrorKind::wrong_usage,
                      "there is no head " + base::shown_name(options.head), "",
                      "use --head text or --head mtp");
  }
  const model::Head head = options.head == "mtp" ? model::Head::mtp : model::Head::text;
  ASSIGN(const std::string json, read_text_argument(options.ids_file, input_bytes_max));
  ASSIGN(const std::vector<int32_t> ids, parse_ids(json, options.ids_file));
  if (ids.empty()) {
    return base::fail(base::ErrorKind::invalid_input, options.ids_file + " has no ids", "",
                      "give at least one");
  }
  const int positions = static_cast<int>(ids.size()) - (head == model::Head::mtp ? 1 : 0);
  if (positions < 1) {
    return base::fail(base::ErrorKind::invalid_input, options.ids_file + " has a single id",
                      "the head mtp speaks about two ids after each but the last",
                      "give at least two");
  }
  ASSIGN(const std::set<int> rows, parse_rows(options.rows, positions));
  ASSIGN(OneShot opened,
         open_one_shot(session, {options.model, options.exact, static_cast<int>(ids.size()), 1,
                                 chunk_tokens, head == model::Head::mtp}));
  if (head == model::Head::mtp && !opened.runner->info().mtp) {
    return base::fail(base::ErrorKind::unsupported, "this model has no head mtp",
                      "its file has no layer that predicts one token more", "use --head text");
  }
  TRY(check_ids(ids, opened.runner->info().vocab));
  const bool to_stdout = options.out == "-";
  std::FILE* file = to_stdout ? stdout : std::fopen(options.out.c_str(), "wb");
  const auto cannot_write = [&] {
    const int reason = errno;
    const bool full = reason == ENOSPC || reason == EDQUOT || reason == EFBIG;
    return base::fail(full ? base::ErrorKind::out_of_disk : base::ErrorKind::io,
                      "cannot write " + options.out, std::strerror(reason),
                      full ? "free some space and try again"
                           : "choose a file in a directory that exists and may be written");
  };
  if (file == nullptr) return cannot_write();
  const int64_t start_ns = session.clock.monotonic_ns();
  auto done = run_rows(
      opened, ids, head, [&](int position) { return rows.contains(position); },
      [&](int, std::span<const float> row) -> base::Result<void> {
        if (std::fwrite(row.data(), sizeof(float), row.size(), file) == row.size()) return {};
        return cannot_write();
      });
  const double seconds = static_cast<double>(session.clock.monotonic_ns() - start_ns) / 1e9;
  const bool closed = to_stdout || std::fclose(file) == 0;
  TRY(done);
  if (!closed) return cannot_write();
  const std::string summary = base::Json::object({{"rows", static_cast<int64_t>(rows.size())},
                                                  {"vocab", opened.runner->info().vocab},
                                                  {"seconds", seconds}})
                                  .dump();
  std::fprintf(to_stdout ? stderr : stdout, "%s\n", summary.c_str());
  return exit_done;
}

struct PerplexityOptions {
  std::string model, text_file, ids_file;
  int context_tokens = 2048;
  bool top1 = false, exact = false;
};

base::Result<std::vector<int32_t>> input_ids(const PerplexityOptions& options,
                                             const format::ModelFiles& files) {
  if (!options.ids_file.empty()) {
    ASSIGN(const std::string json, read_text_argument(options.ids_file, input_bytes_max));
    return parse_ids(json, options.ids_file);
  }
  ASSIGN(const std::string text, read_text_argument(options.text_file, input_bytes_max));
  return encode_text(files, text, options.text_file);
}

base::Result<int> print_perplexity(const Session& session, const PerplexityOptions& options) {
  if (options.text_file.empty() == options.ids_file.empty()) {
    return base::fail(base::ErrorKind::wrong_usage,
                      "nothing says what is measured, or two things do", "",
                      "give either --text FILE or --ids FILE");
  }
  ASSIGN(OneShot opened, open_one_shot(session, {options.model, options.exact,
                                                 options.context_tokens, 1, chunk_tokens}));
  ASSIGN(const std::vector<int32_t> ids, input_ids(options, *opened.files));
  TRY(check_ids(ids, opened.runner->info().vocab));
  if (ids.size() < 2) {
    return base::fail(base::ErrorKind::invalid_input, "the text is too short",
                      "at least two tokens are needed", "give a longer one");
  }
  std::vector<int32_t> best;
  ASSIGN(const double mean,
         mean_nll(opened, ids, options.context_tokens, options.top1 ? &best : nullptr));
  base::Json object = base::Json::object(
      {{"tokens", static_cast<int64_t>(ids.size())}, {"nll_mean", mean}, {"ppl", std::exp(mean)}});
  if (options.top1) {
    base::Json top1 = base::Json::array();
    for (const int32_t id : best) top1.push(id);
    object.set("top1", std::move(top1));
  }
  std::printf("%s\n", object.dump().c_str());
  return exit_done;
}

}  // namespace

void add_measure(CommandLine& line, Session& session) {
  auto logits = std::make_shared<LogitsOptions>();
  Verb verb = line.verb(
      "logits", "write the model's logits for given ids, as little-endian f32",
      "  nautile logits smollm2 --ids ids.json --rows last --out logits.f32\n"
      "  nautile logits ./model.gguf --ids ids.json --rows 0,5,9 --exact --out logits.f32");
  verb.option("MODEL", logits->model, "name, file or directory").required();
  verb.option("--ids", logits->ids_file,
              "file with a JSON array of token ids ([1, 2, 3]), the model's input; -: stdin")
      .required();
  verb.option("--rows", logits->rows,
              "positions of the input whose logits are written, counted from 0: 0,5,9; "
              "or all, or last");
  verb.option("--head", logits->head,
              "text: predicts the next id; mtp: the id after it, where the model has that "
              "layer");
  verb.option("--out", logits->out,
              "file to write: one row of little-endian f32, as many as the vocabulary, for "
              "each position; -: stdout, and the summary goes to stderr")
      .required();
  verb.flag("--exact", logits->exact, "f32 activations on decoded weights (slow)");
  for (const char* key : {"threads", "isa", "memory"}) verb.setting(key);
  verb.runs([&session, logits] { return write_logits(session, *logits); });

  auto perplexity = std::make_shared<PerplexityOptions>();
  verb = line.verb("perplexity", "measure how well the model predicts a text",
                   "  nautile perplexity smollm2 --text wiki.txt\n"
                   "  nautile perplexity ./model.gguf --ids ids.json --ctx 2048 --top1");
  verb.option("MODEL", perplexity->model, "name, file or directory").required();
  verb.option("--text", perplexity->text_file, "file with the text, in UTF-8; -: stdin");
  verb.option("--ids", perplexity->ids_file,
              "in place of --text, a file with a JSON array of token ids; -: stdin");
  verb.option("--ctx", perplexity->context_tokens,
              "tokens of a window; windows follow each other, each begins without the others")
      .range(2, 1 << 20);
  verb.flag("--top1", perplexity->top1, "also the likeliest id after each position");
  verb.flag("--exact", perplexity->exact, "f32 activations on decoded weights (slow)");
  for (const char* key : {"threads", "isa", "memory"}) verb.setting(key);
  verb.runs([&session, perplexity] { return print_perplexity(session, *perplexity); });
}

}  // namespace app
