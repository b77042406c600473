// verify: the model on this machine against what a trusted implementation answered for it.
//
// Judged is what a difference means. In exact mode, with the weights that the vectors were computed
// with, every logit must agree to their tolerance. In all other cases the numbers differ rightly,
// because of activations in int8 and of weights with fewer bits: then the mean divergence (KL, in
// nats) may not pass a bound that depends on the bits of a weight. A model that is computed wrongly
// is far beyond it, by whole nats. Of a model that sees and draws the same is asked of the logits
// of codes; of what it makes of pictures, that the difference is a small share of the numbers; of
// the pixels of given codes, that they differ by the last level.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <unordered_map>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/row_runner.h"
#include "app/vectors.h"
#include "app/verify_pictures.h"
#include "base/json.h"

namespace app {
namespace {

constexpr uint64_t text_bytes_max = 64 << 20;
constexpr int written_rows_max = 96;
constexpr double clear_margin = 1.0;  // logits between the first and the second
// Logits of codes: guidance multiplies what differs between two rows, and with it the divergence.
constexpr double codes_kl_factor = 16;
// Of pixels: the last level, by rounding; on the average of them where weights were rounded too.
constexpr double levels_worst_max = 1, levels_mean_max = 0.5;
constexpr const char* own_description = "a lighthouse in the fog";

struct VerifyOptions {
  std::string model, vectors, out, ids_file, text_file, image_file, draw, origin;
  std::optional<double> kl_max;
  bool exact = false, json = false;
};

struct Agreement {
  int rows = 0, logits = 0;
  int top1 = 0, clear = 0, clear_top1 = 0;  // clear: the reference's first leads by clear_margin
  double worst = 0;
  int worst_prompt = 0, worst_position = 0;
  double kl_sum = 0, kl_worst = 0;
  int followed = 0;  // rows whose next id both sides judge
  double nll_reference = 0, nll_here = 0;
  int tokens = 0;
  double seconds = 0;
  // Of codes that were drawn: how far below the likeliest one here the reference's is.
  int codes = 0, codes_same = 0;
  double behind = 0;

