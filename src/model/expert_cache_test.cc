// Which experts give way; what is read, and that an error of the disk ends a step and nothing else.
#include "model/expert_cache.h"

#include <atomic>
#include <gtest/gtest.h>
#include <numeric>

#include "model/disk_estimate.h"
#include "model/golden_for_test.h"
#include "model/weight_reader.h"
#include "tensor/dtype.h"

namespace model {
namespace {

std::vector<int> rows_of(int experts, std::initializer_list<int> chosen) {
  std::vector<int> rows(experts, 0);
  for (const int e : chosen) ++rows[e];
  return rows;
}

TEST(DiskEstimate, ReadingHidesWhatIsComputedMeanwhile) {
  DiskEstimate estimate;
  estimate.disk_bytes_per_s = 500;
  estimate.memory_bytes_per_s = 4'000;
  estimate.disk_bytes_per_token = 500;
  estimate.memory_bytes_per_token = 2'000;
  estimate.alone_bytes_per_token = 1'000;
  EXPECT_DOUBLE_EQ(estimate.tokens_per_s(), 0.8);  // 1 s for the disk, a quarter alone
  estimate.disk_bytes_per_s = 50'000;
  EXPECT_DOUBLE_EQ(estimate.tokens_per_s(), 2.0);  // computing is what takes the time
}

TEST(ExpertPlaces, TheLeastUsedGivesWay) {
  ExpertPlaces places(6, 3);
  for (const int e : {0, 1, 2}) {
    places.note_use(rows_of(6, {e}), 1);
    EXPECT_GE(places.take(e), 0);
    places.release(e);
  }
  places.note_use(rows_of(6, {0, 1, 1, 2, 2}), 1);
  const int place = places.place_of(0);
  EXPECT_EQ(places.take(5), place);
  EXPECT_EQ(places.place_of(0), -1);
  EXPECT_GE(places.place_of(1), 0);
}

TEST(ExpertPlaces, OfEquallyUsedTheOldestGivesWay) {
  ExpertPlaces places(4, 2);
  for (const int e : {3, 1}) {
    places.note_use(rows_of(4, {e}), 1);
    places.take(e);
    places.release(e);
  }
  places.take(0);
  EXPECT_EQ(places.place_of(3), -1);
  EXPECT_GE(places.place_of(1), 0);
}

TEST(ExpertPlaces, UsesOfLongAgoCountLess) {
  ExpertPlaces places(4, 2);
  places.note_use(rows_of(4, {0, 0, 0}), 1);
  places.take(0);
  places.release(0);
  places.note_use(rows_of(4, {}), 4 * ExpertPlaces::use_half_life_tokens);
  places.note_use(rows_of(4, {1}), 1);
  places.take(1);
  places.release(1);
  places.take(2);
  EXPECT_EQ(places.place_of(0), -1);
  EXPECT_GE(places.place_of(1), 0);
}

TEST(ExpertPlaces, HeldOnesStayAndForgottenOnesAreFree) {
  ExpertPlaces places(4, 2);
  EXPECT_GE(places.take(0), 0);
  EXPECT_GE(places.take(1), 0);
  EXPECT_EQ(places.take(2), -1);
  places.forget(1);
  EXPECT_EQ(places.place_of(1), -1);
  EXPECT_GE(places.take(2), 0);
  EXPECT_EQ(places.take(3), -1);
  places.release(0);
  EXPECT_GE(places.take(3), 0);
  EXPECT_EQ(places.place_of(0), -1);
}

// A model's files with a disk that can break.
class BreakableFiles : public format::ModelFiles {
 public:
  explicit BreakableFiles(const format::ModelFiles& files) : files_(files) {}
  const std::vector<format::TensorInfo>& tensors() const override { return files_.tensors(); }
  const format::TensorInfo* find(std::string_view name) const override { return files_.find(name); }
  base::Result<void> read(const format::TensorInfo& tensor, uint64_t from,
                          std::span<uint8_t> out) const override {
    if (good_reads-- <= 0) {
      return base::fail(base::ErrorKind::io, "the disk is broken", "input/output error");
    }
    return files_.read(tensor, from, out);
  }
  uint64_t bytes_total() const override { return files_.bytes_total(); }
  std::string container() const override { return files_.container(); }
  base::Json metadata() const override { return files_.metadata(); }
  base::Result<format::ModelConfig> config() const override { return files_.config(); }
  base::Result<text::TokenizerSpec> tokenizer() const override { return files_.tokenizer(); }

  mutable std::atomic<int> good_reads{1 << 30};

 private:
  const format::ModelFiles& files_;
};

class ExpertCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = format::ModelFiles::open(golden::folder("ds-v2-lite"));
    ASSERT_TRUE(opened.has_value());
    inner_ = std::move(*opened);
    files_ = std::make_unique<BreakableFiles>(*inner_);
    config_ = *files_->config();
    auto items = plan_weights(*files_, config_, {}, weights_);
    ASSERT_TRUE(items.has_value());
    for (const WeightItem& item : *items) {
      if (item.expert_layer >= 0) items_.push_back(item);
    }
  }
  std::unique_ptr<ExpertCache> make(int places) {
    auto cache = ExpertCache::create(*files_, items_, places);
    EXPECT_TRUE(cache.has_value());
    return cache ? std::move(*cache) : nullptr;
  }
  // Gives out all experts of a step, checks each against the file; how many were given out.
  int run(ExpertCache& cache, int layer, std::initializer_list<int> chosen) {
    const auto order = cache.begin(layer, rows_of(config_.moe->experts, chosen), 1);
    size_t done = 0;
    while (done < order.size()) {
      const auto ready = cache.next();
      if (!ready) {
        error_ = ready.error();
        return static_cast<int>(done);
      }
      EXPECT_GE(*ready, 1);
      for (int i = 0; i < *ready; ++i) expect_in_memory(layer, order[done + i]);
      done += *ready;
    }
    return static_cast<int>(done);
  }
  void expect_in_memory(int layer, int expert) {
    for (const WeightItem& item : items_) {
      if (item.expert_layer != layer) continue;
      const int64_t row = tensor::row_bytes(item.dtype, item.cols);
      std::vector<uint8_t> wanted(row * item.rows), got(wanted.size());
      ASSERT_TRUE(inner_->read(*item.tensor, expert * row * item.rows, wanted).has_value());
      ASSERT_NE(item.matrices[expert].data, nullptr);
      tensor::unpack_rows(item.matrices[expert], 0, item.rows, got.data());
      EXPECT_EQ(got, wanted) << item.tensor->name << " expert " << expert;
    }
  }

