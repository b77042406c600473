// bench: tokens per second of prefill and of decoding at several batch sizes, beside the two limits
// of the machine measured in the same minute.
#include <algorithm>
#include <cstdio>
#include <map>

#include "app/command_line.h"
#include "app/one_shot.h"
#include "app/probes.h"
#include "base/json.h"
#include "format/janus_names.h"

namespace app {
namespace {

constexpr int warm_up_steps = 4;

struct BenchOptions {
  std::string model;
  int prefill = 512, decode = 64, depth = 0, repeat = 5;
  std::vector<int> batches{1, 2, 4, 8, 16};
  bool json = false;
};

struct Rates {
  std::vector<double> values;
  base::Json summary() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    return base::Json::object(
        {{"median", sorted[sorted.size() / 2]}, {"min", sorted.front()}, {"max", sorted.back()}});
  }
};

class Measure {
 public:
  Measure(const Session& session, OneShot& opened)
      : session_(session), opened_(opened), vocab_(opened.runner->info().vocab) {}

  base::Result<double> prefill(int tokens, int salt) {
    model::KvTable table = opened_.take_table(tokens);
    const int64_t start_ns = session_.clock.monotonic_ns();
    TRY(feed(table, tokens, salt, true));
    const double seconds = seconds_since(start_ns);
    opened_.give_back(table);
    return tokens / seconds;
  }

  base::Result<double> decode(int steps, int columns, int depth) {
    std::vector<model::KvTable> tables;
    for (int i = 0; i < columns; ++i) {
      tables.push_back(opened_.take_table(depth + steps + warm_up_steps));
      if (depth > 0) TRY(feed(tables.back(), depth, i, false));
    }
    std::vector<int32_t> ids(static_cast<size_t>(columns));
    int64_t start_ns = 0;
    for (int step = 0; step < steps + warm_up_steps; ++step) {
      if (step == warm_up_steps) start_ns = session_.clock.monotonic_ns();
      std::vector<model::Segment> segments(static_cast<size_t>(columns));
      for (int i = 0; i < columns; ++i) {
        const auto at = static_cast<size_t>(i);
        ids[at] = token_at(step + i * 31);
        segments[at] = {
            &tables[at], model::Origin::sampled, {&ids[at], 1}, model::Head::text, false};
      }
      TRY(opened_.runner->forward(segments, logits_));
    }
    const double seconds = seconds_since(start_ns);
    for (model::KvTable& table : tables) opened_.give_back(table);
    return columns * steps / seconds;
  }

 private:
  // Ordinary ids spread over the vocabulary, so that no embedding row stays in a cache.
  int32_t token_at(int i) const {
    return vocab_ > 1300 ? 300 + (i * 7919) % (vocab_ - 1000) : (i * 31) % vocab_;
  }
  double seconds_since(int64_t start_ns) const {
    return static_cast<double>(session_.clock.monotonic_ns() - start_ns) / 1e9;
  }
  base::Result<void> feed(model::KvTable& table, int tokens, int salt, bool logits) {
    std::vector<int32_t> ids(static_cast<size_t>(tokens));
    for (int i = 0; i < tokens; ++i) ids[static_cast<size_t>(i)] = token_at(i + salt);
    const int step = opened_.runner->batch_tokens_max();
    for (int begin = 0; begin < tokens; begin += step) {
      const int count = std::min(step, tokens - begin);
      model::Segment segment;
      segment.kv = &table;
      segment.origin = model::Origin::prompt;
      segment.ids = std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      segment.want = logits && begin + count == tokens ? model::Head::text : model::Head::none;
      TRY(opened_.runner->forward({&segment, 1}, logits_));
    }
    return {};
  }