  double kl_mean() const { return rows > 0 ? kl_sum / rows : 0; }
};

// Divergence of what is here from the reference; what the reference does not list is one lump.
double divergence(const VectorRow& wanted, std::span<const float> row, double log_sum) {
  constexpr double least = 1e-12;
  double kl = 0, p_listed = 0, q_listed = 0;
  for (size_t i = 0; i < wanted.ids.size(); ++i) {
    const double log_p = wanted.logits[i] - wanted.log_sum;
    const double log_q = row[static_cast<size_t>(wanted.ids[i])] - log_sum;
    kl += std::exp(log_p) * (log_p - log_q);
    p_listed += std::exp(log_p);
    q_listed += std::exp(log_q);
  }
  const double p_rest = 1 - p_listed, q_rest = std::max(1 - q_listed, least);
  if (p_rest > 1e-6 && wanted.ids.size() < row.size()) kl += p_rest * std::log(p_rest / q_rest);
  return std::max(kl, 0.0);
}

// `next`: the id that follows; -1: none that is judged.
void compare_row(size_t number, const VectorRow& wanted, int32_t next, std::span<const float> row,
                 Agreement& agreement) {
  const double log_sum = log_sum_of(row);
  for (size_t i = 0; i < wanted.ids.size(); ++i) {
    const double off = std::fabs(row[static_cast<size_t>(wanted.ids[i])] - wanted.logits[i]);
    ++agreement.logits;
    if (is_worse(off, agreement.worst)) {
      agreement.worst = off;
      agreement.worst_prompt = static_cast<int>(number);
      agreement.worst_position = wanted.position;
    }
    if (next == wanted.ids[i]) {
      ++agreement.followed;
      agreement.nll_reference += wanted.log_sum - wanted.logits[i];
      agreement.nll_here += log_sum - row[static_cast<size_t>(wanted.ids[i])];
    }
  }
  const auto best = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
  const bool same = best == wanted.ids.front();
  const bool clear = wanted.logits.size() > 1 && wanted.logits[0] - wanted.logits[1] > clear_margin;
  const double kl = divergence(wanted, row, log_sum);
  ++agreement.rows;
  agreement.top1 += same ? 1 : 0;
  agreement.clear += clear ? 1 : 0;
  agreement.clear_top1 += clear && same ? 1 : 0;
  agreement.kl_sum += kl;
  if (is_worse(kl, agreement.kl_worst)) agreement.kl_worst = kl;
}

// What was found of each kind.
struct Findings {
  Agreement text, codes;
  Closeness embeds, levels;
};

base::Result<void> compare_prompt(const Session& session, OneShot& opened,
                                  const VectorPrompt& prompt, size_t number,
                                  std::span<const ShownRows> shown, Agreement& agreement) {
  TRY(check_ids(prompt.ids, opened.runner->info().vocab));
  std::unordered_map<int, const VectorRow*> rows;
  for (const VectorRow& row : prompt.rows) {
    TRY(check_ids(row.ids, opened.runner->info().vocab));
    rows[row.position] = &row;
  }
  // Up to the last row that is compared, but never through the middle of a picture.
  int count = prompt.rows.back().position + 1;
  for (const ShownRows& picture : shown) {
    if (picture.begin < count) count = std::max(count, picture.begin + picture.count);
  }
  const auto read = std::find_if(shown.begin(), shown.end(),
                                 [&](const ShownRows& picture) { return picture.begin >= count; });
  const int64_t start_ns = session.clock.monotonic_ns();
  TRY(run_rows(
      opened, std::span(prompt.ids).first(static_cast<size_t>(count)), model::Head::text,
      [&](int position) { return rows.contains(position); },
      [&](int position, std::span<const float> row) -> base::Result<void> {
        const auto next = static_cast<size_t>(position) + 1;
        compare_row(number, *rows[position], next < prompt.ids.size() ? prompt.ids[next] : -1, row,
                    agreement);
        return {};
      },
      std::span(shown.begin(), read)));
  agreement.seconds += static_cast<double>(session.clock.monotonic_ns() - start_ns) / 1e9;
  agreement.tokens += count;
  return {};
}

// Each step goes on from the reference's codes, so that it is judged alone.
base::Result<void> compare_drawing(OneShot& opened, const VectorDrawing& drawing, size_t number,
                                   Agreement& agreement) {
  const model::ModelInfo& info = opened.runner->info();
  TRY(check_ids(drawing.with_text, info.vocab));
  TRY(check_ids(drawing.without_text, info.vocab));
  TRY(check_codes(drawing.codes, info.image_codes));
  std::unordered_map<int, const VectorRow*> rows;
  for (const VectorRow& row : drawing.rows) {
    TRY(check_codes(row.ids, info.image_codes));
    rows[row.position] = &row;
  }
  return run_codes(opened, drawing.with_text, drawing.without_text, drawing.guidance,
                   static_cast<int>(drawing.codes.size()),
                   [&](int step, std::span<const float> row) -> base::Result<int32_t> {
                     if (rows.contains(step)) {
                       compare_row(number, *rows[step], -1, row, agreement);
                     }
                     const int32_t code = drawing.codes[static_cast<size_t>(step)];
                     const auto best = std::max_element(row.begin(), row.end());
                     const double behind = *best - row[static_cast<size_t>(code)];
                     ++agreement.codes;
                     agreement.codes_same += best - row.begin() == code ? 1 : 0;
                     if (is_worse(behind, agreement.behind)) agreement.behind = behind;
                     return code;
                   });
}

base::Result<Findings> compare(const Session& session, OneShot& opened,
                               media::PictureReader* reader, const Vectors& vectors, bool exact) {
  Findings found;
  std::vector<std::vector<float>> pictures;
  int picture_tokens = 0;
  if (vectors.of_pictures()) {
    ASSIGN(Eyes eyes, Eyes::open(session, opened, exact));
    picture_tokens = eyes.info().tokens;
    ASSIGN(pictures, compare_pictures(eyes, *reader, vectors, found.embeds));
    TRY(compare_grids(eyes, vectors, found.levels));
  }
  for (size_t number = 0; number < vectors.prompts.size(); ++number) {
    const VectorPrompt& prompt = vectors.prompts[number];
    ASSIGN(const auto shown, places_of(prompt, picture_tokens, pictures));
    TRY(compare_prompt(session, opened, prompt, number, shown, found.text));
  }
  for (size_t number = 0; number < vectors.drawings.size(); ++number) {
    TRY(compare_drawing(opened, vectors.drawings[number], number, found.codes));
  }
  return found;
}

// Beside the program when it stands in a build folder, else where it is installed.
std::vector<std::string> vector_folders() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const auto folder = program.parent_path();
  return {(folder / "share" / "vectors").string(),
          (folder.parent_path() / "share" / "nautile" / "vectors").string()};
}

bool names(std::string_view text, std::string_view part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) ==
                  std::tolower(static_cast<unsigned char>(b));
         }) != text.end();
}

