// DeepSeek's models that people run at home, by the names that they know, with what decides whether
// this machine can: size, memory, licence, and the speed to expect from its measured bandwidth.
// Sizes are those of the usual file (Q4_K_M unless the name says otherwise) and approximate.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pull/reference.h"

namespace pull {

struct CatalogueModel {
  std::string_view name;        // "DeepSeek-R1-Distill-Qwen-7B"
  std::string_view short_name;  // "r1-7b"
  std::string_view reference;   // "hf:…"
  std::string_view licence;
  double gib = 0;           // of its files, about
  double parameters_b = 0;  // thousand millions
  double active_b = 0;      // of them, read for one token
  int64_t kv_bytes_per_token = 0;
  bool distill = false;  // an R1 distill: what is proposed to a newcomer
  // False: this program cannot run it yet. It is listed, marked, and neither proposed nor offered.
  bool runs = true;

  // Weights, an 8k context and what the program itself takes.
  double memory_gib() const;
  // What the memory can bring at most: every active weight is read once a token.
  double tokens_per_s(double bandwidth_gb_per_s) const;
  bool fits(uint64_t memory_bytes) const;
  // Larger than the memory it can still run: only some experts are needed for a token.
  bool has_experts() const { return active_b < 0.5 * parameters_b; }
};

const std::vector<CatalogueModel>& catalogue();
// By name or short name, any case; nullptr if it is none.
const CatalogueModel* find_in_catalogue(std::string_view name);
// The one that a pulled model came from, by the source of its receipt; nullptr if it is none.
const CatalogueModel* find_by_source(std::string_view source);
// The largest R1 distill that leaves a quarter of the memory to everything else; the smallest if
// none does.
const CatalogueModel& largest_distill(uint64_t memory_bytes);

// A reference or a name of the catalogue.
base::Result<Reference> resolve_reference(std::string_view text, uint64_t memory_bytes);

}  // namespace pull
