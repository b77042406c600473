#include "pull/selection.h"

#include <algorithm>
#include <array>
#include <map>

namespace pull {
namespace {

constexpr std::string_view gguf_suffix = ".gguf";
constexpr std::string_view tensors_suffix = ".safetensors";
constexpr std::string_view usual_quant = "Q4_K_M";
constexpr int split_count_max = 4096;
constexpr size_t choices_shown_max = 24;

// Files of a Hugging Face folder that running it may need.
constexpr std::array<std::string_view, 15> folder_files = {"config.json",
                                                           "generation_config.json",
                                                           "tokenizer.json",
                                                           "tokenizer_config.json",
                                                           "tokenizer.model",
                                                           "special_tokens_map.json",
                                                           "added_tokens.json",
                                                           "vocab.json",
                                                           "merges.txt",
                                                           "chat_template.jinja",
                                                           "chat_template.json",
                                                           "preprocessor_config.json",
                                                           "processor_config.json",
                                                           "model.safetensors.index.json",
                                                           "LICENSE"};

std::string base_name(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));  // npos + 1 is 0
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return out;
}

bool is_gguf(const ListedFile& file) {
  const std::string name = lower(base_name(file.path));
  // A projector or a calibration matrix is no model by itself.
  return name.ends_with(gguf_suffix) && name.size() > gguf_suffix.size() &&
         !name.starts_with("mmproj") && name.find("imatrix") == std::string::npos;
}

// Sets of GGUF files by the path of the whole: "folder/R1-Q4_K_M" -> its parts by number.
struct Sets {
  std::map<std::string, std::map<int, const ListedFile*>> parts;
  std::map<std::string, int> counts;
};
Sets gguf_sets(const std::vector<ListedFile>& files) {
  Sets sets;
  for (const ListedFile& file : files) {
    if (!is_gguf(file)) continue;
    const SplitName name = split_name(base_name(file.path));
    const std::string whole =
        file.path.substr(0, file.path.size() - base_name(file.path).size()) + name.stem;
    sets.parts[whole][name.number] = &file;
    sets.counts[whole] = std::max(sets.counts[whole], name.count);
  }
  return sets;
}

bool has_quant(std::string_view whole, std::string_view quant) {
  const std::string name = lower(base_name(whole));
  const std::string wanted = lower(quant);
  const auto is_edge = [&](size_t at) {
    return at >= name.size() || name[at] == '-' || name[at] == '.';
  };
  for (size_t at = name.find(wanted); at != std::string::npos; at = name.find(wanted, at + 1)) {
    const bool begins = at == 0 || name[at - 1] == '-' || name[at - 1] == '.';
    if (begins && is_edge(at + wanted.size())) return true;
  }
  return false;
}

tl::unexpected<base::Error> no_choice(std::string_view repository, std::string_view selector,
                                      const Sets& sets, const char* why) {
  std::string choices;
  size_t shown = 0;
  for (const auto& [whole, parts] : sets.parts) {
    if (++shown > choices_shown_max) break;
    choices += (choices.empty() ? "" : ", ") + base_name(whole);
  }
  return base::fail(base::ErrorKind::not_found,
                    selector.empty()
                        ? fmt::format("{} does not say which file", repository)
                        : fmt::format("{} has no {}", repository, base::shown_name(selector)),
                    why,
                    choices.empty() ? "choose a repository with GGUF or safetensors files"
                                    : "put one of these after the colon: " + choices);
}

base::Result<Selection> take_set(const Sets& sets, const std::string& whole,
                                 std::string_view repository) {
  const auto& parts = sets.parts.at(whole);
  const int count = sets.counts.at(whole);
  Selection selection{base_name(whole), {}};
  if (count == 0) {
    const ListedFile& file = *parts.begin()->second;
    selection.files.push_back({file, base_name(file.path)});
    return selection;
  }
  for (int number = 1; number <= count; ++number) {
    const auto part = parts.find(number);
    if (part == parts.end()) {
      return base::fail(base::ErrorKind::not_found,
                        fmt::format("{} is not whole", base::shown_name(base_name(whole))),
                        fmt::format("{} has no part {} of {}", repository, number, count),
                        "choose another file");
    }
    selection.files.push_back({*part->second, base_name(part->second->path)});
  }
  // Part 1 is what a listing looks for.
  std::rotate(selection.files.begin(), selection.files.begin() + 1, selection.files.end());
  return selection;
}

bool belongs_to_folder(const std::string& path) {
  if (path.find('/') != std::string::npos) return false;
  if (path.ends_with(tensors_suffix)) return !path.starts_with("consolidated");
  return std::find(folder_files.begin(), folder_files.end(), path) != folder_files.end();
}