  std::unique_ptr<format::ModelFiles> inner_;
  std::unique_ptr<BreakableFiles> files_;
  Config config_;
  Weights weights_;
  std::vector<WeightItem> items_;
  base::Error error_;
};

TEST_F(ExpertCacheTest, ReadsWhatIsMissingAndKeepsWhatIsUsed) {
  const auto cache = make(4);
  EXPECT_EQ(run(*cache, 1, {0, 1, 2}), 3);
  EXPECT_EQ(cache->counts().read, 3u);
  EXPECT_EQ(run(*cache, 1, {2, 0, 1}), 3);
  EXPECT_EQ(cache->counts().read, 3u);
  EXPECT_EQ(run(*cache, 2, {2, 0, 1}), 3);  // another layer has places of its own
  EXPECT_EQ(cache->counts().read, 6u);
  EXPECT_EQ(run(*cache, 1, {0, 1, 8}), 3);
  EXPECT_EQ(run(*cache, 1, {0, 1, 7}), 3);  // 2 gives way
  EXPECT_EQ(cache->counts().read, 8u);
  EXPECT_EQ(run(*cache, 1, {0, 1}), 2);
  EXPECT_EQ(cache->counts().read, 8u);
  EXPECT_EQ(cache->counts().used, 17u);
}

TEST_F(ExpertCacheTest, MoreExpertsThanPlacesComeInTurns) {
  for (const int places : {1, 2, 3, 5, 9}) {
    const auto cache = make(places);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(run(*cache, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8}), 9);
      EXPECT_EQ(run(*cache, 2, {8, 3, 5}), 3);
    }
  }
}

TEST_F(ExpertCacheTest, AnErrorOfTheDiskEndsOneStep) {
  const auto cache = make(4);
  EXPECT_EQ(run(*cache, 1, {0, 1}), 2);
  for (int good = 0; good < 6; ++good) {
    files_->good_reads = good;
    EXPECT_LE(run(*cache, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8}), 8);
    EXPECT_EQ(error_.kind, base::ErrorKind::io);
    EXPECT_EQ(error_.what, "the disk is broken");
    files_->good_reads = 1 << 30;
    EXPECT_EQ(run(*cache, 1, {0, 4, 5, 8}), 4);  // and what it left is no one's expert
    EXPECT_EQ(run(*cache, 2, {0, 1, 2}), 3);
  }
}

// A step that fails elsewhere stops asking: reading goes on, places must not stay taken.
TEST_F(ExpertCacheTest, AStepMayStopHalfWay) {
  const auto cache = make(3);
  for (int i = 0; i < 10; ++i) {
    const auto order = cache->begin(1, rows_of(9, {0, 2, 4, 6, 8}), 1);
    EXPECT_EQ(order.size(), 5u);
    if (i % 2 == 0) {
      EXPECT_TRUE(cache->next().has_value());
    }
    EXPECT_EQ(run(*cache, 1, {1, 3, 5}), 3);
  }
  cache->begin(2, rows_of(9, {0, 1, 2}), 1);  // destroyed while it reads
}

// ---- through the model: an error on the step, and the next one is right again
// ---------------------

TEST(ExpertsOnDisk, AReadErrorFailsTheStepAndLeavesTheSequenceAsItWas) {
  auto inner = format::ModelFiles::open(golden::folder("ds-v3"));
  ASSERT_TRUE(inner.has_value());
  BreakableFiles files(**inner);
  base::Pool pool(2);
  RunnerOptions options;
  options.pool = &pool;
  options.isa = golden::isas().back();
  options.kv_pages = 8;
  options.mtp = true;
  options.expert_places = 2;
  auto loaded = Decoder::load(files, options);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message();
  Decoder& decoder = **loaded;
  const auto ids = golden::some_ids(20, 250, 3);
  KvTable broken, whole;
  for (KvTable* table : {&broken, &whole}) table->pages.push_back(decoder.kv_pool().take());
  Logits logits, wanted;
  Segment all{&whole, Origin::prompt, ids, Head::text, true};
  ASSERT_TRUE(decoder.forward({&all, 1}, wanted).has_value());
  Segment some{&broken, Origin::prompt, ids, Head::text, true};
  for (const int good : {0, 3, 20}) {
    files.good_reads = good;
    const auto failed = decoder.forward({&some, 1}, logits);
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().kind, base::ErrorKind::io);
    EXPECT_EQ(broken.length, 0);
  }
  files.good_reads = 1 << 30;
  ASSERT_TRUE(decoder.forward({&some, 1}, logits).has_value());
  EXPECT_EQ(logits.values, wanted.values);
  EXPECT_EQ(broken.length, 20);
}

}  // namespace
}  // namespace model