bool is_of(const VectorModel& wanted, const format::ModelConfig& config) {
  return wanted.architecture == config.architecture && wanted.layers == config.layers &&
         wanted.hidden == config.hidden && wanted.vocab == config.vocab &&
         wanted.codes == (config.janus && wanted.codes > 0 ? config.janus->drawing.codes : 0);
}

// The shipped vectors of this model: its numbers agree, and the vectors' name is a part of the
// model's name or path.
base::Result<std::string> find_vectors(const format::ModelConfig& config, const std::string& path) {
  for (const std::string& folder : vector_folders()) {
    std::error_code error;
    std::vector<std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    for (const std::string& file : files) {
      ASSIGN(const std::string json, read_file(file, vector_limits::file_bytes_max));
      ASSIGN(const Vectors vectors, parse_vectors(json, file));
      if (!is_of(vectors.model, config)) continue;
      if (names(config.name, vectors.model.name) || names(path, vectors.model.name)) return file;
    }
  }
  return base::fail(base::ErrorKind::not_found, "no reference vectors are known for this model",
                    "none that come with the program have its name and its sizes",
                    "give a file with --vectors, or make one on a machine that you trust: "
                    "nautile verify MODEL --write FILE");
}

base::Result<Vectors> load_vectors(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return read_vector_folder(path);
  ASSIGN(const std::string json, read_file(path, vector_limits::file_bytes_max));
  return parse_vectors(json, path);
}

base::Result<void> check_model(const Vectors& vectors, const format::ModelConfig& config,
                               const std::string& path) {
  const VectorModel& wanted = vectors.model;
  if (wanted.architecture.empty() || is_of(wanted, config)) return {};
  return base::fail(
      base::ErrorKind::invalid_input,
      fmt::format("{}: these vectors are of another model", base::shown_name(path)),
      fmt::format("they are of {}: {}, {} layers of {}, {} ids; this one is {}, {} of {}, {}",
                  base::shown_name(wanted.name), base::shown_name(wanted.architecture),
                  wanted.layers, wanted.hidden, wanted.vocab, config.architecture, config.layers,
                  config.hidden, config.vocab),
      "give the vectors of this model");
}

// How far a model may be from the reference, by the bits that its weights have.
double kl_bound(double bits) {
  return bits >= 7.5 ? 0.03 : bits >= 5.5 ? 0.08 : bits >= 4.0 ? 0.25 : bits >= 3.2 ? 0.6 : 1.5;
}

// And what it makes of a picture, by the bits of the tower's weights: a share of the numbers.
double embeds_bound(double bits) { return bits >= 7.5 ? 0.05 : bits >= 5.5 ? 0.12 : 0.3; }

bool is_of_tower(const format::TensorInfo& tensor) {
  return tensor.name.starts_with("vision.") || tensor.name.starts_with("aligner.");
}