base::Result<Selection> take_folder(const std::vector<ListedFile>& files,
                                    std::string_view repository) {
  Selection selection{std::string(repository), {}};
  bool tensors = false, pickle = false;
  const ListedFile* config = nullptr;
  for (const ListedFile& file : files) {
    pickle = pickle || file.path.ends_with(".bin") || file.path.ends_with(".pt");
    if (!belongs_to_folder(file.path)) continue;
    tensors = tensors || file.path.ends_with(tensors_suffix);
    if (file.path == "config.json") {
      config = &file;
      continue;
    }
    selection.files.push_back({file, std::string(repository) + "/" + file.path});
  }
  if (!tensors || config == nullptr) {
    return base::fail(
        base::ErrorKind::not_found, fmt::format("{} is no folder that can be run", repository),
        !tensors && pickle ? "its weights are pickle files, which can run code when read"
        : !tensors         ? "it has no .safetensors files"
                           : "it has no config.json",
        "choose a repository with safetensors or GGUF files");
  }
  std::sort(selection.files.begin(), selection.files.end(),
            [](const auto& a, const auto& b) { return a.local < b.local; });
  selection.files.push_back({*config, std::string(repository) + "/config.json"});
  return selection;
}

base::Result<Selection> take_named(const std::vector<ListedFile>& files, const Sets& sets,
                                   std::string_view repository, std::string_view selector) {
  for (const ListedFile& file : files) {
    if (file.path != selector && base_name(file.path) != selector) continue;
    if (is_gguf(file)) {
      const std::string name = base_name(file.path);
      return take_set(sets,
                      file.path.substr(0, file.path.size() - name.size()) + split_name(name).stem,
                      repository);
    }
    if (!file.path.ends_with(tensors_suffix)) continue;
    return Selection{base_name(file.path), {{file, base_name(file.path)}}};
  }
  std::vector<std::string> fitting, plain;
  for (const auto& [whole, parts] : sets.parts) {
    if (!has_quant(whole, selector)) continue;
    fitting.push_back(whole);
    if (!has_quant(whole, "UD-" + std::string(selector))) plain.push_back(whole);
  }
  if (fitting.size() > 1 && plain.size() == 1) fitting = plain;
  if (fitting.size() == 1) return take_set(sets, fitting.front(), repository);
  return no_choice(repository, selector, sets,
                   fitting.empty() ? "no file of it is called so" : "several files fit");
}

}  // namespace

SplitName split_name(std::string_view file) {
  SplitName name;
  if (file.size() > gguf_suffix.size() &&
      lower(file.substr(file.size() - gguf_suffix.size())) == gguf_suffix) {
    file.remove_suffix(gguf_suffix.size());
  }
  name.stem = file;
  constexpr size_t tail_bytes = 15;  // "-00001-of-00003"
  if (file.size() <= tail_bytes) return name;
  const std::string_view tail = file.substr(file.size() - tail_bytes);
  int number = 0, count = 0;
  for (size_t i = 0; i < 5; ++i) {
    const char a = tail[1 + i], b = tail[10 + i];
    if (a < '0' || a > '9' || b < '0' || b > '9') return name;
    number = number * 10 + (a - '0');
    count = count * 10 + (b - '0');
  }
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || number < 1 || number > count ||
      count > split_count_max) {
    return name;
  }
  name.stem = file.substr(0, file.size() - tail_bytes);
  name.number = number;
  name.count = count;
  return name;
}

std::vector<std::string> split_set(const std::string& path) {
  const std::string file = base_name(path);
  const SplitName name = split_name(file);
  if (name.count == 0) return {path};
  std::vector<std::string> set;
  for (int number = 1; number <= name.count; ++number) {
    set.push_back(fmt::format("{}{}-{:05}-of-{:05}.gguf", path.substr(0, path.size() - file.size()),
                              name.stem, number, name.count));
  }
  return set;
}

base::Result<Selection> select_files(const std::vector<ListedFile>& files,
                                     std::string_view repository, std::string_view selector) {
  const Sets sets = gguf_sets(files);
  if (selector == "safetensors") return take_folder(files, repository);
  if (!selector.empty()) return take_named(files, sets, repository, selector);
  if (sets.parts.empty()) return take_folder(files, repository);
  if (auto folder = take_folder(files, repository)) return folder;
  if (sets.parts.size() == 1) return take_set(sets, sets.parts.begin()->first, repository);
  auto usual = take_named(files, sets, repository, usual_quant);
  if (usual) return usual;
  return no_choice(repository, selector, sets, "it has several GGUF files");
}

void rename_model(Selection& selection, const std::string& model) {
  for (SelectedFile& file : selection.files) {
    const size_t slash = file.local.find('/');
    if (slash != std::string::npos) {
      file.local = model + file.local.substr(slash);
      continue;
    }
    const SplitName name = split_name(file.local);
    file.local = name.count == 0
                     ? model + std::string(file.local.ends_with(tensors_suffix) ? tensors_suffix
                                                                                : gguf_suffix)
                     : fmt::format("{}-{:05}-of-{:05}.gguf", model, name.number, name.count);
  }
  selection.model = model;
}

}  // namespace pull
