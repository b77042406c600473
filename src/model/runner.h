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

// mtp: the logits of the layer that predicts one id more (DeepSeek V3): with the ids up to and with
// t[i] they tell of t[i + 1], as text does, but computed from the main layers' state at t[i - 1].
// image: the logits of the next image code (Janus).
enum class Head { none, text, mtp, image };
// What the ids of a segment are.
enum class Vocab : uint8_t { text, image };
// Chooses the form of latent attention (MLA), never the size of a batch: keys expanded for prompts,
// the query absorbed for sampled ids. Part of cache keys.
enum class Origin : uint8_t { prompt, sampled };

// `ids` continue a sequence whose cache holds kv->length positions: ids[i] gets position
// kv->length + i. forward() writes their keys and values and advances kv->length. The caller has
// made sure that kv->pages has room.
struct Segment {
  KvTable* kv;
  Origin origin;
  std::span<const int32_t> ids;
  Head want = Head::none;
  bool all_rows = false;  // logits after every id (perplexity, echo), else only after the last
  Vocab vocab = Vocab::text;
  // (ids.size(), info().hidden)? rows that stand in the place of the ids' embeddings: what a
  // picture shows. The ids are only counted then.
  const float* embeds = nullptr;
};

// Rows in the order of the segments that wanted them; text and mtp do not meet in one step, image
// rows stand apart.
struct Logits {
  int vocab = 0;
  std::vector<float> values;  // (rows, vocab)
  int image_vocab = 0;
  std::vector<float> image_values;  // (rows that wanted Head::image, image_vocab)
  std::span<const float> image_row(int i) const {
    return {image_values.data() + static_cast<int64_t>(i) * image_vocab,
            static_cast<size_t>(image_vocab)};
  }
  std::span<const float> row(int i) const {
    return {values.data() + static_cast<int64_t>(i) * vocab, static_cast<size_t>(vocab)};
  }
};

struct ModelInfo {
  std::string architecture;    // "llama", "qwen2", "qwen3", "deepseek", "deepseek2", "janus"
  int vocab = 0;               // rows of the embedding, may exceed the tokenizer
  int hidden = 0;              // width of an embedding
  int image_codes = 0;         // Vocab::image and Head::image are there; 0: not
  int context_tokens_max = 0;  // what the file declares
  int layers = 0;
  uint64_t weight_bytes = 0;
  uint64_t parameters = 0;
  bool mtp = false;       // draft() and Head::mtp are there
  int expert_places = 0;  // experts of a layer that are in memory at a time; 0: all of them
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual const ModelInfo& info() const = 0;
  virtual KvLayout kv_layout() const = 0;
  virtual KvPool& kv_pool() = 0;
  virtual int batch_tokens_max() const = 0;  // ids of all segments together in one forward()
  virtual base::Result<void> forward(std::span<Segment> segments, Logits& logits) = 0;

  // A guess at the id after next, for speculation (info().mtp). Each segment has one id, which
  // follows its kv->length positions but is not computed yet: only the MTP layer reads it.
  // kv->length stays, and kv->pages has room for the id. One row of logits a segment; `want` and
  // `all_rows` are not looked at. A guess that was wrong is taken back by shortening kv->length
  // (by less than states_kept): nothing that is read later knows of it.
  virtual base::Result<void> draft(std::span<Segment> segments, Logits& logits);
};

}  // namespace model
