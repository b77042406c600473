// One file, from a hub to its place: in pieces, over several connections, each piece written,
// synced and then recorded; read back and compared in order; the whole held against its digest;
// only then given its name. It can be stopped at any instant and goes on where it was.
//
// Threads: run() is called by one thread and makes others, which have ended when it returns. The
// callbacks are called from any of them, not at the same time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "pull/disk.h"
#include "pull/hub.h"

namespace pull {

struct TransferSettings {
  int connections = 4;    // 1 to 16
  int retries = 6;        // failures in a row, without a byte between them, that are lived with
  int checks_failed = 3;  // of one piece on this disk, before the disk is blamed
};

struct TransferEnvironment {
  Disk& disk;
  // Waits, and returns early once cancelled. A test makes no time pass here.
  std::function<void(int64_t ms, const std::function<bool()>& cancelled)> wait;
  std::function<bool()> cancelled;
  std::function<void(size_t bytes)> came;    // from the hub
  std::function<void(size_t bytes)> have;    // a piece is on the disk
  std::function<void(size_t bytes)> lost;    // a piece on the disk turned out wrong
  std::function<void(size_t bytes)> proven;  // read back, and right
};

struct TransferResult {
  std::string sha256;         // of the content; empty if only git's name was asked for
  bool vouched = false;       // a digest of the hub was held against it
  uint32_t pieces_again = 0;  // fetched again because the disk had them wrong
};

struct TransferFailure {
  bool changed = false;    // plan again; otherwise it is final
  bool no_digest = false;  // the content was not the promised one, and was thrown away
  base::Error error;
};

// `path`: where the file will lie. Its progress lies in path + ".partial" and ".partial.progress".
tl::expected<TransferResult, TransferFailure> transfer(Hub& hub, const PlannedFile& file,
                                                       const std::string& path, bool trust_marks,
                                                       const TransferSettings& settings,
                                                       const TransferEnvironment& environment);

// Reads a whole file and compares: the digest that the hub gave, or nothing to compare with.
base::Result<bool> matches_digest(Disk& disk, const std::string& path, const PlannedFile& file,
                                  const std::function<bool()>& cancelled,
                                  const std::function<void(size_t)>& proven);

std::string partial_path(const std::string& path);
std::string progress_path(const std::string& path);

}  // namespace pull
