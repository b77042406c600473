// What a decoder is made of, shared by decoder.cc (which makes it) and the step_*.cc (which compute
// with it). Inside of the module only.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/decoder.h"
#include "model/expert_cache.h"
#include "model/kv_pool.h"
#include "model/rope.h"
#include "model/weights.h"
#include "tensor/attention.h"
#include "tensor/workspace.h"

namespace model {

// Rows of a prompt whose keys and values are expanded: for so many heads at a time, so that what is
// expanded stays small.
inline constexpr int expanded_heads_max = 16;
// Rows of sampled ids whose queries are absorbed at a time.
inline constexpr int absorbed_rows_max = 64;

// Rows of one segment: consecutive positions of a sequence, consecutive rows of the batch.
struct RowRange {
  const uint8_t* const* pages;  // of the sequence
  int first_slot;               // of the cache
  int count;
  int row;      // of the batch
  int out_row;  // where attention's output goes; differs from `row` after the last layer's keys
  Origin origin;
};

struct Parts {
  Config config;
  RunnerOptions options;
  ModelInfo info;
  Rope rope;
  Weights weights;
  KvLayout kv_layout;
  tensor::AttentionShape attention;  // over the cache: dense, or absorbed
  tensor::AttentionShape expanded;   // over expanded keys, expanded_heads_max heads at most
  std::unique_ptr<PagedKv> kv;
  std::optional<tensor::Workspace> workspace;
  std::optional<tensor::AttentionScratch> attention_scratch;
  std::optional<tensor::AttentionScratch> expanded_scratch;

  // Of a step; kept so that their memory is.
  std::vector<const uint8_t*> pages;  // of all segments
  std::vector<tensor::LinearJob> jobs;
  std::vector<tensor::GateUpJob> gate_up_jobs;
  std::vector<tensor::AttentionRows> attention_rows;
  std::vector<RowRange> absorbed;
  std::vector<Segment> draft_segments;

  Decoder::Tap tap;
  Decoder::RoutingTap routing_tap;
};

// ---- sizes, from the configuration
// ---------------------------------------------------------------

int q_width(const Config& config);      // of a row's queries, all heads
int heads_width(const Config& config);  // of attention's output, all heads
int ffn_width(const Config& config);    // of dense layers or shared experts, the wider
// The MTP layer is asked for, and there.
bool runs_mtp(const Config& config, const RunnerOptions& options);
KvLayout layout_of(const Config& config, const RunnerOptions& options);
tensor::AttentionShape attention_shape(const Config& config, const KvLayout& kv);
tensor::AttentionShape expanded_shape(const Config& config, const KvLayout& kv);
// Everything that a step takes of the workspace for a batch of `rows`, an upper bound.
uint64_t step_bytes(const Config& config, const RunnerOptions& options, int rows);

}  // namespace model
