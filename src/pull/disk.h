// What a download asks of the disk, as an interface: tests put a disk in memory here that loses
// everything unsynced at any chosen step, or runs full.
//
// Errors: out_of_disk for no space, a quota or a size limit; unavailable for a file that another
// process holds; io for the rest. Threads: a File may be read and written at different places by
// several threads; a Disk is called by one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pull {

class File {
 public:
  virtual ~File() = default;  // closes, and lets go of the lock
  virtual base::Result<uint64_t> size() = 0;
  virtual base::Result<void> write_at(uint64_t offset, std::string_view bytes) = 0;
  // Fewer than asked at the end of the file.
  virtual base::Result<size_t> read_at(uint64_t offset, char* out, size_t bytes) = 0;
  virtual base::Result<void> sync() = 0;  // what was written is on the disk when it returns
  virtual base::Result<void> resize(uint64_t bytes) = 0;
  // Takes the space now where the file system can, so that it cannot run out later.
  virtual base::Result<void> reserve(uint64_t bytes) = 0;
};

struct FileInfo {
  uint64_t size = 0;
  uint64_t allocated = 0;  // bytes that it takes on the disk
  int64_t modified_ns = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  // Opens or makes it, and holds it alone until closed (flock: the kernel lets go when we die).
  virtual base::Result<std::unique_ptr<File>> open_alone(const std::string& path) = 0;
  virtual base::Result<std::unique_ptr<File>> open_to_read(const std::string& path) = 0;
  virtual std::optional<FileInfo> info(const std::string& path) = 0;  // of a regular file
  // Both sync the directory: afterwards a crash cannot bring the old state back.
  virtual base::Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual base::Result<void> remove(const std::string& path) = 0;  // fine if it is not there
  virtual base::Result<void> make_directories(const std::string& path) = 0;
  virtual base::Result<uint64_t> free_bytes(const std::string& path) = 0;  // of an existing place
  virtual base::Result<std::string> read_small(const std::string& path, size_t bytes_max) = 0;
  virtual base::Result<void> write_small(const std::string& path, std::string_view bytes) = 0;
};

// The machine's own.
std::unique_ptr<Disk> make_disk();

}  // namespace pull
