// The progress of one file: which pieces of it are on the disk, with a checksum each. It lies
// beside the unfinished file and survives kill -9 and a power cut at any instant.
//
// The order that makes it so: the piece's bytes are written, then synced, then its record is
// appended here. A record that is torn or lost costs one piece, never the truth; and since a record
// carries the checksum of what was synced, a reader can tell whether the disk kept its word.
//
// Threads: one at a time (the transfer holds its lock).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/hash.h"
#include "pull/disk.h"

namespace pull {

// What must be the same for yesterday's pieces to belong to today's file.
struct FileIdentity {
  std::string source;   // where it comes from, without secrets
  uint64_t size = 0;    // at least 1
  std::string digest;   // "sha256:…", "git:…" or empty
  std::string version;  // where there is no digest: the source's own mark of this content
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

struct Piece {
  bool have = false;
  crypto::Hash sum{};  // of the bytes, when have
};

struct LedgerState {
  FileIdentity identity;
  uint64_t piece_bytes = 0;
  std::vector<Piece> pieces;  // size / piece_bytes, rounded up
  uint64_t bytes_used = 0;    // the header and its whole records; what follows is torn
  crypto::Hash seal{};        // of the header
};
// An error means: begin anew.
base::Result<LedgerState> parse_ledger(std::string_view bytes);

// The same for every file of a size, so that a second run finds the same pieces. Small enough that
// what is under way on four connections is 1/475 of the file: being killed costs at most that, and
// twenty deaths less than 5 %.
uint64_t piece_bytes_for(uint64_t file_bytes);

class Ledger {
 public:
  // Goes on with what `path` holds if that is for `identity`, else begins anew.
  static base::Result<Ledger> open(Disk& disk, const std::string& path,
                                   const FileIdentity& identity);

  uint32_t piece_count() const { return static_cast<uint32_t>(state_.pieces.size()); }
  uint64_t piece_bytes() const { return state_.piece_bytes; }
  uint64_t piece_offset(uint32_t piece) const { return piece * state_.piece_bytes; }
  uint64_t piece_size(uint32_t piece) const;
  const Piece& piece(uint32_t piece) const { return state_.pieces[piece]; }

  struct Mark {
    uint32_t piece = 0;
    crypto::Hash sum{};
  };
  // The bytes of these pieces are synced: say so.
  base::Result<void> have(const std::vector<Mark>& marks);
  // This piece turned out wrong on the disk.
  base::Result<void> lost(uint32_t piece);

 private:
  Ledger(std::unique_ptr<File> file, LedgerState state)
      : file_(std::move(file)), state_(std::move(state)) {}
  std::string record(uint32_t kind, const Mark& mark);
  base::Result<void> append(std::string_view records);

  std::unique_ptr<File> file_;
  LedgerState state_;
};

}  // namespace pull
