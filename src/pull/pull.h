// `nautile pull` without its command line: a reference in, a model on the disk out. What it needs
// of the world (clients, disk, clock, waiting) is passed in, and what it does is told to a
// callback, so that a page can offer the same as a terminal.
//
// Promise: contacts nothing but the endpoint, and what it redirects to, of the reference at hand.
// Threads: pull() is called by one thread; progress() is called from several, never at once.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "pull/disk.h"
#include "pull/hub.h"
#include "pull/transfer.h"

namespace pull {

struct Progress {
  enum class Phase : uint8_t { planning, fetching, checking, done };
  Phase phase = Phase::planning;
  std::string model, file;  // `file`: the one at hand, as the hub calls it
  int file_number = 0, files = 0;
  uint64_t bytes_total = 0;    // of all files
  uint64_t bytes_here = 0;     // of them, on the disk
  uint64_t bytes_fetched = 0;  // from the hub, in this run
  uint64_t bytes_checked = 0;  // read back and compared, in this run
  int64_t fetching_ms = 0;     // since the first byte was asked for
};

struct PullOptions {
  std::string models_dir;  // an absolute path; made if missing
  Reference reference;
  std::string model;  // another name for it; may be empty
  std::string from;   // a folder instead of the network; may be empty
  std::string hf_endpoint, ollama_endpoint;
  std::string hf_token;  // for hf_endpoint only; may be empty
  TransferSettings transfer;
  bool plan_only = false;  // say what would be fetched, and fetch nothing
};

struct PullWorld {
  Disk& disk;
  const base::Clock& clock;
  ClientMaker make_client;
  std::function<void(int64_t ms, const std::function<bool()>& cancelled)> wait;
  std::function<bool()> cancelled;
  std::function<void(const Progress&)> progress;  // at most every progress_every_ms
};
inline constexpr int64_t progress_every_ms = 100;

struct PulledFile {
  std::string path;
  uint64_t size = 0;
  std::string sha256;    // empty where only git's name was compared
  bool vouched = false;  // the hub gave a checksum, and it is right
  bool was_here = false;
};

struct PullResult {
  std::string model, source, path;  // `path`: what to run
  std::vector<PulledFile> files;
  uint64_t bytes_total = 0, bytes_fetched = 0, bytes_missing = 0;
  uint32_t pieces_again = 0;
};

// Errors: out_of_disk with both numbers before anything is fetched; interrupted; and those of the
// hub and the disk. After any of them the same call goes on.
base::Result<PullResult> pull(const PullOptions& options, const PullWorld& world);

}  // namespace pull
