// Test support: the goldens of tests/golden/model (their README says who made them), and a model
// with its pool of pages to run them on. Used by *_test.cc only.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "format/model_files.h"
#include "model/decoder.h"

namespace model::golden {

inline std::string folder(const std::string& family) {
  return std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/" + family;
}

inline std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

inline std::vector<int32_t> ids_of(const base::Json& array) {
  std::vector<int32_t> ids;
  for (const base::Json& id : array.as_array()) ids.push_back(static_cast<int>(id.as_integer()));
  return ids;
}

// expected.json and the tensors of expected.bin.
struct Expected {
  base::Json json;
  std::string bin;

  explicit Expected(const std::string& in_folder) {
    json = *base::parse_json(file_text(in_folder + "/expected.json"), "expected.json");
    bin = file_text(in_folder + "/expected.bin");
  }
  const base::Json& operator[](std::string_view key) const { return *json.find(key); }
  std::vector<float> tensor(std::string_view name) const {
    const base::Json& t = *json.find("tensors")->find(name);
    std::vector<float> values(t.find("bytes")->as_integer() / 4);
    std::memcpy(values.data(), bin.data() + t.find("offset")->as_integer(), values.size() * 4);
    return values;
  }
  // Largest absolute difference of a prompt's logits that the golden allows.
  double bound(const std::string& prompt) const {
    const base::Json& tolerance = *json.find("meta")->find("tolerance");
    return tolerance.find("recommended_per_prompt")->find(prompt)->as_number();
  }
};

struct Setting {
  tensor::Isa isa = tensor::Isa::scalar;
  tensor::Precision precision = tensor::Precision::exact;
  int threads = 2;
  int batch_tokens_max = 1024;
  int kv_pages = 96;
  bool mtp = false;
  int expert_places = 0;  // of each layer; the other experts are read from disk
};

// What NAUTILE_ISA forces, else plain C++ and the best of this machine.
inline std::vector<tensor::Isa> isas() {
  const char* forced = std::getenv("NAUTILE_ISA");
  std::vector<tensor::Isa> all;
  if (!forced) all.push_back(tensor::Isa::scalar);
  const auto isa = tensor::choose_isa(forced ? forced : "");
  if (isa && (all.empty() || *isa != all[0])) all.push_back(*isa);
  EXPECT_FALSE(all.empty()) << "NAUTILE_ISA names what this machine lacks";
  return all;
}

// Whether what the scalar kernels compute is this run's matter: not where other kernels are forced,
// as then a run of its own forces the scalar ones (the isa tier).
inline bool tests_scalar() {
  const char* forced = std::getenv("NAUTILE_ISA");
  return forced == nullptr || std::string_view(forced) == "scalar";
}

// A model and everything that it borrows.
struct Model {
  base::Pool pool;
  std::unique_ptr<format::ModelFiles> files;
  std::unique_ptr<Decoder> decoder;

  Model(const std::string& path, const Setting& setting) : pool(setting.threads) {
    auto opened = format::ModelFiles::open(path);
    if (!opened) throw std::runtime_error(opened.error().message());
    files = std::move(*opened);
    RunnerOptions options;
    options.pool = &pool;
    options.isa = setting.isa;
    options.precision = setting.precision;
    options.kv_pages = setting.kv_pages;
    options.batch_tokens_max = setting.batch_tokens_max;
    options.mtp = setting.mtp;
    options.expert_places = setting.expert_places;
    auto loaded = Decoder::load(*files, options);
    if (!loaded) throw std::runtime_error(loaded.error().message());
    decoder = std::move(*loaded);
  }
};

// A sequence in the model's cache.
struct Sequence {
  Model& model;
  KvTable kv;

  explicit Sequence(Model& m) : model(m) {}
  ~Sequence() {
    for (const PageId page : kv.pages) model.decoder->kv_pool().release(page);
  }
  Sequence(const Sequence&) = delete;
  Segment segment(std::span<const int32_t> ids, Head want, bool all_rows,
                  Origin origin = Origin::prompt) {
    const int end = kv.length + static_cast<int>(ids.size());
    while (static_cast<int>(kv.pages.size()) * page_tokens < end) {
      const PageId page = model.decoder->kv_pool().take();
      if (page < 0) throw std::runtime_error("the test needs more pages");
      kv.pages.push_back(page);
    }
    return {&kv, origin, ids, want, all_rows};
  }
};

// Logits after every id (of the head mtp: but the first), read in chunks of `chunk`.
inline std::vector<float> logits_of(Model& model, std::span<const int32_t> ids, int chunk,
                                    Origin origin = Origin::prompt, Head head = Head::text) {
  Sequence sequence(model);
  std::vector<float> all;
  Logits logits;
  for (size_t first = 0; first < ids.size(); first += chunk) {
    const size_t count = std::min<size_t>(chunk, ids.size() - first);
    Segment segment = sequence.segment(ids.subspan(first, count), head, true, origin);
    const auto done = model.decoder->forward({&segment, 1}, logits);
    EXPECT_TRUE(done.has_value());
    all.insert(all.end(), logits.values.begin(), logits.values.end());
  }
  return all;
}

inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // a NaN stays
  }
  return largest;
}

// Bit for bit; says where the first difference is.
inline void expect_same(const std::vector<float>& got, const std::vector<float>& wanted, int vocab,
                        const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  if (std::memcmp(got.data(), wanted.data(), got.size() * sizeof(float)) == 0) return;
  size_t i = 0;
  while (std::memcmp(&got[i], &wanted[i], sizeof(float)) == 0) ++i;
  ADD_FAILURE() << what << ": row " << i / vocab << " of " << got.size() / vocab << ", " << got[i]
                << " instead of " << wanted[i];
}

inline std::vector<int32_t> some_ids(int count, int vocab, unsigned seed) {
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) {
    seed = seed * 1664525u + 1013904223u;
    id = static_cast<int>((seed >> 8) % vocab);
  }
  return ids;
}

inline int argmax(std::span<const float> row) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(row.size()); ++i) {
    if (row[i] > row[best]) best = i;
  }
  return best;
}

}  // namespace model::golden
