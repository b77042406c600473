#include "api/metrics.h"

#include <algorithm>
#include <fmt/format.h>

namespace api {
namespace {

constexpr size_t models_max = 256;

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void heading(std::string& out, std::string_view name, std::string_view type,
             std::string_view help) {
  out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void single(std::string& out, std::string_view name, std::string_view type, std::string_view help,
            double value, const std::string& labels = "") {
  heading(out, name, type, help);
  out += labels.empty() ? fmt::format("{} {}\n", name, value)
                        : fmt::format("{}{{{}}} {}\n", name, labels, value);
}

const std::vector<double>& latency_bounds() {
  static const std::vector<double> bounds = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06,  0.08, 0.1,
                                             0.25,  0.5,   0.75, 1.0,  2.5,  5.0,   7.5,  10.0,
                                             20.0,  40.0,  80.0, 160,  640,  2560.0};
  return bounds;
}
const std::vector<double>& request_bounds() {
  static const std::vector<double> bounds = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                             30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
  return bounds;
}
const std::vector<double>& token_bounds() {
  static const std::vector<double> bounds = {1,   2,    5,    10,   20,    50,    100,   200,
                                             500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
  return bounds;
}

}  // namespace

void Histogram::add(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<size_t>(at - bounds_.begin())];
  sum_ += value;
  ++count_;
}

void Histogram::write(std::string& out, const std::string& name, const std::string& labels) const {
  uint64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    out += fmt::format("{}_bucket{{{},le=\"{}\"}} {}\n", name, labels, bounds_[i], below);
  }
  out += fmt::format("{}_bucket{{{},le=\"+Inf\"}} {}\n", name, labels, count_);
  out +=
      fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, sum_, name, labels, count_);
}

Metrics::PerModel::PerModel()
    : first_token(latency_bounds()),
      inter_token(latency_bounds()),
      whole(request_bounds()),
      queue(request_bounds()),
      prefill(request_bounds()),
      decode(request_bounds()),
      prompt_tokens(token_bounds()),
      generation_tokens(token_bounds()),
      tokens_max(token_bounds()),
      choices({1, 2, 5, 10, 20}) {}

Metrics::PerModel& Metrics::of(const std::string& model) {
  const auto at = models_.find(model);
  if (at != models_.end() || models_.size() < models_max) return models_[model];
  return models_["other"];
}

void Metrics::finished(const FinishedSequence& sequence) {
  PerModel& model = of(sequence.model);
  ++model.ended[static_cast<size_t>(sequence.reason)];
  if (sequence.first_token_s >= 0) model.first_token.add(sequence.first_token_s);
  model.whole.add(sequence.whole_s);
  const engine::Usage& usage = sequence.usage;
  model.queue.add(static_cast<double>(usage.queue_ms) / 1e3);
  model.prefill.add(static_cast<double>(usage.prompt_ms) / 1e3);
  model.decode.add(static_cast<double>(usage.decode_ms) / 1e3);
  model.prompt_tokens.add(usage.prompt_tokens);
  model.generation_tokens.add(usage.completion_tokens);
  if (sequence.tokens_max >= 0) model.tokens_max.add(sequence.tokens_max);
  model.choices.add(sequence.choices);
}

void Metrics::between_tokens(const std::string& model, double seconds, int tokens) {
  // A delta of several tokens (held back until a character was whole) counts once for each.
  for (int i = 0; i < tokens; ++i) of(model).inter_token.add(seconds / tokens);
}

