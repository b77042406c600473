// What was pulled, and proven, into a models directory: one small JSON file a model in `.pulled/`.
// A file whose size and time are still those of its receipt needs no second proof, so going on with
// a folder of many files does not read the finished ones again.
//
//   {"model": "R1-7B", "source": "hf:…", "files": [{"local": "R1-7B.gguf", "size": 1, "sha256":
//    "64 digits or empty", "git_sha1": "", "modified_ns": 1}]}
#pragma once

#include <string>
#include <vector>

#include "pull/disk.h"

namespace pull {

struct ReceiptFile {
  std::string local;
  uint64_t size = 0;
  std::string sha256, git_sha1;
  int64_t modified_ns = 0;
};

struct Receipt {
  std::string model, source;
  std::vector<ReceiptFile> files;
};

// An unreadable receipt is an empty one: it proves nothing.
Receipt read_receipt(Disk& disk, const std::string& models_dir, const std::string& model);
base::Result<void> write_receipt(Disk& disk, const std::string& models_dir, const Receipt& receipt);
std::vector<Receipt> receipts_in(Disk& disk, const std::string& models_dir);

}  // namespace pull
