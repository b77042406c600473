// The progress file, little-endian:
//
//   0     16 bytes  "nautile-pull 1\n" and a NUL
//   16    u32       length of the JSON, at most 4000
//   20    JSON      {"source", "size", "piece", "digest", "version"}, then NUL bytes
//   4064  32 bytes  seal: BLAKE2b-256 of the 4064 bytes before
//   4096  records of 48 bytes, in the order in which they were made:
//           0   u32       piece
//           4   u32       1: its bytes are on the disk; 2: they turned out wrong
//           8   32 bytes  BLAKE2b-256 of its bytes (zero for 2)
//           40  8 bytes   first bytes of BLAKE2b-256 of the seal, the record's number (u64) and the
//                         40 bytes before
//
// Valid: the seal holds; size from 1 to 2^50; piece a power of two as piece_bytes_for() gives it.
// Records are read up to the first one whose check fails; a later one is never believed, since the
// file is cut there before it grows again.
#include "pull/ledger.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/json.h"

namespace pull {
namespace {

constexpr std::string_view magic{"nautile-pull 1\n\0", 16};
constexpr size_t header_bytes = 4096, seal_offset = 4064, json_bytes_max = 4000;
constexpr size_t record_bytes = 48, check_offset = 40, check_bytes = 8;
constexpr uint64_t piece_bytes_least = 128 * 1024, piece_bytes_most = 8 << 20;
constexpr uint64_t pieces_least = 1900;  // four under way are 1/475 of the file
constexpr uint64_t file_bytes_max = uint64_t{1} << 50;
constexpr size_t ledger_bytes_max = size_t{1} << 32;
constexpr uint32_t kind_have = 1, kind_lost = 2;

std::string_view text_of(const crypto::Hash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

void put(std::string& out, const void* value, size_t bytes) {
  out.append(static_cast<const char*>(value), bytes);
}

crypto::Hash record_check(const crypto::Hash& seal, uint64_t number, std::string_view fields) {
  std::string text(text_of(seal));
  put(text, &number, sizeof number);
  text += fields;
  return crypto::hash("nautile pull record", text);
}

tl::unexpected<base::Error> unusable(std::string why) {
  return base::fail(base::ErrorKind::invalid_input, "the progress file cannot be used",
                    std::move(why), "the file is fetched from its beginning");
}

base::Result<FileIdentity> read_identity(const base::Json& json, uint64_t& piece_bytes) {
  const auto text = [&](std::string_view key) -> const std::string* {
    const base::Json* value = json.is_object() ? json.find(key) : nullptr;
    return value != nullptr && value->is_string() ? &value->as_string() : nullptr;
  };
  const auto number = [&](std::string_view key) -> uint64_t {
    const base::Json* value = json.is_object() ? json.find(key) : nullptr;
    return value != nullptr && value->is_integer() && value->as_integer() > 0
               ? static_cast<uint64_t>(value->as_integer())
               : 0;
  };
  const std::string* source = text("source");
  const std::string* digest = text("digest");
  const std::string* version = text("version");
  const uint64_t size = number("size");
  piece_bytes = number("piece");
  if (source == nullptr || digest == nullptr || version == nullptr || size == 0 ||
      size > file_bytes_max || piece_bytes != piece_bytes_for(size)) {
    return unusable("a field of its header is missing or out of range");
  }
  return FileIdentity{*source, size, *digest, *version};
}

std::string make_header(const FileIdentity& identity) {
  const std::string json =
      base::Json::object({{"source", identity.source},
                          {"size", static_cast<int64_t>(identity.size)},
                          {"piece", static_cast<int64_t>(piece_bytes_for(identity.size))},
                          {"digest", identity.digest},
                          {"version", identity.version}})
          .dump();
  CHECK(json.size() <= json_bytes_max, "open() has bounded the parts");
  std::string header(magic);
  const uint32_t length = static_cast<uint32_t>(json.size());
  put(header, &length, sizeof length);
  header += json;
  header.resize(seal_offset, '\0');
  header += text_of(crypto::hash("nautile pull header", header));
  return header;
}

// A piece's record, applied; false: torn.
bool apply_record(std::string_view record, uint64_t number, LedgerState& state) {
  const crypto::Hash check = record_check(state.seal, number, record.substr(0, check_offset));
  if (std::memcmp(check.data(), record.data() + check_offset, check_bytes) != 0) return false;
  uint32_t piece = 0, kind = 0;
  std::memcpy(&piece, record.data(), sizeof piece);
  std::memcpy(&kind, record.data() + 4, sizeof kind);
  if (piece >= state.pieces.size() || (kind != kind_have && kind != kind_lost)) return false;
  Piece& target = state.pieces[piece];
  target.have = kind == kind_have;
  std::memcpy(target.sum.data(), record.data() + 8, target.sum.size());
  return true;
}

}  // namespace

uint64_t piece_bytes_for(uint64_t file_bytes) {
  const uint64_t share = std::bit_floor(std::max<uint64_t>(file_bytes / pieces_least, 1));
  return std::clamp(share, piece_bytes_least, piece_bytes_most);
}

base::Result<LedgerState> parse_ledger(std::string_view bytes) {
  if (bytes.size() < header_bytes || !bytes.starts_with(magic)) return unusable("it has no header");
  LedgerState state;
  state.seal = crypto::hash("nautile pull header", bytes.substr(0, seal_offset));
  if (bytes.substr(seal_offset, state.seal.size()) != text_of(state.seal)) {
    return unusable("its header is torn");
  }
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + magic.size(), sizeof length);
  if (length > json_bytes_max) return unusable("its header is too long");
  ASSIGN(const base::Json json,
         base::parse_json(bytes.substr(magic.size() + sizeof length, length), "the progress file"));
  ASSIGN(state.identity, read_identity(json, state.piece_bytes));
  const uint64_t count = (state.identity.size + state.piece_bytes - 1) / state.piece_bytes;
  if (count > ledger_bytes_max / record_bytes) return unusable("it has too many pieces");
  state.pieces.resize(count);
  state.bytes_used = header_bytes;
  for (uint64_t number = 0; bytes.size() - state.bytes_used >= record_bytes; ++number) {
    if (!apply_record(bytes.substr(state.bytes_used, record_bytes), number, state)) break;
    state.bytes_used += record_bytes;
  }
  return state;
}

base::Result<Ledger> Ledger::open(Disk& disk, const std::string& path,
                                  const FileIdentity& identity) {
  constexpr size_t part_bytes_max = 1200;
  if (identity.size == 0 || identity.size > file_bytes_max ||
      identity.source.size() > part_bytes_max || identity.digest.size() > 100 ||
      identity.version.size() > 600) {
    return base::fail(base::ErrorKind::limit_exceeded, "this file cannot be fetched in pieces",
                      "its size or its name is out of range");
  }
  ASSIGN(auto file, disk.open_alone(path));
  ASSIGN(const uint64_t size, file->size());
  if (size >= header_bytes && size <= ledger_bytes_max) {
    std::string bytes(size, '\0');
    ASSIGN(const size_t got, file->read_at(0, bytes.data(), bytes.size()));
    auto state = parse_ledger(std::string_view(bytes).substr(0, got));
    if (state && state->identity == identity) {
      TRY(file->resize(state->bytes_used));
      return Ledger(std::move(file), std::move(*state));
    }
  }
  // First nothing is claimed any more, then the new claim's header stands.
  TRY(file->resize(0));
  TRY(file->sync());
  const std::string header = make_header(identity);
  TRY(file->write_at(0, header));
  TRY(file->sync());
  ASSIGN(LedgerState fresh, parse_ledger(header));
  return Ledger(std::move(file), std::move(fresh));
}

uint64_t Ledger::piece_size(uint32_t piece) const {
  return std::min(state_.piece_bytes, state_.identity.size - piece_offset(piece));
}

std::string Ledger::record(uint32_t kind, const Mark& mark) {
  std::string text;
  put(text, &mark.piece, sizeof mark.piece);
  put(text, &kind, sizeof kind);
  text += text_of(mark.sum);
  return text;
}

base::Result<void> Ledger::append(std::string_view records) {
  TRY(file_->write_at(state_.bytes_used, records));
  state_.bytes_used += records.size();
  return {};
}

base::Result<void> Ledger::have(const std::vector<Mark>& marks) {
  std::string records;
  for (const Mark& mark : marks) {
    const uint64_t number = (state_.bytes_used + records.size() - header_bytes) / record_bytes;
    const std::string fields = record(kind_have, mark);
    const crypto::Hash check = record_check(state_.seal, number, fields);
    records += fields;
    records += text_of(check).substr(0, check_bytes);
  }
  TRY(append(records));
  for (const Mark& mark : marks) state_.pieces[mark.piece] = {true, mark.sum};
  return {};
}

base::Result<void> Ledger::lost(uint32_t piece) {
  const uint64_t number = (state_.bytes_used - header_bytes) / record_bytes;
  std::string fields = record(kind_lost, {piece, {}});
  fields += text_of(record_check(state_.seal, number, fields)).substr(0, check_bytes);
  TRY(append(fields));
  state_.pieces[piece] = {};
  return {};
}

}  // namespace pull
