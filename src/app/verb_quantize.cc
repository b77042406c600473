// quantize: a model as one smaller GGUF file, and what that cost.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <map>
#include <thread>
#include <unistd.h>

#include "app/command_line.h"
#include "app/model_store.h"
#include "app/row_runner.h"
#include "base/json.h"
#include "format/quantize.h"
#include "text/pre_tokenizer.h"

namespace app {
namespace {

constexpr double gib = 1024.0 * 1024.0 * 1024.0;
constexpr double mib = 1024.0 * 1024.0;
constexpr uint64_t text_bytes_max = 256ull << 20;

std::atomic<bool> stop_requested{false};
constexpr int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

struct QuantizeOptions {
  std::string in, out, type, text_file;
  int context_tokens = 512;
  bool force = false, json = false, plan_only = false;
};

// The first Ctrl-C stops between two pieces and takes the unfinished file away, a second one at
// once.
void take_signals() {
  const auto stop = [](int) {
    if (stop_requested.exchange(true)) _exit(exit_interrupted);
  };
  for (const int signal : stop_signals) std::signal(signal, stop);
  std::signal(SIGXFSZ, SIG_IGN);  // a size limit is an error of write() then
}

// The file is there: from now on a signal has nothing to take away.
void leave_signals() {
  for (const int signal : stop_signals) std::signal(signal, SIG_DFL);
}

base::Result<std::string> read_text(const std::string& path) {
  ASSIGN(std::string text, read_text_argument(path, text_bytes_max));
  TRY(check_utf8(text, path == "-" ? "standard input" : path));
  if (!text.empty()) return text;
  return base::fail(base::ErrorKind::invalid_input, "the text is empty",
                    "there is no perplexity of nothing", "give a page or two of text");
}

base::Result<format::FileTypeInfo> wanted_type(const std::string& name) {
  if (const auto type = format::find_file_type(name)) return *type;
  std::string known;
  for (const format::FileTypeInfo& each : format::file_types()) {
    known += known.empty() ? "" : ", ";
    known += each.name;
  }
  return base::fail(base::ErrorKind::wrong_usage, "there is no type " + base::shown_name(name), "",
                    "choose one of " + known + "; Q4_K_M is what most people take");
}

// What the tensors of one type have cost together.
struct Share {
  uint64_t tensors = 0, weights = 0, bytes = 0;
  double error_squares = 0, weight_squares = 0;

  void add(const format::PlannedTensor& planned, const format::TensorCost& cost) {
    ++tensors;
    weights += planned.tensor.rows() * planned.tensor.columns();
    bytes += planned.bytes;
    error_squares += cost.error_squares;
    weight_squares += cost.weight_squares;
  }
  // Root mean square of what was lost over that of the weights.
  double relative_error() const {
    return weight_squares > 0 ? std::sqrt(error_squares / weight_squares) : 0;
  }
  double bits() const { return 8.0 * static_cast<double>(bytes) / static_cast<double>(weights); }
};

struct Outcome {
  std::map<std::string, Share> by_type;
  Share all;
  std::vector<format::TensorCost> costs;
  uint64_t bytes_before = 0;
  double seconds = 0;
  std::optional<double> nll_before, nll_after;
};

Outcome sum_up(const format::QuantizePlan& plan, std::vector<format::TensorCost> costs) {
  Outcome outcome;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const format::PlannedTensor& planned = plan.tensors[i];
    outcome.by_type[std::string(tensor::info(planned.to).name)].add(planned, costs[i]);
    outcome.all.add(planned, costs[i]);
  }
  outcome.costs = std::move(costs);
  return outcome;
}

base::Json share_json(const Share& share) {
  return base::Json::object({{"tensors", static_cast<int64_t>(share.tensors)},
                             {"weights", static_cast<int64_t>(share.weights)},
                             {"bytes", static_cast<int64_t>(share.bytes)},
                             {"bits_per_weight", share.bits()},
                             {"relative_rms_error", share.relative_error()}});
}

void print_json(const QuantizeOptions& options, const format::FileTypeInfo& type,
                const format::QuantizePlan& plan, const Outcome& outcome) {
  base::Json types = base::Json::object();
  for (const auto& [name, share] : outcome.by_type) types.set(name, share_json(share));
  base::Json tensors = base::Json::array();
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const format::PlannedTensor& planned = plan.tensors[i];
    Share share;
    share.add(planned, outcome.costs[i]);
    const format::TensorInfo* source = planned.tensor.source;
    const tensor::Dtype stored = source != nullptr ? source->stored : planned.from;
    tensors.push(base::Json::object({{"name", planned.tensor.name},
                                     {"from", tensor::info(stored).name},
                                     {"to", tensor::info(planned.to).name},
                                     {"bytes", static_cast<int64_t>(planned.bytes)},
                                     {"relative_rms_error", share.relative_error()}}));
  }
  base::Json object =
      base::Json::object({{"out", options.out},
                          {"type", type.name},
                          {"bytes_before", static_cast<int64_t>(outcome.bytes_before)},
                          {"bytes_after", static_cast<int64_t>(plan.bytes)},
                          {"seconds", outcome.seconds},
                          {"all", share_json(outcome.all)},
                          {"types", std::move(types)},
                          {"tensors", std::move(tensors)}});
  if (outcome.nll_before && outcome.nll_after) {
    object.set("ppl_before", std::exp(*outcome.nll_before));
    object.set("ppl_after", std::exp(*outcome.nll_after));
  }
  std::printf("%s\n", object.dump().c_str());
}

