// ByteSource: bytes of known size that are read by position: an opened regular file, or memory
// (tests and fuzz targets). Reading is safe from any thread. A file is opened once and never again
// by path, so that what was checked is what is read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace format {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t size() const = 0;
  // Fills `out` from byte `at`; an error if the range is not wholly inside.
  virtual base::Result<void> read(uint64_t at, std::span<uint8_t> out) const = 0;
  // A wish: from now on reads go past the kernel's page cache, which would hold a second copy of
  // what the reader keeps itself. Reads give the same bytes whether it is granted or not.
  virtual void bypass_page_cache() const {}
  // How errors call it: the last part of its path, escaped.
  virtual const std::string& shown() const = 0;
};

// Only regular files: a device, pipe, socket or directory is an error, and opening never blocks.
base::Result<std::unique_ptr<ByteSource>> open_file(const std::string& path);

// Owns a copy of `bytes`.
std::unique_ptr<ByteSource> memory_source(std::span<const uint8_t> bytes, std::string_view name);

// The file `name` of `directory`, which must be a plain file name (no separators). A symbolic link
// is followed only to a place inside the directory, or into the `blobs` folder beside `snapshots`
// of a Hugging Face cache. `not_found` if there is no such entry.
base::Result<std::unique_ptr<ByteSource>> open_in_directory(const std::string& directory,
                                                            std::string_view name);

// The whole source as text; more than `bytes_max` is an error.
base::Result<std::string> read_text(const ByteSource& source, uint64_t bytes_max);

}  // namespace format
