// A disk in memory that keeps apart what a program sees and what would survive a power cut, counts
// its steps, and can end the world at any of them.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/random.h"
#include "pull/disk.h"

namespace pull {

class MemoryDisk final : public Disk {
 public:
  struct Content {
    std::string seen, kept;  // kept: after a power cut
    bool locked = false;
  };
  using Files = std::map<std::string, std::shared_ptr<Content>>;

  // Every step that changes something after this many fails, as if the process were dead.
  int64_t steps_left = INT64_MAX;
  uint64_t room = uint64_t{1} << 40;
  int64_t steps() const { return steps_; }

  // What the machine finds when it starts again: of what was not synced, some 4 KiB pages made it
  // and some did not. `random` decides; nullptr: only the process died, so all is as it was seen.
  void crash(base::Random* random) {
    for (auto& [path, content] : files_) {
      content->locked = false;
      if (random == nullptr) continue;
      std::string& kept = content->kept;
      const std::string& seen = content->seen;
      if (random->below(2) == 0) kept.resize(seen.size(), '\0');
      for (size_t page = 0; page < kept.size() && page < seen.size(); page += 4096) {
        const size_t bytes = std::min<size_t>({4096, kept.size() - page, seen.size() - page});
        if (random->below(2) == 0) kept.replace(page, bytes, seen, page, bytes);
      }
      content->seen = kept;
    }
    steps_left = INT64_MAX;
  }
  std::string text(const std::string& path) const {
    const auto found = files_.find(path);
    return found == files_.end() ? "" : found->second->seen;
  }
  bool has(const std::string& path) const { return files_.count(path) != 0; }
  void put(const std::string& path, std::string text) {
    files_[path] = std::make_shared<Content>(Content{text, text, false});
  }
  void spoil(const std::string& path, size_t at) {
    files_.at(path)->seen.at(at) ^= 1;
    files_.at(path)->kept = files_.at(path)->seen;
  }

  base::Result<std::unique_ptr<File>> open_alone(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TRY(step());
    auto& content = files_[path];
    if (!content) content = std::make_shared<Content>();
    if (content->locked) return base::fail(base::ErrorKind::unavailable, "locked");
    content->locked = true;
    return std::unique_ptr<File>(std::make_unique<Open>(*this, content, true));
  }
  base::Result<std::unique_ptr<File>> open_to_read(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = files_.find(path);
    if (found == files_.end()) return base::fail(base::ErrorKind::not_found, path);
    return std::unique_ptr<File>(std::make_unique<Open>(*this, found->second, false));
  }
  std::optional<FileInfo> info(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = files_.find(path);
    if (found == files_.end()) return std::nullopt;
    return FileInfo{found->second->seen.size(), found->second->seen.size(), 1};
  }
  // Names are durable at once here: a torn rename is not what these tests are about.
  base::Result<void> rename(const std::string& from, const std::string& to) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TRY(step());
    files_[to] = files_.at(from);
    files_.erase(from);
    return {};
  }
  base::Result<void> remove(const std::string& path) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TRY(step());
    files_.erase(path);
    return {};
  }
  base::Result<void> make_directories(const std::string&) override { return {}; }
  base::Result<uint64_t> free_bytes(const std::string&) override { return room; }
  base::Result<std::string> read_small(const std::string& path, size_t) override {
    if (!has(path)) return base::fail(base::ErrorKind::not_found, path);
    return text(path);
  }
  base::Result<void> write_small(const std::string& path, std::string_view bytes) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    TRY(step());
    files_[path] =
        std::make_shared<Content>(Content{std::string(bytes), std::string(bytes), false});
    return {};
  }

 private:
  class Open final : public File {
   public:
    Open(MemoryDisk& disk, std::shared_ptr<Content> content, bool alone)
        : disk_(disk), content_(std::move(content)), alone_(alone) {}
    ~Open() override {
      if (alone_) content_->locked = false;
    }
    base::Result<uint64_t> size() override {
      const std::lock_guard<std::mutex> lock(disk_.mutex_);
      return content_->seen.size();
    }
    base::Result<void> write_at(uint64_t offset, std::string_view bytes) override {
      const std::lock_guard<std::mutex> lock(disk_.mutex_);
      TRY(disk_.step());
      if (offset + bytes.size() > content_->seen.size()) {
        content_->seen.resize(offset + bytes.size());
      }
      content_->seen.replace(offset, bytes.size(), bytes);
      return {};
    }
    base::Result<size_t> read_at(uint64_t offset, char* out, size_t bytes) override {
      const std::lock_guard<std::mutex> lock(disk_.mutex_);
      if (offset >= content_->seen.size()) return size_t{0};
      return content_->seen.copy(out, bytes, offset);
    }
    base::Result<void> sync() override {
      const std::lock_guard<std::mutex> lock(disk_.mutex_);
      TRY(disk_.step());
      content_->kept = content_->seen;
      return {};
    }
    base::Result<void> resize(uint64_t bytes) override {
      const std::lock_guard<std::mutex> lock(disk_.mutex_);
      TRY(disk_.step());
      content_->seen.resize(bytes);
      return {};
    }
    base::Result<void> reserve(uint64_t bytes) override { return resize(bytes); }

   private:
    MemoryDisk& disk_;
    const std::shared_ptr<Content> content_;
    const bool alone_;
  };
  base::Result<void> step() {
    ++steps_;
    if (--steps_left < 0) return base::fail(base::ErrorKind::io, "the process is dead");
    return {};
  }
  std::mutex mutex_;
  Files files_;
  int64_t steps_ = 0;
};

}  // namespace pull