void print_table(const Session& session, const QuantizeOptions& options,
                 const format::QuantizePlan& plan, const Outcome& outcome) {
  std::printf("%-8s %8s %12s %8s %10s\n", "type", "tensors", "MiB", "bits", "error");
  const auto line = [](const char* name, const Share& share) {
    std::printf("%-8s %8llu %12.1f %8.2f %8.3f %%\n", name,
                static_cast<unsigned long long>(share.tensors),
                static_cast<double>(share.bytes) / mib, share.bits(), 100 * share.relative_error());
  };
  for (const auto& [name, share] : outcome.by_type) line(name.c_str(), share);
  line("all", outcome.all);
  if (outcome.nll_before && outcome.nll_after) {
    std::printf("%s\n", base::say(session.language, base::Message::quantize_perplexity,
                                  fmt::format("{:.4f}", std::exp(*outcome.nll_before)),
                                  fmt::format("{:.4f}", std::exp(*outcome.nll_after)),
                                  fmt::format("{:+.2f}", 100 * std::expm1(*outcome.nll_after -
                                                                          *outcome.nll_before)))
                            .c_str());
  }
  std::printf(
      "%s\n",
      base::say(session.language,
                options.plan_only ? base::Message::quantize_planned : base::Message::quantize_done,
                options.out, fmt::format("{:.2f}", static_cast<double>(outcome.bytes_before) / gib),
                fmt::format("{:.2f}", static_cast<double>(plan.bytes) / gib))
          .c_str());
}

// What is worth knowing beforehand.
void tell_of_plan(const Session& session, const format::QuantizePlan& plan) {
  if (plan.lossy_source) {
    std::fprintf(stderr, "%s\n",
                 base::say(session.language, base::Message::quantize_lossy_source).c_str());
  }
  if (!plan.left_out.empty()) {
    std::fprintf(stderr, "%s\n",
                 base::say(session.language, base::Message::quantize_left_out, plan.left_out.size(),
                           base::shown_name(plan.left_out.front()))
                     .c_str());
  }
}

base::Result<double> measure_nll(const Session& session, const std::string& model,
                                 const std::string& text, int context_tokens) {
  ASSIGN(OneShot opened, open_one_shot(session, {model, false, context_tokens, 1, chunk_tokens}));
  ASSIGN(const std::vector<int32_t> ids, encode_text(*opened.files, text, "--text"));
  TRY(check_ids(ids, opened.runner->info().vocab));
  if (ids.size() < 2) {
    return base::fail(base::ErrorKind::invalid_input, "the text is too short",
                      "at least two tokens are needed", "give a page or two of text");
  }
  return mean_nll(opened, ids, context_tokens);
}

