#include "scripted/disk_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

namespace scripted {
namespace {

std::string_view type_of(const std::string& extension) {
  static constexpr std::pair<std::string_view, std::string_view> types[] = {
      {".html", "text/html; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".json", "application/json; charset=utf-8"},
      {".webmanifest", "application/manifest+json; charset=utf-8"},
      {".svg", "image/svg+xml; charset=utf-8"},
      {".png", "image/png"},
      {".ico", "image/x-icon"},
      {".woff2", "font/woff2"},
      {".txt", "text/plain; charset=utf-8"}};
  for (const auto& [known, type] : types) {
    if (known == extension) return type;
  }
  return "application/octet-stream";
}

}  // namespace

DiskFiles::DiskFiles(const std::string& folder) {
  if (folder.empty()) return;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string& bytes =
        texts_.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    const std::string& path =
        texts_.emplace_back("/" + std::filesystem::relative(entry.path(), folder).generic_string());
    const std::string& etag =
        texts_.emplace_back("\"" + std::to_string(std::hash<std::string>()(bytes)) + "\"");
    api::StaticFile file;
    file.path = path;
    file.content_type = type_of(entry.path().extension().string());
    file.bytes = bytes;
    file.etag = etag;
    file.hashed_name = path.starts_with("/assets/");
    files_.push_back(file);
  }
}

const api::StaticFile* DiskFiles::find(std::string_view path) const {
  const auto at = std::find_if(files_.begin(), files_.end(),
                               [&](const api::StaticFile& file) { return file.path == path; });
  return at == files_.end() ? nullptr : &*at;
}

}  // namespace scripted
