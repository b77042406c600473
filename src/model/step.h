// Step: one pass of a batch through the layers. Its pieces stand in step.cc (order, norms, head),
// step_dense.cc and step_latent.cc (attention), step_experts.cc, step_codes.cc and step_mtp.cc.
// Lives as long as the pass; memory is the workspace's.
#pragma once

#include "model/parts.h"
#include "model/routing.h"
#include "tensor/activations.h"

namespace model {

// Rows that one thread takes at a time for the small operations.
inline constexpr int rows_grain = 4;

// What a step knows of its rows; memory of the workspace.
struct Batch {
  int rows = 0;
  int32_t* ids = nullptr;      // (rows)
  uint8_t** pages = nullptr;   // (rows) the page that the row's keys go to
  int* slots = nullptr;        // (rows) where in the cache: the position of the id
  float* cosine = nullptr;     // (rows, rotary_dims / 2)
  float* sine = nullptr;       // (rows, rotary_dims / 2)
  RowRange* ranges = nullptr;  // (segments)
  int segments = 0;
  // The rows that go on after the last layer's keys and values: those that want logits.
  int kept = 0;
  int* kept_rows = nullptr;         // (kept) indices into the rows
  bool* kept_codes = nullptr;       // (kept) those that want image codes
  RowRange* kept_ranges = nullptr;  // (kept_segments)
  int kept_segments = 0;
  int codes = 0;                  // of the kept rows, those that want image codes
  const float** given = nullptr;  // (rows)? what stands in the place of an id's embedding, or null
};

class Step {
 public:
  explicit Step(Parts& parts);

  // Through all layers; logits of the head that the segments want.
  base::Result<void> run(std::span<Segment> segments, Logits& logits);
  // The MTP layer alone, on ids that follow their sequences.
  base::Result<void> draft(std::span<Segment> segments, Logits& logits);

 private:
  void begin(std::span<const Segment> segments, Head want, int slot_shift);
  int skipped(const Segment& segment) const;
  void describe(std::span<const Segment> segments);
  void keep(const Segment& segment, const RowRange& range);
  void embed(const Embedding& embedding, float* to, int64_t stride);
  base::Result<void> layer(const LayerWeights& w, int index, bool last);
  void drop_rows();
  void feed_forward(const FeedForwardWeights& w, int rows);
  void head(const float* norm_weight, const tensor::PackedMatrix& w, Logits& logits);
  bool is_wanted(const Segment& segment) const;
  void tap(int layer) const;

  void norm(const float* from, const float* weight, float* to, int rows, double eps);
  void rotate(float* head, const float* norm_weight, int64_t row) const;
  tensor::QuantRows quantize(const float* x, int rows, int width,
                             std::initializer_list<const tensor::PackedMatrix*> matrices);
  void linear(const tensor::PackedMatrix& w, const tensor::QuantRows& x,
              const tensor::LinearOut& out);
  void add_residual_pass(const tensor::PackedMatrix& w, const tensor::QuantRows& x, float* rest,
                         float* y, int64_t stride);
  int64_t layer_offset(int index) const { return index * p_.attention.kv.bytes(); }
  bool exact() const { return p_.options.precision == tensor::Precision::exact; }

  // step_dense.cc
  void take_dense();
  void dense_project(const DenseAttentionWeights& w, int index);
  void dense_attend(std::span<const RowRange> ranges, int index);

  // step_latent.cc
  void take_latent();
  void latent_project(const LatentAttentionWeights& w, int index);
  void latent_queries(const LatentAttentionWeights& w, const tensor::QuantRows& x);
  void latent_keys(const LatentAttentionWeights& w, const tensor::QuantRows& x, int index);
  void latent_attend(const LatentAttentionWeights& w, std::span<const RowRange> ranges, int index);
  void absorbed_attend(const LatentAttentionWeights& w, int rows, int index);
  void each_head(const MatrixStack& stack, const float* x, int rows, int width, float* y,
                 int64_t head_step, int64_t stride);
  void expanded_attend(const LatentAttentionWeights& w, const RowRange& range, int index);
  void expand_span(const LatentAttentionWeights& w, const RowRange& range, int index, int span,
                   int first_head, const tensor::KvBlockLayout& layout, uint8_t* blocks);

  // step_experts.cc
  base::Result<void> experts(const ExpertWeights& w, int rows, int index);
  base::Result<void> run_experts(const ExpertWeights& w, int rows, const Route* routes, int index);
  std::span<const int> expert_order(std::span<const int> counts, int rows, int index);
  void sort_routes(std::span<const Route> routes, std::span<const int> order, int* counts,
                   int* first, int* place) const;
  void run_some_experts(const ExpertWeights& w, std::span<const int> experts, const int* first,
                        float* x, float* inner);

  // step_codes.cc
  void read_inputs(std::span<const Segment> segments);
  float* align_codes(std::span<const Segment> segments, int count);
  void affine(const AffineWeights& w, const float* x, int rows, float* y);
  void gelu(float* x, int rows, int width);
  void part_codes();
  void code_head(Logits& logits);

  // step_mtp.cc
  float* state_of(PageId page, int position) const;
  void save_states(std::span<const Segment> segments, const float* states) const;
  base::Result<void> follow(std::span<const Segment> segments, const float* states, Logits& logits);
  void join(const float* const* before);

  Parts& p_;
  const Config& c_;
  const tensor::Isa isa_;
  base::Pool& pool_;
  tensor::Workspace& workspace_;
  Batch b_;
  Head want_ = Head::none;
  int slot_shift_ = 0;       // the id in slot s computes position s - slot_shift_; 1 for MTP
  float* x_ = nullptr;       // (rows, hidden) residual stream
  float* normed_ = nullptr;  // (rows, hidden)
  float* q_ = nullptr;       // (rows, q_stride) queries; dense: then keys, then values
  int64_t q_stride_ = 0;
  float* latent_ = nullptr;    // (rows, kv_lora_rank + qk_rope_dim)
  float* q_latent_ = nullptr;  // (rows, q_lora_rank)
  float* heads_ = nullptr;     // (rows, heads_width) attention's output
  float* ffn_ = nullptr;       // (rows, ffn_width)
};

}  // namespace model
