#include "pull/receipt.h"

#include <filesystem>

#include "base/json.h"
#include "pull/listing.h"

namespace pull {
namespace {

namespace fs = std::filesystem;

constexpr size_t receipt_bytes_max = 4 << 20;
constexpr size_t receipts_max = 10'000;

std::string text_of(const base::Json& object, std::string_view key) {
  const base::Json* value = object.is_object() ? object.find(key) : nullptr;
  return value != nullptr && value->is_string() ? value->as_string() : "";
}
int64_t number_of(const base::Json& object, std::string_view key) {
  const base::Json* value = object.is_object() ? object.find(key) : nullptr;
  return value != nullptr && value->is_integer() ? value->as_integer() : -1;
}

std::string path_of(const std::string& models_dir, const std::string& model) {
  return models_dir + "/.pulled/" + model + ".json";
}

Receipt parse_receipt(const std::string& text) {
  Receipt receipt;
  const auto json = base::parse_json(text, "receipt");
  if (!json) return receipt;
  receipt.model = text_of(*json, "model");
  receipt.source = text_of(*json, "source");
  const base::Json* files = json->is_object() ? json->find("files") : nullptr;
  if (files == nullptr || !files->is_array()) return receipt;
  for (const base::Json& entry : files->as_array()) {
    ReceiptFile file{text_of(entry, "local"), static_cast<uint64_t>(number_of(entry, "size")),
                     text_of(entry, "sha256"), text_of(entry, "git_sha1"),
                     number_of(entry, "modified_ns")};
    if (!is_hex(file.sha256, 64)) file.sha256.clear();
    if (!is_hex(file.git_sha1, 40)) file.git_sha1.clear();
    if (is_safe_path(file.local)) receipt.files.push_back(std::move(file));
  }
  return receipt;
}

}  // namespace

Receipt read_receipt(Disk& disk, const std::string& models_dir, const std::string& model) {
  const auto text = disk.read_small(path_of(models_dir, model), receipt_bytes_max);
  return text ? parse_receipt(*text) : Receipt{};
}

base::Result<void> write_receipt(Disk& disk, const std::string& models_dir,
                                 const Receipt& receipt) {
  base::Json files = base::Json::array();
  for (const ReceiptFile& file : receipt.files) {
    files.push(base::Json::object({{"local", file.local},
                                   {"size", static_cast<int64_t>(file.size)},
                                   {"sha256", file.sha256},
                                   {"git_sha1", file.git_sha1},
                                   {"modified_ns", file.modified_ns}}));
  }
  TRY(disk.make_directories(models_dir + "/.pulled"));
  return disk.write_small(
      path_of(models_dir, receipt.model),
      base::Json::object(
          {{"model", receipt.model}, {"source", receipt.source}, {"files", std::move(files)}})
              .dump() +
          "\n");
}

std::vector<Receipt> receipts_in(Disk& disk, const std::string& models_dir) {
  std::vector<Receipt> receipts;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(models_dir + "/.pulled", error)) {
    if (receipts.size() >= receipts_max || entry.path().extension() != ".json") continue;
    const auto text = disk.read_small(entry.path().string(), receipt_bytes_max);
    if (text) receipts.push_back(parse_receipt(*text));
  }
  return receipts;
}

}  // namespace pull