base::Result<std::vector<format::TensorCost>> write_file(const Session& session,
                                                         const QuantizeOptions& options,
                                                         const format::ModelFiles& files,
                                                         const format::QuantizePlan& plan) {
  ASSIGN(const Config config, session.config());
  ASSIGN(const auto out, format::OutputFile::create(options.out, plan.bytes, options.force));
  int threads = static_cast<int>(config.integer("threads"));
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  base::Pool pool(threads);
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const int64_t start_ms = session.clock.monotonic_ms();
  auto costs = format::write_quantized(files, plan, *out, pool, [&](uint64_t done, uint64_t total) {
    if (terminal) {
      const double share = static_cast<double>(done) / static_cast<double>(total);
      const auto spent_ms = static_cast<double>(session.clock.monotonic_ms() - start_ms);
      const auto left_s = static_cast<int64_t>(spent_ms * (1 - share) / share / 1000);
      std::fprintf(stderr, "\r\033[K%.2f / %.2f GiB  %.0f %%  %lld:%02lld",
                   static_cast<double>(done) / gib, static_cast<double>(total) / gib, 100 * share,
                   static_cast<long long>(left_s / 60), static_cast<long long>(left_s % 60));
    }
    return !stop_requested.load();
  });
  if (terminal) std::fputs("\r\033[K", stderr);
  TRY(costs);
  TRY(out->finish());
  return costs;
}

base::Result<int> quantize(const Session& session, const QuantizeOptions& options) {
  ASSIGN(const format::FileTypeInfo type, wanted_type(options.type));
  ASSIGN(const StoredModel stored, find_model(session.places, options.in));
  ASSIGN(const auto files, format::ModelFiles::open(stored.path));
  std::string text;
  if (!options.text_file.empty()) {
    ASSIGN(text, read_text(options.text_file));
  }
  ASSIGN(const format::QuantizePlan plan,
         format::plan_quantized(*files, type.type, text::pre_tokenizer_name_of));
  tell_of_plan(session, plan);
  if (options.plan_only) {
    Outcome planned = sum_up(plan, std::vector<format::TensorCost>(plan.tensors.size()));
    planned.bytes_before = files->bytes_total();
    if (options.json) {
      print_json(options, type, plan, planned);
    } else {
      print_table(session, options, plan, planned);
    }
    return exit_done;
  }
  take_signals();
  const int64_t start_ms = session.clock.monotonic_ms();
  ASSIGN(auto costs, write_file(session, options, *files, plan));
  leave_signals();
  Outcome outcome = sum_up(plan, std::move(costs));
  outcome.seconds = static_cast<double>(session.clock.monotonic_ms() - start_ms) / 1000;
  outcome.bytes_before = files->bytes_total();
  if (!text.empty()) {
    ASSIGN(outcome.nll_before, measure_nll(session, stored.path, text, options.context_tokens));
    ASSIGN(outcome.nll_after, measure_nll(session, options.out, text, options.context_tokens));
  }
  if (options.json) {
    print_json(options, type, plan, outcome);
  } else {
    print_table(session, options, plan, outcome);
  }
  return exit_done;
}

}  // namespace

void add_quantize(CommandLine& line, Session& session) {
  auto options = std::make_shared<QuantizeOptions>();
  Verb verb =
      line.verb("quantize", "write a model as a smaller GGUF file, and say what that cost",
                "  nautile quantize ./DeepSeek-R1-Distill-Qwen-1.5B r1-1.5b.Q4_K_M.gguf Q4_K_M\n"
                "  nautile quantize model.F16.gguf model.Q8_0.gguf Q8_0 --text wiki.txt --json");
  verb.option("IN", options->in, "name, GGUF file, or Hugging Face directory").required();
  verb.option("OUT", options->out, "the GGUF file to write").required();
  verb.option("TYPE", options->type,
              "Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, Q3_K_M or Q2_K, from large to small")
      .required();
  verb.option("--text", options->text_file,
              "also measure the perplexity of this text before and after");
  verb.option("--ctx", options->context_tokens, "tokens of a window, for --text").range(2, 1 << 20);
  verb.flag("--force", options->force, "replace OUT if it exists");
  verb.flag("--dry-run", options->plan_only, "say how large it would be, and write nothing");
  verb.flag("--json", options->json, "one JSON object, with every tensor");
  verb.setting("threads");
  verb.runs([&session, options] { return quantize(session, *options); });
}

}  // namespace app