double bits_per_weight(const format::ModelFiles& files, bool of_tower) {
  double bytes = 0, weights = 0;
  for (const format::TensorInfo& tensor : files.tensors()) {
    if (of_tower && !is_of_tower(tensor)) continue;
    double count = 1;
    for (const uint64_t length : tensor.shape) count *= static_cast<double>(length);
    bytes += static_cast<double>(tensor.bytes);
    weights += count;
  }
  return weights > 0 ? 8 * bytes / weights : 0;
}

struct Check {
  const char* part;  // as --json names it
  base::Message label;
  bool by_tolerance;
  double value, bound;
  bool passed() const { return value <= bound; }  // NaN does not
};

// The first is that of text.
using Verdict = std::vector<Check>;
bool passed(const Verdict& verdict) {
  return std::all_of(verdict.begin(), verdict.end(),
                     [](const Check& check) { return check.passed(); });
}

Verdict judge(const VerifyOptions& options, const Vectors& vectors,
              const format::ModelConfig& config, const format::ModelFiles& files,
              const Findings& found) {
  const double bits = bits_per_weight(files, false);
  const bool plain = bits > 15;  // F32, F16 and BF16 say the same numbers
  const bool same = vectors.weights == config.quantization || (vectors.weights == "F32" && plain);
  const bool exactly = options.exact && same && !options.kl_max;
  const double kl_max = options.kl_max.value_or(kl_bound(bits));
  Verdict verdict;
  const auto add = [&](const char* part, base::Message label, double tolerance, double worst,
                       double otherwise, double bound) {
    const bool by_tolerance = exactly && tolerance > 0;
    verdict.push_back({part, label, by_tolerance, by_tolerance ? worst : otherwise,
                       by_tolerance ? tolerance : bound});
  };
  add("text", base::Message::verify_text, vectors.tolerance, found.text.worst, found.text.kl_mean(),
      kl_max);
  if (found.embeds.count > 0) {
    add("embeds", base::Message::verify_embeds, vectors.tolerance_embeds, found.embeds.worst,
        found.embeds.share(), embeds_bound(bits_per_weight(files, true)));
  }
  if (found.codes.rows > 0) {
    const double behind = found.codes.behind;
    const double worst = std::isnan(behind) ? behind : std::max(found.codes.worst, behind);
    add("codes", base::Message::verify_codes, vectors.tolerance_codes, worst, found.codes.kl_mean(),
        codes_kl_factor * kl_max);
  }
  if (found.levels.count > 0) {
    add("levels", base::Message::verify_levels, levels_worst_max, found.levels.worst,
        found.levels.mean(), levels_mean_max);
  }
  return verdict;
}

void add_pictures(const Findings& found, const Verdict& verdict, base::Json& json) {
  if (found.embeds.count > 0) {
    json.set("embeds", base::Json::object({{"numbers", found.embeds.count},
                                           {"worst_difference", found.embeds.worst},
                                           {"share", found.embeds.share()}}));
  }
  if (found.codes.rows > 0) {
    json.set("codes", base::Json::object({{"rows", found.codes.rows},
                                          {"codes", found.codes.codes},
                                          {"same", found.codes.codes_same},
                                          {"worst_difference", found.codes.worst},
                                          {"worst_behind", found.codes.behind},
                                          {"kl_mean", found.codes.kl_mean()}}));
  }
  if (found.levels.count > 0) {
    json.set("levels", base::Json::object({{"levels", found.levels.count},
                                           {"worst_difference", found.levels.worst},
                                           {"mean_difference", found.levels.mean()}}));
  }
  base::Json checks = base::Json::array();
  for (const Check& check : verdict) {
    checks.push(base::Json::object({{"part", check.part},
                                    {"by_tolerance", check.by_tolerance},
                                    {"value", check.value},
                                    {"bound", check.bound},
                                    {"passed", check.passed()}}));
  }
  json.set("checks", std::move(checks));
}

