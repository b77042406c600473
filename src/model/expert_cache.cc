#include "model/expert_cache.h"

#include <algorithm>

#include "base/check.h"
#include "model/weight_reader.h"

namespace model {

using base::Result;

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const format::ModelFiles& files,
                                                         const std::vector<WeightItem>& items,
                                                         int places) {
  CHECK(places > 0 && !items.empty(), "a cache of something");
  std::unique_ptr<ExpertCache> cache(new ExpertCache(files, places));
  uint64_t total = 0;
  for (const WeightItem& item : items) {
    for (int e = 0; e < item.count; ++e) {
      item.matrices[e] = {item.dtype, item.rows, item.cols, nullptr};
    }
    const auto index = static_cast<size_t>(item.expert_layer);
    if (cache->layer_at_.size() <= index) cache->layer_at_.resize(index + 1, -1);
    if (cache->layer_at_[index] < 0) {
      cache->layer_at_[index] = static_cast<int>(cache->layers_.size());
      cache->layers_.push_back({{}, 0, nullptr, ExpertPlaces(item.count, places)});
    }
    Layer& layer = cache->layer_of(item.expert_layer);
    layer.parts.push_back(item);
    layer.expert_bytes += tensor::arena_bytes(item.matrix_bytes);
    total += tensor::arena_bytes(item.matrix_bytes) * places;
  }
  ASSIGN(cache->arena_, tensor::WeightArena::create(total));
  for (Layer& layer : cache->layers_) {
    ASSIGN(layer.memory, cache->arena_.allocate(layer.expert_bytes * places));
  }
  // What is read stays in our own places: the page cache would be a second, less clever one.
  files.bypass_page_cache();
  for (int i = 0; i < reader_threads; ++i) {
    cache->readers_.emplace_back([owner = cache.get()] { owner->read_jobs(); });
  }
  return cache;
}

ExpertCache::~ExpertCache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  work_.notify_all();
  for (std::thread& reader : readers_) reader.join();
}

// ---- a step, on the model's thread
// ---------------------------------------------------------------

std::span<const int> ExpertCache::begin(int layer, std::span<const int> rows, int tokens) {
  finish_step();
  layer_ = &layer_of(layer);
  ExpertPlaces& places = layer_->places;
  places.note_use(rows, tokens);
  order_.clear();
  for (int e = 0; e < static_cast<int>(rows.size()); ++e) {
    if (rows[e] > 0) order_.push_back(e);
  }
  const auto missing = std::stable_partition(order_.begin(), order_.end(),
                                             [&](int e) { return places.place_of(e) >= 0; });
  present_ = static_cast<int>(missing - order_.begin());
  given_from_ = given_to_ = 0;
  requested_ = present_;
  for (int i = 0; i < present_; ++i) places.hold(order_[i]);
  counts_.used += order_.size();
  counts_.read += order_.size() - present_;
  request();
  return order_;
}

// A step that failed elsewhere leaves its experts held and its reading under way.
void ExpertCache::finish_step() {
  if (!layer_) return;
  const Result<void> outcome = wait();
  for (int i = given_from_; i < requested_; ++i) {
    const bool there = outcome || i < given_to_;
    if (there) {
      layer_->places.release(order_[i]);
    } else {
      layer_->places.forget(order_[i]);
    }
  }
  given_from_ = requested_;
  layer_ = nullptr;
}

Result<int> ExpertCache::next() {
  CHECK(layer_ && given_to_ < static_cast<int>(order_.size()), "there is another expert");
  for (int i = given_from_; i < given_to_; ++i) layer_->places.release(order_[i]);
  given_from_ = given_to_;
  if (given_from_ < present_) {
    given_to_ = present_;
    return given_to_ - given_from_;
  }
  if (requested_ == given_from_) request();
  if (Result<void> read = wait(); !read) {
    for (int i = given_from_; i < requested_; ++i) layer_->places.forget(order_[i]);
    given_from_ = given_to_ = requested_;
    return base::fail(std::move(read).error());
  }
  given_to_ = requested_;
  request();
  return given_to_ - given_from_;
}

// Lets the readers begin with the next experts that are missing: at most half of the places, so
// that the other half can be read while these are computed with.
void ExpertCache::request() {
  const int most = std::max(1, places_ / 2);
  for (int n = 0; n < most && requested_ < static_cast<int>(order_.size()); ++n, ++requested_) {
    if (layer_->places.take(order_[requested_]) < 0) break;
    place(*layer_, order_[requested_]);
  }
}

void ExpertCache::place(Layer& layer, int expert) {
  uint8_t* memory = layer.memory + layer.places.place_of(expert) * layer.expert_bytes;
  const std::lock_guard lock(mutex_);
  for (const WeightItem& item : layer.parts) {
    item.matrices[expert].data = memory;
    for (int64_t c = 0; c < chunk_count(item); ++c) jobs_.push_back({&item, expert, c, memory});
    open_jobs_ += static_cast<int>(chunk_count(item));
    memory += tensor::arena_bytes(item.matrix_bytes);
  }
  work_.notify_all();
}

// For all that has been requested.
Result<void> ExpertCache::wait() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return open_jobs_ == 0; });
  return std::exchange(outcome_, {});
}

// ---- the readers
// ---------------------------------------------------------------------------------

void ExpertCache::read_jobs() {
  std::vector<uint8_t> buffer;
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const Job job = jobs_.front();
    jobs_.pop_front();
    lock.unlock();
    Result<void> read = replace_chunk(files_, *job.item, job.expert, job.chunk, job.memory, buffer);
    lock.lock();
    if (!read && outcome_) outcome_ = std::move(read);
    if (--open_jobs_ == 0) done_.notify_one();
  }
}

}  // namespace model
