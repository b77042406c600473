// Models on this disk: what lies in the models directory, and how a name, a path or nothing becomes
// a file. A file is run where it lies; nothing is copied.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/places.h"
#include "base/result.h"

namespace app {

struct StoredModel {
  std::string name;    // file name without ".gguf" and "-00001-of-0000N", or the directory's name
  std::string path;    // first file of a split set, or the directory
  uint64_t bytes = 0;  // of all its files
  bool starter = false;
};

inline constexpr std::string_view starter_name = "SmolLM2-135M-Instruct.Q4_1";

// Sorted by name; what stray_files() gives is left out. Not recursive.
std::vector<StoredModel> stored_models(const Places& places);

// What lies in the models directory besides: no model by its name, a download that has not ended,
// parts of a split model whose first is missing. Hidden files are left out. Sorted by name.
struct StrayFile {
  std::string name, path;
  uint64_t bytes = 0;
  std::string why;  // "its name ends neither in .gguf nor …"
};
std::vector<StrayFile> stray_files(const Places& places);

// Reads what the model's files declare; the error says why it cannot be run.
base::Result<void> check_runnable(const StoredModel& model);

// A path to a .gguf file or a Hugging Face directory, or the name of a stored model (any case; a
// prefix is enough if it fits only one; wrong_usage names those that it fits).
base::Result<StoredModel> find_model(const Places& places, const std::string& name_or_path);

// The files that belong to a model: itself, its split parts, or its directory's content.
std::vector<std::string> files_of(const StoredModel& model);

// The command that fetches the largest R1 distill whose Q4_K_M weights fit in `memory_bytes`.
std::string distill_suggestion(uint64_t memory_bytes);

uint64_t machine_memory_bytes();    // what the kernel says it has
uint64_t available_memory_bytes();  // what could be had now without swapping

}  // namespace app
