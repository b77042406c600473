// ExpertCache: the experts of a model whose weights exceed the memory. Every layer that has experts
// keeps some of them in places of its own; one that a step needs and that has no place is read from
// the file, packed as the loader packs it, so that kernels see the bytes that they would see if the
// whole model were in memory.
//
//   a step                         the readers
//   order = begin(layer, rows)     read the first experts that are missing
//   next(): those in memory        ... meanwhile
//   next(): those just read        read the next ones, into places that nobody computes with
//   ... until all of `order` have been given out
//
// One thread calls it (the model's). Reading is done by `reader_threads` threads of its own: they
// wait for the disk while the pool computes.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/result.h"
#include "format/model_files.h"
#include "model/expert_places.h"
#include "model/weight_plan.h"
#include "tensor/arena.h"

namespace model {

class ExpertCache {
 public:
  // Enough for the queue of an SSD; one waits for the disk nearly all of its time.
  static constexpr int reader_threads = 4;
  // What the readers take beside the places: a chunk as the file has it, and once more aligned.
  static constexpr uint64_t buffer_bytes = uint64_t{2 * reader_threads} << 20;

  // `items`: the experts' matrices of all layers, whose views this sets. `files` outlives it.
  static base::Result<std::unique_ptr<ExpertCache>> create(const format::ModelFiles& files,
                                                           const std::vector<WeightItem>& items,
                                                           int places);
  ~ExpertCache();
  ExpertCache(const ExpertCache&) = delete;
  ExpertCache& operator=(const ExpertCache&) = delete;

  // The experts that have rows, in the order in which next() gives them out; valid until the next
  // begin(). rows: (experts), of `tokens` tokens.
  std::span<const int> begin(int layer, std::span<const int> rows, int tokens);
  // How many of the order's next experts are in memory now, at least 1; they are until the next
  // call. An error of the disk ends the step; the cache stays usable.
  base::Result<int> next();

  struct Counts {
    uint64_t used = 0;  // experts that steps computed with
    uint64_t read = 0;  // of them from the file
  };
  const Counts& counts() const { return counts_; }

 private:
  struct Layer {
    std::vector<WeightItem> parts;  // gate, up, down
    uint64_t expert_bytes = 0;
    uint8_t* memory = nullptr;  // (places, expert_bytes)
    ExpertPlaces places;
  };
  struct Job {
    const WeightItem* item;
    int expert;
    int64_t chunk;
    uint8_t* memory;
  };

  ExpertCache(const format::ModelFiles& files, int places) : files_(files), places_(places) {}
  Layer& layer_of(int layer) { return layers_[layer_at_[layer]]; }
  void finish_step();
  void request();
  void place(Layer& layer, int expert);
  base::Result<void> wait();
  void read_jobs();

  const format::ModelFiles& files_;
  const int places_;
  tensor::WeightArena arena_;
  std::vector<Layer> layers_;
  std::vector<int> layer_at_;  // by the model's index: which of layers_, -1: it has no experts

  // Of the step at work: order_[given_from_, given_to_) are computed with, up to requested_ they
  // are being read.
  Layer* layer_ = nullptr;
  std::vector<int> order_;
  int present_ = 0, given_from_ = 0, given_to_ = 0, requested_ = 0;
  Counts counts_;

  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<Job> jobs_;  // guarded by mutex_, as the rest
  int open_jobs_ = 0;     // not finished
  base::Result<void> outcome_;
  bool stopping_ = false;
  std::vector<std::thread> readers_;
};

}  // namespace model