base::Json report_json(const std::string& path, const Vectors& vectors, const Findings& found,
                       const Verdict& verdict) {
  const Agreement& agreement = found.text;
  base::Json json = base::Json::object(
      {{"vectors", path},
       {"origin", vectors.origin},
       {"weights", vectors.weights},
       {"prompts", static_cast<int64_t>(vectors.prompts.size())},
       {"rows", agreement.rows},
       {"logits", agreement.logits},
       {"worst_difference", agreement.worst},
       {"top1_agreement", static_cast<double>(agreement.top1) / std::max(agreement.rows, 1)},
       {"kl_mean", agreement.kl_mean()},
       {"kl_worst", agreement.kl_worst},
       {"tokens", agreement.tokens},
       {"tokens_per_s", agreement.tokens / std::max(agreement.seconds, 1e-9)},
       {"judged_by", verdict.front().by_tolerance ? "worst_difference" : "kl_mean"},
       {"bound", verdict.front().bound},
       {"passed", passed(verdict)}});
  if (agreement.followed > 0) {
    json.set("ppl_reference", std::exp(agreement.nll_reference / agreement.followed));
    json.set("ppl", std::exp(agreement.nll_here / agreement.followed));
  }
  if (vectors.of_pictures()) add_pictures(found, verdict, json);
  return json;
}

using Line = std::function<void(base::Message, const std::string&)>;

void print_pictures(const Line& line, const Findings& found) {
  if (found.embeds.count > 0) {
    line(base::Message::verify_embeds,
         fmt::format("{:.3g} ({:.3g} %)", found.embeds.worst, 100 * found.embeds.share()));
  }
  if (found.codes.rows > 0) {
    line(base::Message::verify_codes,
         fmt::format("{:.3g} ({:.3g}), {} / {}", found.codes.worst, found.codes.kl_mean(),
                     found.codes.codes_same, found.codes.codes));
  }
  if (found.levels.count > 0) {
    line(base::Message::verify_levels,
         fmt::format("{:.0f} ({:.3g})", found.levels.worst, found.levels.mean()));
  }
}

// Of a model of text the figure alone, as there is one.
void print_verdict(const Session& session, const Verdict& verdict) {
  for (const Check& check : verdict) {
    if (verdict.size() > 1) {
      std::printf("%-28s ", base::say(session.language, check.label).c_str());
    }
    std::printf(
        "%s\n",
        base::say(session.language,
                  check.passed() ? base::Message::verify_passed : base::Message::verify_failed,
                  fmt::format("{:.3g}", check.value), fmt::format("{:.3g}", check.bound))
            .c_str());
  }
}

void print_report(const Session& session, const std::string& path, const Vectors& vectors,
                  const Findings& found, const Verdict& verdict) {
  const Agreement& agreement = found.text;
  const Line line = [&](base::Message label, const std::string& text) {
    std::printf("%-28s %s\n", base::say(session.language, label).c_str(), text.c_str());
  };
  line(base::Message::verify_vectors, base::shown_name(path));
  line(base::Message::verify_origin, base::shown_name(vectors.origin));
  line(base::Message::verify_rows, fmt::format("{}", agreement.rows));
  line(base::Message::verify_worst, fmt::format("{:.3g} ({}, {})", agreement.worst,
                                                agreement.worst_prompt, agreement.worst_position));
  line(base::Message::verify_top1,
       fmt::format("{:.1f} % ({} / {})", 100.0 * agreement.top1 / std::max(agreement.rows, 1),
                   agreement.clear_top1, agreement.clear));
  line(base::Message::verify_kl,
       fmt::format("{:.3g} ({:.3g})", agreement.kl_mean(), agreement.kl_worst));
  if (agreement.followed > 0) {
    const double before = agreement.nll_reference / agreement.followed;
    const double here = agreement.nll_here / agreement.followed;
    line(base::Message::verify_perplexity,
         fmt::format("{:.4f} → {:.4f} ({:+.2f} %)", std::exp(before), std::exp(here),
                     100 * std::expm1(here - before)));
  }
  print_pictures(line, found);
  line(base::Message::verify_speed,
       fmt::format("{:.1f} tok/s", agreement.tokens / std::max(agreement.seconds, 1e-9)));
  print_verdict(session, verdict);
}

