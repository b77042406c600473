// A folder of this machine as a hub: for a machine without network (`--from DIR`) and for
// file:PATH.
//
// Below DIR these are looked for, in this order, and what knows a digest gives it:
//   models--ORG--NAME/snapshots/REV/   a Hugging Face cache: a link's target is named by the digest
//   manifests/HOST/NAMESPACE/NAME/TAG  an Ollama store, with blobs/sha256-…
//   ORG/NAME/, NAME/, DIR itself       plain folders; a models directory of another Nautile has
//                                      .pulled/*.json, others perhaps SHA256SUMS
#include <algorithm>
#include <filesystem>
#include <map>

#include "base/json.h"
#include "pull/hub.h"
#include "pull/receipt.h"
#include "pull/selection.h"

namespace pull {
namespace {

namespace fs = std::filesystem;

constexpr int depth_max = 4;
constexpr size_t entries_max = 100'000;
constexpr size_t manifest_bytes_max = 4 << 20;
constexpr size_t sums_bytes_max = 16 << 20;

class FolderReader final : public Reader {
 public:
  FolderReader(std::unique_ptr<File> file, const PlannedFile& planned,
               const Hub::ReaderOptions& options)
      : file_(std::move(file)), planned_(planned), options_(options) {}

  tl::expected<void, ReadFailure> read(uint64_t offset, uint64_t length,
                                       std::string& into) override {
    const size_t before = into.size();
    into.resize(before + length);
    auto got = file_->read_at(offset, into.data() + before, length);
    into.resize(before + got.value_or(0));
    if (!got) return tl::unexpected(ReadFailure{ReadFailure::Kind::final, got.error()});
    options_.came(*got);
    if (options_.cancelled()) {
      return tl::unexpected(
          ReadFailure{ReadFailure::Kind::final,
                      {base::ErrorKind::interrupted, "the copy was stopped", "", ""}});
    }
    if (*got == length) return {};
    return tl::unexpected(ReadFailure{ReadFailure::Kind::changed,
                                      {base::ErrorKind::io, planned_.source + " became shorter",
                                       "it was changed while it was copied", "copy it again"}});
  }
  tl::expected<void, ReadFailure> read_whole(
      const std::function<base::Result<bool>(std::string_view)>& take) override {
    (void)take;
    return tl::unexpected(
        ReadFailure{ReadFailure::Kind::final,
                    {base::ErrorKind::internal,
                     "a folder gives ranges, so nobody asks for the whole", "", ""}});
  }