  const Session& session_;
  OneShot& opened_;
  const int vocab_;
  model::Logits logits_;
};

// Bytes of weights that one decoded token reads: every matrix once; of an untied embedding table
// only one row; of experts those that a token chooses. Layers that only draft are not read, nor
// what sees and draws.
base::Result<double> weight_bytes_per_token(const format::ModelFiles& files) {
  ASSIGN(const format::ModelConfig config, files.config());
  const bool untied = files.find("lm_head.weight") != nullptr;
  const std::string drafting = fmt::format("model.layers.{}.", config.layers);
  double bytes = 0;
  for (const format::TensorInfo& tensor : files.tensors()) {
    if (untied && tensor.name == "model.embed_tokens.weight") continue;
    if (config.mtp_layers > 0 && tensor.name.starts_with(drafting)) continue;
    if (config.janus && format::is_of_pictures(tensor.name)) continue;
    const bool experts = config.moe && tensor.name.find(".mlp.experts.") != std::string::npos;
    const double share = experts ? double(config.moe->experts_used) / config.moe->experts : 1;
    bytes += share * static_cast<double>(tensor.bytes);
  }
  return bytes;
}

base::Result<int> run_bench(const Session& session, const BenchOptions& options) {
  ASSIGN(const Config config, session.config());
  const int batch_max = *std::max_element(options.batches.begin(), options.batches.end());
  const int longest = std::max(options.prefill, options.depth + options.decode + warm_up_steps);
  ASSIGN(OneShot opened, open_one_shot(session, {options.model, false, longest, batch_max, 512}));
  ASSIGN(const tensor::Isa isa,
         tensor::choose_isa(config.text("isa") == "auto" ? "" : config.text("isa")));
  Measure measure(session, opened);
  std::vector<std::pair<std::string, Rates>> rows;
  if (options.prefill > 0) rows.push_back({"prefill", {}});
  for (const int columns : options.batches)
    rows.push_back({fmt::format("decode_b{}", columns), {}});

  Rates stream, int8;
  if (options.prefill > 0) TRY(measure.prefill(options.prefill, 0));  // warm-up
  for (int i = 0; i < options.repeat; ++i) {
    stream.values.push_back(stream_read_gb_per_s(*opened.pool));
    int8.values.push_back(int8_peak_gop_per_s(*opened.pool, isa));
    size_t row = 0;
    if (options.prefill > 0) {
      ASSIGN(const double rate, measure.prefill(options.prefill, i + 1));
      rows[row++].second.values.push_back(rate);
    }
    for (const int columns : options.batches) {
      ASSIGN(const double rate, measure.decode(options.decode, columns, options.depth));
      rows[row++].second.values.push_back(rate);
    }
    std::fprintf(stderr, "bench: %d of %d\n", i + 1, options.repeat);
  }

  ASSIGN(const double bytes, weight_bytes_per_token(*opened.files));
  const double stream_gb_s = stream.summary().find("median")->as_number();
  base::Json object = base::Json::object();
  for (const auto& [name, rates] : rows) object.set(name, rates.summary());
  object.set("stream_gb_s", stream_gb_s);
  object.set("int8_gop_s", int8.summary().find("median")->as_number());
  object.set("weight_bytes_per_token", bytes);
  object.set("isa", tensor::isa_name(isa));
  object.set("threads", opened.pool->threads());
  if (const base::Json* decode = object.find("decode_b1")) {
    const double rate = decode->find("median")->as_number();
    object.set("decode_b1_share_of_bandwidth", rate * bytes / 1e9 / stream_gb_s);
  }
  if (options.json) {
    std::printf("%s\n", object.dump().c_str());
    return exit_done;
  }
  for (const auto& [name, rates] : rows) {
    const base::Json summary = rates.summary();
    std::printf("%-12s %9.2f tokens/s  (%.2f to %.2f)\n", name.c_str(),
                summary.find("median")->as_number(), summary.find("min")->as_number(),
                summary.find("max")->as_number());
  }
  std::printf("weights read per token %.1f MB; stream read %.1f GB/s; int8 peak %.0f GOP/s; %s\n",
              bytes / 1e6, stream_gb_s, object.find("int8_gop_s")->as_number(),
              std::string(tensor::isa_name(isa)).c_str());
  return exit_done;
}

}  // namespace

void add_bench(CommandLine& line, Session& session) {
  auto options = std::make_shared<BenchOptions>();
  Verb verb = line.verb("bench", "measure this machine's speed with a model",
                        "  nautile bench smollm2\n  nautile bench ./model.gguf --prefill 512"
                        " --decode 64 --batch 1,8 --repeat 9 --json");
  verb.option("MODEL", options->model, "name, file or directory").required();
  verb.option("--prefill", options->prefill, "prompt tokens; 0: none").range(0, 1 << 20);
  verb.option("--decode", options->decode, "steps of decoding").range(1, 1 << 20);
  verb.option("--batch", options->batches, "sequences decoded at once: 1,2,4,8,16")
      .with_commas()
      .range(1, 256);
  verb.option("--depth", options->depth, "tokens already in the cache when decoding")
      .range(0, 1 << 20);
  verb.option("--repeat", options->repeat, "measurements of each").range(1, 1000);
  verb.flag("--json", options->json, "one JSON object");
  for (const char* key : {"threads", "isa", "memory"}) verb.setting(key);
  verb.runs([&session, options] { return run_bench(session, *options); });
}

}  // namespace app