// The longest sequence of a comparison.
int longest_sequence(const Vectors& vectors) {
  size_t longest = 1;
  for (const VectorPrompt& prompt : vectors.prompts) longest = std::max(longest, prompt.ids.size());
  for (const VectorDrawing& drawing : vectors.drawings) {
    longest = std::max(longest, drawing.with_text.size() + drawing.codes.size());
  }
  return static_cast<int>(longest);
}

base::Result<int> verify(const Session& session, const VerifyOptions& options) {
  // First: the keeper of pictures is forked while this process has one thread. Only vectors with
  // pictures ask for it.
  const auto reader = media::start_picture_reader();
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  ASSIGN(const format::ModelConfig config, files->config());
  std::string path = options.vectors;
  if (path.empty()) {
    ASSIGN(path, find_vectors(config, stored.path));
  }
  ASSIGN(const Vectors vectors, load_vectors(path));
  TRY(check_model(vectors, config, path));
  if (!vectors.pictures.empty() && !reader) return base::fail(reader.error());
  const int sequences = vectors.drawings.empty() ? 1 : 2;
  ASSIGN(OneShot opened,
         open_one_shot(session, {stored.path, options.exact, longest_sequence(vectors), sequences,
                                 chunk_tokens}));
  ASSIGN(const Findings found,
         compare(session, opened, reader ? reader->get() : nullptr, vectors, options.exact));
  const Verdict verdict = judge(options, vectors, config, *files, found);
  if (options.json) {
    std::printf("%s\n", report_json(path, vectors, found, verdict).dump().c_str());
  } else {
    print_report(session, path, vectors, found, verdict);
  }
  return passed(verdict) ? exit_done : exit_failed;
}

// ---- --write

base::Result<std::vector<int32_t>> ids_to_write(const VerifyOptions& options,
                                                const format::ModelFiles& files) {
  if (options.ids_file.empty() == options.text_file.empty()) {
    return base::fail(base::ErrorKind::wrong_usage, "one of --text and --ids is needed to write",
                      "vectors say what the model answers to given ids",
                      "give a text of a page or two");
  }
  if (!options.ids_file.empty()) {
    ASSIGN(const std::string json, read_text_argument(options.ids_file, text_bytes_max));
    return parse_ids(json, options.ids_file);
  }
  ASSIGN(const std::string text, read_text_argument(options.text_file, text_bytes_max));
  return encode_text(files, text, options.text_file);
}

base::Result<VectorPrompt> prompt_to_write(const VerifyOptions& options,
                                           const format::ModelFiles& files,
                                           const format::ModelConfig& config) {
  VectorPrompt prompt;
  ASSIGN(prompt.ids, ids_to_write(options, files));
  if (prompt.ids.empty()) {
    return base::fail(base::ErrorKind::invalid_input, "there is no id to begin with", "",
                      "give a text that is not empty");
  }
  prompt.ids.resize(
      std::min<size_t>(prompt.ids.size(), static_cast<size_t>(config.context_tokens_max)));
  TRY(check_ids(prompt.ids, config.vocab));
  return prompt;
}

// What a model that sees and draws is fed besides the text: a file and a description.
struct PicturesToWrite {
  std::string file, text;
};
base::Result<PicturesToWrite> pictures_to_write(const VerifyOptions& options,
                                                const format::ModelConfig& config) {
  const bool asked = !options.image_file.empty() || !options.draw.empty();
  if (asked && !config.janus) {
    return base::fail(base::ErrorKind::wrong_usage, "--image and --draw are for pictures",
                      "this model neither sees nor draws", "leave them out");
  }
  PicturesToWrite out;
  out.text = options.draw.empty() ? own_description : options.draw;
  TRY(check_utf8(out.text, "--draw"));
  if (options.image_file.empty()) {
    ASSIGN(out.file, own_picture());
  } else {
    ASSIGN(out.file, read_text_argument(options.image_file, vector_limits::picture_bytes_max));
  }
  return out;
}

