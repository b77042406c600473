// OutputFile: a large file that is either wholly there or not at all. It is written as
// PATH.partial, which only one process may hold, and gets its name when everything is on the disk;
// until then it vanishes with the object. What a killed process leaves is overwritten by the next.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace format {

class OutputFile {
 public:
  // Refuses a PATH that exists unless `replace`, and takes the space of `bytes` before anything is
  // written: out_of_disk says how much is free.
  static base::Result<std::unique_ptr<OutputFile>> create(const std::string& path, uint64_t bytes,
                                                          bool replace);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Any thread.
  base::Result<void> write_at(uint64_t offset, std::span<const uint8_t> bytes) const;
  // Everything to the disk, then the name.
  base::Result<void> finish();

 private:
  OutputFile(std::string path, int descriptor)
      : path_(std::move(path)), partial_(path_ + ".partial"), descriptor_(descriptor) {}

  std::string path_, partial_;
  int descriptor_;
  bool finished_ = false;
};

}  // namespace format
