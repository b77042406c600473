#include "model/disk_estimate.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "model/expert_cache.h"
#include "model/weight_plan.h"
#include "tensor/activations.h"
#include "tensor/linear.h"
#include "tensor/workspace.h"

namespace model {
namespace {

using base::Result;

// Experts of two tokens in turn, twice each. The first time finds memory that nobody has touched,
// and places on the disk that nobody has read; an answer has both only until it is warm.
constexpr int visits = 4, visits_counted_from = 2;

// Of the reads that an even choice would need, those that are left because experts often chosen
// stay in memory: 0.85 to 0.9 with random weights (bench/RESULTS.md).
constexpr double reads_of_even_choice = 0.88;

// One token's way through layers that it chooses experts of.
class Probe {
 public:
  Probe(const Config& config, const RunnerOptions& options, const base::Clock& clock)
      : config_(config), options_(options), clock_(clock) {}

  Result<void> run(const format::ModelFiles& files, const std::vector<WeightItem>& items,
                   uint64_t place_bytes) {
    std::vector<int> layers;
    for (const WeightItem& item : items) {
      if (layers.empty() || layers.back() != item.expert_layer) layers.push_back(item.expert_layer);
    }
    const int used = config_.moe->experts_used;
    const uint64_t expert_bytes = place_bytes / layers.size();
    ASSIGN(const auto cache, ExpertCache::create(files, items, used));
    base::SeededRandom random(1);
    std::vector<int> experts(config_.moe->experts), rows(experts.size());
    std::iota(experts.begin(), experts.end(), 0);
    const int64_t until_ms = clock_.monotonic_ms() + measured_ms_max;
    for (const int layer : layers) {
      if (computed_bytes > 0 && clock_.monotonic_ms() >= until_ms) break;
      for (size_t i = experts.size(); i > 1; --i) {
        std::swap(experts[i - 1], experts[random.below(i)]);
      }
      for (int visit = 0; visit < visits; ++visit) {
        std::fill(rows.begin(), rows.end(), 0);
        for (int i = 0; i < used; ++i) {
          rows[experts[static_cast<size_t>(visit % 2 * used + i) % experts.size()]] = 1;
        }
        const uint64_t read_before = cache->counts().read;
        const int64_t began_ns = clock_.monotonic_ns();
        const std::span<const int> order = cache->begin(layer, rows, 1);
        for (int done = 0; done < used;) {
          ASSIGN(const int ready, cache->next());
          done += ready;
        }
        if (visit < visits_counted_from) continue;
        disk_seconds += seconds_since(began_ns);
        disk_bytes += static_cast<double>(expert_bytes * (cache->counts().read - read_before));
        computed_bytes += static_cast<double>(expert_bytes) * used;
        TRY(compute(items, layer, order));
      }
    }
    return {};
  }

  double disk_bytes = 0, disk_seconds = 0, computed_bytes = 0, memory_seconds = 0;

 private:
  double seconds_since(int64_t began_ns) const {
    return static_cast<double>(std::max<int64_t>(1, clock_.monotonic_ns() - began_ns)) * 1e-9;
  }

  // Every expert's matrices once, with one row.
  Result<void> compute(const std::vector<WeightItem>& parts, int layer,
                       std::span<const int> experts) {
    const int widest = std::max(config_.hidden, config_.moe->expert_ffn);
    ASSIGN(tensor::Workspace workspace,
           tensor::Workspace::create(8 * uint64_t(widest) + 4096 +
                                     tensor::quant_rows_bytes(1, widest)));
    float* x = workspace.take<float>(widest);
    float* y = workspace.take<float>(widest);
    for (int i = 0; i < widest; ++i) x[i] = static_cast<float>(i % 7) - 3;
    const int64_t began_ns = clock_.monotonic_ns();
    for (const WeightItem& part : parts) {
      if (part.expert_layer != layer) continue;
      for (const int e : experts) {
        const tensor::Workspace::Mark mark(workspace);
        const tensor::PackedMatrix* w = &part.matrices[e];
        const auto rounded =
            tensor::quantize_rows(x, 1, static_cast<int>(w->cols), {&w, 1}, options_.precision,
                                  options_.isa, workspace, *options_.pool);
        tensor::linear(*w, rounded, {y, w->rows}, options_.isa, *options_.pool);
      }
    }
    memory_seconds += seconds_since(began_ns);
    return {};
  }

  const Config& config_;
  const RunnerOptions& options_;
  const base::Clock& clock_;
};

}  // namespace

Result<DiskEstimate> estimate_from_disk(const format::ModelFiles& files,
                                        const RunnerOptions& options, const MemoryPlan& plan,
                                        const base::Clock& clock) {
  ASSIGN(const Config config, files.config());
  const bool exact = options.precision == tensor::Precision::exact;
  const WeightOptions weight_options{exact, options.mtp};
  ASSIGN(const WeightSizes sizes, weight_sizes(files, config, weight_options));
  Weights weights;  // only its views are used
  ASSIGN(std::vector<WeightItem> items, plan_weights(files, config, weight_options, weights));
  std::erase_if(items, [](const WeightItem& item) { return item.expert_layer < 0; });

  Probe probe(config, options, clock);
  TRY(probe.run(files, items, sizes.place_file_bytes));
  const double chosen = static_cast<double>(plan.expert_file_bytes) * config.moe->experts_used;
  DiskEstimate estimate;
  estimate.disk_bytes_per_s = probe.disk_bytes / probe.disk_seconds;
  estimate.memory_bytes_per_s = probe.computed_bytes / probe.memory_seconds;
  estimate.disk_bytes_per_token =
      reads_of_even_choice * chosen * (plan.experts - plan.expert_places) / plan.experts;
  const auto others = static_cast<double>(sizes.decoded_bytes);
  estimate.memory_bytes_per_token = chosen + others;
  estimate.alone_bytes_per_token = chosen / config.moe->experts_used + others;
  return estimate;
}

}  // namespace model