base::Result<int> write_vectors(const Session& session, const VerifyOptions& options) {
  const auto reader = media::start_picture_reader();  // first, as in verify()
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  ASSIGN(const format::ModelConfig config, files->config());
  ASSIGN(VectorPrompt prompt, prompt_to_write(options, *files, config));
  ASSIGN(const PicturesToWrite pictures, pictures_to_write(options, config));
  if (config.janus && !reader) return base::fail(reader.error());
  const int count = static_cast<int>(prompt.ids.size());
  const int longest = config.janus ? std::max(count, tokens_to_write) : count;
  ASSIGN(OneShot opened,
         open_one_shot(session, {stored.path, true, longest, config.janus ? 2 : 1, chunk_tokens}));
  const int step = (count + written_rows_max - 1) / written_rows_max;
  TRY(run_rows(
      opened, prompt.ids, model::Head::text,
      [&](int position) { return (count - 1 - position) % step == 0; },
      [&](int position, std::span<const float> row) -> base::Result<void> {
        const auto next = static_cast<size_t>(position) + 1;
        prompt.rows.push_back(
            kept_row(position, row, next < prompt.ids.size() ? prompt.ids[next] : -1));
        return {};
      }));
  Vectors vectors;
  vectors.origin = options.origin.empty() ? "nautile verify --write, exact mode" : options.origin;
  vectors.weights = config.quantization;
  vectors.model = {config.name,   config.architecture,
                   config.layers, config.hidden,
                   config.vocab,  config.janus ? config.janus->drawing.codes : 0};
  vectors.prompts.push_back(std::move(prompt));
  if (config.janus) {
    ASSIGN(Eyes eyes, Eyes::open(session, opened, true));
    TRY(write_pictures(opened, eyes, **reader, pictures.file, pictures.text, vectors));
  }
  TRY(write_file_atomically(options.out, dump_vectors(vectors), 0644));
  std::fprintf(stderr, "%s\n",
               base::say(session.language, base::Message::verify_written, options.out,
                         vectors.prompts.front().rows.size())
                   .c_str());
  return exit_done;
}

}  // namespace

void add_verify(CommandLine& line, Session& session) {
  auto options = std::make_shared<VerifyOptions>();
  Verb verb = line.verb(
      "verify", "hold a model against reference vectors: exit code 0 if it agrees, else 1",
      "  nautile verify smollm2\n"
      "  nautile verify ./model.Q4_K_M.gguf --vectors model.vectors.json --json\n"
      "  nautile verify ./model-f16.gguf --write model.vectors.json --text page.txt");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.option("--vectors,VECTORS", options->vectors,
              "file, or folder with expected.json; else those that come with the program");
  verb.flag("--exact", options->exact, "f32 activations on decoded weights (slow)");
  verb.option("--max-kl", options->kl_max,
              "largest mean divergence that passes, in nats; without it, by the bits of a weight")
      .range(1e-9, 100.0);
  const Option write =
      verb.option("--write", options->out, "make vectors with this model, and compare nothing");
  verb.option("--text", options->text_file, "UTF-8 text, or -: what --write feeds the model")
      .needs(write);
  verb.option("--ids", options->ids_file, "JSON array of ids, or -: the same in ids").needs(write);
  verb.option("--image", options->image_file,
              "picture that --write shows a model that sees; else one of its own")
      .needs(write);
  verb.option("--draw", options->draw,
              "what --write has such a model draw, a description; else one of its own")
      .needs(write);
  verb.option("--origin", options->origin, "where the vectors come from, kept in the file")
      .needs(write);
  verb.flag("--json", options->json, "one JSON object");
  for (const char* key : {"threads", "isa", "memory"}) verb.setting(key);
  verb.runs([&session, options] {
    return options->out.empty() ? verify(session, *options) : write_vectors(session, *options);
  });
}

}  // namespace app
