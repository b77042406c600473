// The members of a zip file that are stored as they are, as PyTorch writes its checkpoints. The
// rules are written down at the head of stored_zip.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/byte_source.h"

namespace format {

struct ZipMember {
  std::string name;     // as the file has it: plain parts with '/' between
  uint64_t offset = 0;  // of its first byte, in the file
  uint64_t bytes = 0;
};

// In the order of the file's directory.
base::Result<std::vector<ZipMember>> read_stored_zip(const ByteSource& source);

}  // namespace format