 private:
  const std::unique_ptr<File> file_;
  const PlannedFile planned_;
  const Hub::ReaderOptions options_;
};

// "HEX  name" lines, as sha256sum writes them.
void read_sums(std::string_view text, std::map<std::string, std::string>& sums) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.size() > 66 && is_hex(line.substr(0, 64), 64) && line[64] == ' ') {
      sums[std::string(line.substr(66))] = line.substr(0, 64);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

class Folder final : public Hub {
 public:
  Folder(const Reference& reference, std::string from, std::string registry, std::string model,
         Disk& disk)
      : reference_(reference),
        from_(std::move(from)),
        registry_(std::move(registry)),
        model_(std::move(model)),
        disk_(disk) {}

  base::Result<Plan> plan() override;
  base::Result<std::unique_ptr<Reader>> reader(const PlannedFile& file,
                                               const ReaderOptions& options) override {
    ASSIGN(auto opened, disk_.open_to_read(file.address));
    return std::unique_ptr<Reader>(
        std::make_unique<FolderReader>(std::move(opened), file, options));
  }

 private:
  base::Result<Plan> plan_store();
  base::Result<Plan> plan_below(const fs::path& root, std::string_view repository,
                                std::string_view selector, int depth = depth_max);
  std::vector<ListedFile> list(const fs::path& root, int depth) const;
  std::vector<fs::path> candidates() const;
  tl::unexpected<base::Error> not_there(std::string why) const;

  const Reference reference_;
  const std::string from_, registry_, model_;
  Disk& disk_;
};

tl::unexpected<base::Error> Folder::not_there(std::string why) const {
  return base::fail(
      base::ErrorKind::not_found,
      reference_.kind == Reference::Kind::file ? "there is no model at " + reference_.path
                                               : reference_.text() + " is not in " + from_,
      std::move(why), "name a folder that holds the .gguf file or the Hugging Face folder");
}

std::vector<ListedFile> Folder::list(const fs::path& root, int depth) const {
  std::map<std::string, std::string> sums;
  if (const auto text = disk_.read_small((root / "SHA256SUMS").string(), sums_bytes_max)) {
    read_sums(*text, sums);
  }
  for (const Receipt& receipt : receipts_in(disk_, root.string())) {
    for (const ReceiptFile& file : receipt.files) {
      if (!file.sha256.empty()) sums[file.local] = file.sha256;
    }
  }
  std::vector<ListedFile> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied,
                                         error);
  for (; entry != fs::recursive_directory_iterator() && files.size() < entries_max;
       entry.increment(error)) {
    if (error) break;
    if (entry.depth() >= depth) entry.disable_recursion_pending();
    if (!entry->is_regular_file(error)) continue;
    const std::string path = entry->path().lexically_relative(root).string();
    if (!is_safe_path(path)) continue;
    ListedFile file{path, entry->file_size(error), "", ""};
    if (const auto sum = sums.find(path); sum != sums.end()) file.sha256 = sum->second;
    // In a Hugging Face cache the link's target is named by the digest.
    const std::string target = fs::read_symlink(entry->path(), error).filename().string();
    if (is_hex(target, 64)) file.sha256 = target;
    if (is_hex(target, 40)) file.git_sha1 = target;
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

base::Result<Plan> Folder::plan_below(const fs::path& root, std::string_view repository,
                                      std::string_view selector, int depth) {
  ASSIGN(Selection chosen, select_files(list(root, depth), repository, selector));
  if (!model_.empty()) rename_model(chosen, model_);
  Plan plan{chosen.model, reference_.text(), {}};
  for (const SelectedFile& file : chosen.files) {
    const std::string path = (root / file.from.path).string();
    const auto info = disk_.info(path);
    plan.files.push_back({file.local, path, path, file.from.size, file.from.sha256,
                          file.from.git_sha1,
                          info ? fmt::format("{}.{}", info->size, info->modified_ns) : ""});
  }
  return plan;
}

// An Ollama store: the manifest names the blob, the blob's name is its digest.
base::Result<Plan> Folder::plan_store() {
  const fs::path blobs = fs::path(from_) / "blobs";
  const fs::path manifest = fs::path(from_) / "manifests" / registry_ / reference_.owner /
                            reference_.name / reference_.revision;
  ASSIGN(const std::string text, disk_.read_small(manifest.string(), manifest_bytes_max));
  ASSIGN(const std::vector<OllamaLayer> layers, parse_manifest(text));
  ASSIGN(Plan plan, plan_of_layers(reference_, layers, model_, [&](const std::string& sha256) {
           return (blobs / ("sha256-" + sha256)).string();
         }));
  const auto info = disk_.info(plan.files.front().address);
  if (!info || info->size != plan.files.front().size) {
    return not_there("its manifest is there, but the blob is missing or has another size");
  }
  return plan;
}

std::vector<fs::path> Folder::candidates() const {
  const fs::path from(from_);
  std::vector<fs::path> roots;
  if (reference_.kind == Reference::Kind::hugging_face) {
    const fs::path cache = from / ("models--" + reference_.owner + "--" + reference_.name);
    std::string commit = reference_.revision;
    if (const auto pinned =
            disk_.read_small((cache / "refs" / reference_.revision).string(), 256)) {
      commit = pinned->substr(0, pinned->find_first_of("\r\n "));
    }
    if (is_safe_path(commit)) roots.push_back(cache / "snapshots" / commit);
  }
  roots.push_back(from / reference_.owner / reference_.name);
  roots.push_back(from / reference_.name);
  roots.push_back(from);
  return roots;
}

base::Result<Plan> Folder::plan() {
  std::error_code error;
  if (reference_.kind == Reference::Kind::file) {
    const fs::path path = fs::absolute(reference_.path, error);
    if (fs::is_directory(path, error)) {
      return plan_below(path, path.filename().string(), "", 0);
    }
    if (!fs::is_regular_file(path, error)) return not_there("it is neither a file nor a folder");
    return plan_below(path.parent_path(), path.stem().string(), path.filename().string(), 0);
  }
  if (!fs::is_directory(from_, error)) return not_there("that is no folder");
  if (reference_.kind == Reference::Kind::ollama) {
    if (fs::is_directory(fs::path(from_) / "manifests", error)) return plan_store();
    const std::string name = reference_.name + "-" + reference_.revision;
    return plan_below(from_, name, name + ".gguf");
  }
  std::string why = "nothing there is called so";
  for (const fs::path& root : candidates()) {
    if (!fs::is_directory(root, error)) continue;
    auto plan = plan_below(root, reference_.name, reference_.selector);
    if (plan) return plan;
    why = plan.error().message();
  }
  return not_there(why);
}

}  // namespace

base::Result<std::unique_ptr<Hub>> make_folder(const Reference& reference, const std::string& from,
                                               const std::string& registry,
                                               const std::string& model, Disk& disk) {
  return std::unique_ptr<Hub>(std::make_unique<Folder>(reference, from, registry, model, disk));
}

}  // namespace pull
