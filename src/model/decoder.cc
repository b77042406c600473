#include "model/decoder.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/check.h"
#include "model/step.h"

namespace model {

using base::ErrorKind;
using base::Result;

namespace {

int context_of(const Config& c, const RunnerOptions& options) {
  return options.context_tokens_max > 0 ? options.context_tokens_max : c.context_tokens_max;
}

tl::unexpected<base::Error> unsupported(std::string what, std::string why) {
  return base::fail(ErrorKind::unsupported, std::move(what), std::move(why));
}

Result<void> check_latent(const Config& c) {
  const format::MlaConfig& m = *c.mla;
  const int largest = std::max({m.qk_nope_dim + m.qk_rope_dim, m.v_dim});
  if (largest > head_dim_max || m.kv_lora_rank + m.qk_rope_dim > latent_max) {
    return unsupported(fmt::format("the model's heads have {} dimensions, its latents {}", largest,
                                   m.kv_lora_rank + m.qk_rope_dim),
                       fmt::format("up to {} and {} are supported", head_dim_max, latent_max));
  }
  return {};
}

Result<void> check_experts(const Config& c) {
  const format::MoeConfig& m = *c.moe;
  if (m.experts > experts_max) {
    return unsupported(fmt::format("the model has {} experts", m.experts),
                       fmt::format("up to {} are supported", experts_max));
  }
  if (m.groups < 1 || m.experts % m.groups != 0 || m.groups_used < 1 || m.groups_used > m.groups ||
      m.experts_used < 1 || m.experts_used > m.experts / m.groups * m.groups_used) {
    return base::fail(ErrorKind::invalid_input,
                      fmt::format("{} of {} experts in {} of {} groups cannot be chosen",
                                  m.experts_used, m.experts, m.groups_used, m.groups));
  }
  return {};
}

Result<void> check_options(const Config& c, const RunnerOptions& options) {
  CHECK(options.pool != nullptr, "a runner borrows the program's threads");
  CHECK(options.kv_pages > 0 && options.batch_tokens_max > 0, "limits are positive");
  if (c.mla) TRY(check_latent(c));
  if (c.moe) TRY(check_experts(c));
  if (c.head_dim > head_dim_max || rotary_dims(c) % 2 != 0) {
    return unsupported(fmt::format("the model's heads have {} dimensions", c.head_dim),
                       fmt::format("an even number up to {} is supported", head_dim_max));
  }
  return {};
}

WeightOptions weight_options(const Config& c, const RunnerOptions& options) {
  return {options.precision == tensor::Precision::exact, runs_mtp(c, options)};
}

// Leaves experts on disk if that is asked for, or if it makes the model fit.
void place_experts(const Config& c, const RunnerOptions& options, const WeightSizes& sizes,
                   MemoryPlan& plan) {
  if (!c.moe || sizes.experts == 0) return;
  int places = std::min(options.expert_places, sizes.experts);
  if (places == 0) {
    const uint64_t most = options.memory_bytes_max;
    const uint64_t others = plan.total_bytes() - sizes.expert_bytes + ExpertCache::buffer_bytes;
    const bool fits = most == 0 || plan.total_bytes() <= most;
    if (fits || !options.experts_on_disk || others >= most) return;
    const uint64_t room = (most - others) / std::max<uint64_t>(1, sizes.place_bytes);
    places = static_cast<int>(std::min<uint64_t>(room, sizes.experts));
    if (places < c.moe->experts_used) return;  // every token would read all that it chooses
  }
  plan.expert_places = places;
  plan.experts = sizes.experts;
  plan.expert_file_bytes = sizes.place_file_bytes;
  plan.weight_bytes = sizes.resident_bytes() + places * sizes.place_bytes;
  plan.workspace_bytes += ExpertCache::buffer_bytes;
}

}  // namespace

Decoder::Decoder() : parts_(std::make_unique<Parts>()) {}
Decoder::~Decoder() = default;

const ModelInfo& Decoder::info() const { return parts_->info; }
KvLayout Decoder::kv_layout() const { return parts_->kv_layout; }
KvPool& Decoder::kv_pool() { return *parts_->kv; }
int Decoder::batch_tokens_max() const { return parts_->options.batch_tokens_max; }
void Decoder::set_tap(Tap tap) { parts_->tap = std::move(tap); }
void Decoder::set_routing_tap(RoutingTap tap) { parts_->routing_tap = std::move(tap); }
ExpertCache::Counts Decoder::expert_counts() const {
  const ExpertCache* cache = parts_->weights.expert_cache.get();
  return cache ? cache->counts() : ExpertCache::Counts{};
}
const uint8_t* Decoder::page_for_test(PageId page) const { return parts_->kv->data(page); }

Result<MemoryPlan> Decoder::plan(const format::ModelFiles& files, const RunnerOptions& options) {
  ASSIGN(const Config config, files.config());
  TRY(check_options(config, options));
  MemoryPlan plan;
  ASSIGN(const WeightSizes sizes, weight_sizes(files, config, weight_options(config, options)));
  plan.weight_bytes = sizes.total_bytes;
  plan.program_bytes = options.program_bytes;
  const KvLayout kv = layout_of(config, options);
  plan.kv_bytes = PagedKv::bytes(kv, options.kv_pages);
  const int threads = options.pool->threads(), context = context_of(config, options);
  plan.workspace_bytes =
      step_bytes(config, options, options.batch_tokens_max) +
      tensor::AttentionScratch::bytes(attention_shape(config, kv), threads, context);
  if (config.mla) {
    plan.workspace_bytes += tensor::AttentionScratch::bytes(expanded_shape(config, kv), threads, 0);
  }
  place_experts(config, options, sizes, plan);
  return plan;
}

Result<std::unique_ptr<Decoder>> Decoder::load(const format::ModelFiles& files,
                                               const RunnerOptions& asked) {
  RunnerOptions options = asked;
  if (options.memory_bytes_max == 0) options.memory_bytes_max = available_memory_bytes();
  ASSIGN(const MemoryPlan memory, plan(files, options));
  if (options.memory_bytes_max > 0) TRY(check_memory(memory, options.memory_bytes_max));

  std::unique_ptr<Decoder> decoder(new Decoder);
  Parts& p = *decoder->parts_;
  ASSIGN(p.config, files.config());
  const Config& c = p.config;
  const int threads = options.pool->threads(), context = context_of(c, options);
  p.options = options;
  p.rope = make_rope(c);
  p.kv_layout = layout_of(c, options);
  p.attention = attention_shape(c, p.kv_layout);
  ASSIGN(p.kv, PagedKv::create(p.kv_layout, options.kv_pages));
  ASSIGN(p.workspace, tensor::Workspace::create(step_bytes(c, options, options.batch_tokens_max)));
  p.attention_scratch.emplace(p.attention, threads, context);
  if (c.mla) {
    p.expanded = expanded_shape(c, p.kv_layout);
    p.expanded_scratch.emplace(p.expanded, threads, 0);
  }
  ASSIGN(p.weights, load_weights(files, c, weight_options(c, options), memory.expert_places,
                                 options.load, *options.pool));
  p.options.load = {};
  p.info.architecture = c.architecture;
  p.info.vocab = c.vocab;
  p.info.hidden = c.hidden;
  p.info.image_codes = c.janus ? c.janus->drawing.codes : 0;
  p.info.context_tokens_max = c.context_tokens_max;
  p.info.layers = c.layers;
  p.info.weight_bytes = memory.weight_bytes;
  p.info.parameters = c.parameters;
  p.info.mtp = p.weights.mtp.has_value();
  p.info.expert_places = memory.expert_places;
  return decoder;
}

Result<std::unique_ptr<ModelRunner>> make_runner(const format::ModelFiles& files,
                                                 const RunnerOptions& options) {
  ASSIGN(std::unique_ptr<Decoder> decoder, Decoder::load(files, options));
  return std::unique_ptr<ModelRunner>(std::move(decoder));
}

Result<void> ModelRunner::draft(std::span<Segment>, Logits&) {
  return base::fail(ErrorKind::unsupported, "this model has no layer that drafts");
}

Result<void> Decoder::check_inputs(const Segment& s) const {
  const ModelInfo& info = parts_->info;
  const bool codes = s.vocab == Vocab::image;
  if ((codes || s.want == Head::image) && info.image_codes == 0) {
    return unsupported("this model knows no image codes", "it reads and writes text only");
  }
  if (s.want == Head::mtp && !info.mtp) {
    return unsupported("this model has no head mtp",
                       "its file has no layer that predicts one token more");
  }
  if (s.embeds != nullptr) {
    if (!info.mtp) return {};
    return unsupported("this model reads nothing but tokens",
                       "its layer that predicts one token more needs their ids");
  }
  const int most = codes ? info.image_codes : info.vocab;
  for (const int32_t id : s.ids) {
    if (id >= 0 && id < most) continue;
    return base::fail(ErrorKind::invalid_input,
                      fmt::format("{} {} does not exist", codes ? "image code" : "token id", id),
                      fmt::format("the model has {} 0 to {}", codes ? "codes" : "ids", most - 1));
  }
  return {};
}

Result<void> Decoder::check(std::span<const Segment> segments) const {
  int64_t rows = 0;
  for (const Segment& s : segments) {
    rows += static_cast<int64_t>(s.ids.size());
    const int64_t end = s.kv->length + static_cast<int64_t>(s.ids.size());
    CHECK(!s.ids.empty(), "the scheduler plans no empty segment");
    CHECK(end <= static_cast<int64_t>(s.kv->pages.size()) * page_tokens,
          "the scheduler took the pages before it planned the step");
    TRY(check_inputs(s));
  }
  CHECK(rows <= parts_->options.batch_tokens_max, "the scheduler knows the largest batch");
  return {};
}

Result<void> Decoder::forward(std::span<Segment> segments, Logits& logits) {
  TRY(check(segments));
  return Step(*parts_).run(segments, logits);
}

Result<void> Decoder::draft(std::span<Segment> segments, Logits& logits) {
  if (!parts_->info.mtp) return ModelRunner::draft(segments, logits);
  TRY(check(segments));
  for (const Segment& s : segments) {
    CHECK(s.ids.size() == 1 && s.kv->length > 0, "a draft follows what has been computed");
  }
  return Step(*parts_).draft(segments, logits);
}

}  // namespace model
