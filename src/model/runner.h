// The engine's side of a model: a batch of segments in, logits out. One thread owns a runner and
// everything it was given (KvPool, Workspace). It knows no scheduler, no sampling, no text.
//
// The result of a row does not depend on the other rows of the batch, on how the prompt was cut
// into segments, on the number of threads, or on whether a page came from the prefix cache.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/kv.h"

namespace model {

enum class Head { none, text };
enum class Origin : uint8_t { prompt, sampled };  // chooses MLA's form later; part of cache keys

// `ids` continue a sequence whose cache holds kv->length positions: ids[i] gets position
// kv->length + i. forward() writes their keys and values and advances kv->length. The caller has
// made sure that kv->pages has room.
struct Segment {
  KvTable* kv;
  Origin origin;
  std::span<const int32_t> ids;
  Head want = Head::none;
  bool all_rows = false;  // logits after every id (perplexity, echo), else only after the last
};

// Rows in the order of the segments that wanted them.
struct Logits {
  int vocab = 0;
  std::vector<float> values;  // (rows, vocab)
  std::span<const float> row(int i) const {
    return {values.data() + static_cast<int64_t>(i) * vocab, static_cast<size_t>(vocab)};
  }
};

struct ModelInfo {
  std::string architecture;    // "llama", "qwen2", "qwen3"
  int vocab = 0;               // rows of the embedding, may exceed the tokenizer
  int context_tokens_max = 0;  // what the file declares
  int layers = 0;
  uint64_t weight_bytes = 0;
  uint64_t parameters = 0;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const ModelInfo& info() const = 0;
  virtual KvLayout kv_layout() const = 0;
  virtual KvPool& kv_pool() = 0;
  virtual int batch_tokens_max() const = 0;  // ids of all segments together in one forward()
  virtual base::Result<void> forward(std::span<Segment> segments, Logits& logits) = 0;
};

}  // namespace model