std::string Metrics::text(const engine::EngineStats& stats,
                          const std::vector<engine::ModelStatus>& models,
                          const net::ServerStats& server) const {
  std::string out;
  const std::string first =
      models.empty() ? "" : fmt::format("model_name=\"{}\"", escaped(models.front().id));
  single(out, "vllm:num_requests_running", "gauge", "Requests in the running batch.", stats.running,
         first);
  single(out, "vllm:num_requests_waiting", "gauge", "Requests waiting to be processed.",
         stats.waiting, first);
  single(out, "vllm:kv_cache_usage_perc", "gauge", "KV cache usage, 1 is 100 percent.",
         stats.kv_pages_total > 0 ? static_cast<double>(stats.kv_pages_used) / stats.kv_pages_total
                                  : 0.0,
         first);
  const auto counter = [&](const char* name, const char* help, uint64_t value) {
    single(out, name, "counter", help, static_cast<double>(value), first);
  };
  counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.",
          stats.prompt_tokens);
  counter("vllm:prefix_cache_hits_total", "Prompt tokens found there.", stats.cached_tokens);
  counter("vllm:prompt_tokens_total", "Prefill tokens processed.", stats.prompt_tokens);
  counter("vllm:generation_tokens_total", "Generation tokens processed.", stats.generated_tokens);
  counter("vllm:num_preemptions_total", "Preemptions by the engine.", stats.preemptions);
  static constexpr const char* reasons[] = {"stop", "length", "abort", "error"};
  heading(out, "vllm:request_success_total", "counter", "Requests that ended, by reason.");
  for (const auto& [name, model] : models_) {
    for (size_t i = 0; i < model.ended.size(); ++i) {
      out +=
          fmt::format("vllm:request_success_total{{model_name=\"{}\",finished_reason=\"{}\"}} {}\n",
                      escaped(name), reasons[i], model.ended[i]);
    }
  }
  const auto histogram = [&](const char* name, const char* help, const Histogram PerModel::*which) {
    heading(out, name, "histogram", help);
    for (const auto& [model, numbers] : models_) {
      (numbers.*which).write(out, name, fmt::format("model_name=\"{}\"", escaped(model)));
    }
  };
  histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", &PerModel::first_token);
  histogram("vllm:inter_token_latency_seconds", "Between two tokens.", &PerModel::inter_token);
  histogram("vllm:e2e_request_latency_seconds", "Arrival to end.", &PerModel::whole);
  histogram("vllm:request_queue_time_seconds", "Time in WAITING.", &PerModel::queue);
  histogram("vllm:request_prefill_time_seconds", "Time in PREFILL.", &PerModel::prefill);
  histogram("vllm:request_decode_time_seconds", "Time in DECODE.", &PerModel::decode);
  histogram("vllm:request_prompt_tokens", "Prefill tokens.", &PerModel::prompt_tokens);
  histogram("vllm:request_generation_tokens", "Generated tokens.", &PerModel::generation_tokens);
  histogram("vllm:request_params_max_tokens", "max_tokens asked for.", &PerModel::tokens_max);
  histogram("vllm:request_params_n", "n asked for.", &PerModel::choices);
  heading(out, "nautile:http_responses_total", "counter", "HTTP answers, by status.");
  for (const auto& [status, count] : responses_) {
    out += fmt::format("nautile:http_responses_total{{status=\"{}\"}} {}\n", status, count);
  }
  single(out, "nautile:engine_ready", "gauge", "1: the engine takes requests.", stats.ready);
  single(out, "nautile:engine_restarts_total", "counter", "Engine processes started again.",
         static_cast<double>(stats.restarts));
  single(out, "nautile:engine_steps_total", "counter", "Forward passes.",
         static_cast<double>(stats.steps));
  single(out, "nautile:connections_open", "gauge", "Open connections.", server.open);
  single(out, "nautile:connections_refused_total", "counter", "Refused for want of room.",
         static_cast<double>(server.refused_full));
  single(out, "nautile:connections_timed_out_total", "counter", "Dropped at a deadline.",
         static_cast<double>(server.timed_out));
  single(out, "nautile:requests_malformed_total", "counter", "Not HTTP/1.1 as RFC 9112 has it.",
         static_cast<double>(server.malformed));
  return out;
}

}  // namespace api
