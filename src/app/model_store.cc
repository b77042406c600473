#include "app/model_store.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <system_error>
#include <unistd.h>

#include "format/model_files.h"
#include "pull/catalogue.h"

namespace app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view gguf_suffix = ".gguf";

// "name-00002-of-00003.gguf": gives the stem "name", the number and the count; 0 if not split. A
// name with another ending is its own stem.
struct SplitName {
  std::string stem;
  int number = 0, count = 0;
};
SplitName split_name(const std::string& file) {
  SplitName name;
  name.stem = file;
  if (!file.ends_with(gguf_suffix)) return name;
  name.stem.resize(file.size() - gguf_suffix.size());
  // "-NNNNN-of-NNNNN" is 15 characters.
  if (name.stem.size() <= 15) return name;
  const std::string tail = name.stem.substr(name.stem.size() - 15);
  int number = 0, count = 0;
  if (std::sscanf(tail.c_str(), "-%5d-of-%5d", &number, &count) == 2 && number > 0 &&
      count >= number) {
    name.stem.resize(name.stem.size() - 15);
    name.number = number;
    name.count = count;
  }
  return name;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string directory_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return fs::path(path).filename().string();
}

bool is_model_directory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error) && fs::exists(path / "config.json", error);
}

StoredModel describe(const std::string& path) {
  StoredModel model;
  model.path = path;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    model.name = directory_name(path);
  } else {
    model.name = split_name(fs::path(path).filename().string()).stem;
  }
  for (const std::string& file : files_of(model)) {
    const auto bytes = fs::file_size(file, error);
    if (!error) model.bytes += bytes;
  }
  model.starter = model.name == starter_name;
  return model;
}

}  // namespace

std::vector<std::string> files_of(const StoredModel& model) {
  std::vector<std::string> files;
  std::error_code error;
  const fs::path path(model.path);
  if (fs::is_directory(path, error)) {
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.is_regular_file(error)) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  const SplitName name = split_name(path.filename().string());
  if (name.count == 0) return {model.path};
  for (int i = 1; i <= name.count; ++i) {
    const fs::path part =
        path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, i, name.count);
    if (fs::exists(part, error)) files.push_back(part.string());
  }
  return files;
}

namespace {

enum class Entry { model, part, stray };

// What an entry of the models directory is; `why` is filled in for a stray one.
Entry kind_of(const fs::directory_entry& entry, std::string& why) {
  std::error_code error;
  const std::string file = entry.path().filename().string();
  if (is_model_directory(entry.path())) return Entry::model;
  if (entry.is_directory(error)) {
    why = "a directory without config.json";
  } else if (file.ends_with(".partial") || file.ends_with(".partial.progress")) {
    why = "a download that has not ended; the same `nautile pull` goes on with it";
  } else if (!file.ends_with(gguf_suffix)) {
    why = "neither a .gguf file nor a Hugging Face directory";
  } else if (!entry.is_regular_file(error)) {
    why = "not a regular file, or a link to nowhere";
  } else {
    const SplitName name = split_name(file);
    if (name.number <= 1) return Entry::model;
    const std::string first = fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, 1, name.count);
    if (fs::exists(entry.path().parent_path() / first, error)) return Entry::part;
    why = "a part of a split model whose first, " + first + ", is missing";
  }
  return Entry::stray;
}

// Calls `take(entry, kind, why)` for what is not hidden.
template <class Take>
void each_entry(const Places& places, const Take& take) {
  std::error_code error;
  for (fs::directory_iterator at(places.models, error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().starts_with('.')) continue;
    std::string why;
    const Entry kind = kind_of(*at, why);
    take(*at, kind, why);
  }
}

}  // namespace

std::vector<StoredModel> stored_models(const Places& places) {
  std::vector<StoredModel> models;
  each_entry(places, [&](const fs::directory_entry& entry, Entry kind, const std::string&) {
    if (kind == Entry::model) models.push_back(describe(entry.path().string()));
  });
  std::sort(models.begin(), models.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return models;
}

std::vector<StrayFile> stray_files(const Places& places) {
  std::vector<StrayFile> files;
  each_entry(places, [&](const fs::directory_entry& entry, Entry kind, const std::string& why) {
    if (kind != Entry::stray) return;
    std::error_code error;
    const uint64_t bytes = entry.is_regular_file(error) ? entry.file_size(error) : 0;
    files.push_back(
        {entry.path().filename().string(), entry.path().string(), error ? 0 : bytes, why});
  });
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return files;
}

base::Result<void> check_runnable(const StoredModel& model) {
  ASSIGN(const auto files, format::ModelFiles::open(model.path));
  TRY(files->config());
  TRY(files->tokenizer());
  return {};
}

base::Result<StoredModel> find_model(const Places& places, const std::string& name_or_path) {
  std::error_code error;
  const bool looks_like_path = name_or_path.find('/') != std::string::npos ||
                               std::string_view(name_or_path).ends_with(gguf_suffix);
  if (fs::is_regular_file(name_or_path, error) || is_model_directory(name_or_path)) {
    return describe(name_or_path);
  }
  if (fs::is_directory(name_or_path, error)) {
    return base::fail(base::ErrorKind::invalid_input, name_or_path + " is no model directory",
                      "it has no config.json", "give a .gguf file or a Hugging Face directory");
  }
  const std::vector<StoredModel> models = stored_models(places);
  const std::string wanted = lower(name_or_path);
  std::vector<const StoredModel*> fitting;
  for (const StoredModel& model : models) {
    if (lower(model.name) == wanted) return model;
    if (lower(model.name).starts_with(wanted)) fitting.push_back(&model);
  }
  if (looks_like_path || wanted.empty()) fitting.clear();
  if (fitting.size() == 1) return *fitting.front();
  if (fitting.size() > 1) {
    std::string names;
    for (const StoredModel* model : fitting) {
      names += (names.empty() ? "" : ", ") + base::shown_name(model->name);
    }
    return base::fail(base::ErrorKind::wrong_usage,
                      base::shown_name(name_or_path) + " fits several models",
                      "these begin like it: " + names, "give more of the name");
  }
  const bool can_be_pulled = pull::find_in_catalogue(name_or_path) != nullptr ||
                             pull::parse_reference(name_or_path).has_value();
  return base::fail(base::ErrorKind::not_found,
                    "there is no model " + base::shown_name(name_or_path),
                    "it is neither a file nor the name of a stored model",
                    (can_be_pulled ? "fetch it with `nautile pull " + name_or_path + "`; " : "") +
                        "`nautile list` shows the models on this machine");
}

uint64_t machine_memory_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

uint64_t available_memory_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kib) == 1) return kib * 1024;
  }
  return machine_memory_bytes();
}

std::string distill_suggestion(uint64_t memory_bytes) {
  return fmt::format("nautile pull {}", pull::largest_distill(memory_bytes).name);
}

}  // namespace app
