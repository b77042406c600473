// zip, little-endian, read from its end:
//
//   end record    u32 0x06054b50 | u16 disk, u16 disk of directory | u16 members here, u16 members
//   |
//                 u32 directory bytes, u32 directory offset | u16 comment bytes, comment
//   zip64 locator u32 0x07064b50 | u32 disk | u64 offset of the zip64 end | u32 disks
//   zip64 end     u32 0x06064b50 | u64 its bytes after this | u16, u16 versions | u32 disk, u32
//   disk
//                 of directory | u64 members here, u64 members | u64 directory bytes, u64 offset
//   directory     per member: u32 0x02014b50 | u16, u16 versions | u16 flags | u16 method |
//                 u16 time, u16 date | u32 crc | u32 packed bytes | u32 bytes | u16 name bytes |
//                 u16 extra bytes | u16 comment bytes | u16 disk | u16, u32 attributes |
//                 u32 offset of the local record | name, extra, comment
//   local record  u32 0x04034b50 | u16 version | u16 flags | u16 method | u16 time, u16 date |
//                 u32 crc, u32 packed bytes, u32 bytes | u16 name bytes, u16 extra bytes | name,
//                 extra | the member's bytes
//
// Where a 16 or 32 bit number is all ones, the zip64 end or the member's zip64 extra field (id 1:
// u64 bytes, packed bytes, offset, those that are needed) has it.
//
// Rules (each is an error that names the file): one disk; the directory ends where the end records
// begin, and has the stated number of members; every member is stored (method 0) and not
// encrypted, so that its bytes are as many as the file has; its local record bears its name; names
// are plain: no "..", no empty part, no backslash, no control character, none twice; members'
// bytes overlap neither each other nor the directory. Checksums are not looked at. The local
// record's own sizes are not looked at either: PyTorch writes them behind the bytes.
#include "format/stored_zip.h"

#include <algorithm>
#include <unordered_set>

#include "base/bytes.h"
#include "format/decoder_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr uint32_t end_signature = 0x06054b50, locator_signature = 0x07064b50,
                   zip64_end_signature = 0x06064b50, member_signature = 0x02014b50,
                   local_signature = 0x04034b50;
constexpr uint64_t end_bytes = 22, locator_bytes = 20, zip64_end_bytes = 56, member_bytes = 46,
                   local_bytes = 30;
constexpr uint64_t comment_bytes_max = 0xffff;
constexpr uint64_t members_max = 200'000;
constexpr uint64_t directory_bytes_max = 64 << 20;
constexpr uint64_t name_bytes_max = 4096;
constexpr uint16_t encrypted_flags = 0x2041;  // encrypted, strongly, or the directory too
constexpr uint16_t zip64_extra = 1;

// Numbers at known places of a record that is there as a whole.
uint16_t u16_at(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] | bytes[at + 1] << 8);
}
uint32_t u32_at(std::span<const uint8_t> bytes, size_t at) {
  return u16_at(bytes, at) | static_cast<uint32_t>(u16_at(bytes, at + 2)) << 16;
}
uint64_t u64_at(std::span<const uint8_t> bytes, size_t at) {
  return u32_at(bytes, at) | static_cast<uint64_t>(u32_at(bytes, at + 4)) << 32;
}

bool is_plain_name(std::string_view name) {
  if (name.empty() || name.size() > name_bytes_max || !base::is_utf8(name)) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f) return false;
  }
  if (name.back() == '/') name.remove_suffix(1);  // a folder
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

class ZipReader {
 public:
  explicit ZipReader(const ByteSource& source) : source_(source) {}

  base::Result<std::vector<ZipMember>> run() {
    TRY(find_end());
    TRY(read_zip64_end());
    TRY(read_directory());
    for (ZipMember& member : members_) TRY(find_bytes(member));
    TRY(check_overlap());
    return std::move(members_);
  }

 private:
  tl::unexpected<base::Error> bad(std::string what, std::string why) const {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {}", source_.shown(), what),
                std::move(why), get_another);
  }
  static std::string shown(const ZipMember& member) {
    return "member " + base::shown_name(member.name);
  }

  base::Result<std::vector<uint8_t>> take(uint64_t at, uint64_t count) const {
    std::vector<uint8_t> bytes(count);
    TRY(source_.read(at, bytes));
    return bytes;
  }

  // The last end record whose comment ends with the file.
  base::Result<void> find_end() {
    const uint64_t size = source_.size();
    if (size < end_bytes) return bad("is no zip file", "it is too short");
    const uint64_t tail_bytes = std::min(size, end_bytes + comment_bytes_max);
    ASSIGN(const auto tail, take(size - tail_bytes, tail_bytes));
    const std::span<const uint8_t> bytes = tail;
    for (uint64_t at = tail_bytes - end_bytes;; --at) {
      const auto record = bytes.subspan(at);
      if (u32_at(record, 0) == end_signature && u16_at(record, 20) == record.size() - end_bytes) {
        end_at_ = size - tail_bytes + at;
        if (u16_at(record, 4) != u16_at(record, 6) || u16_at(record, 8) != u16_at(record, 10)) {
          return bad("is a part of a larger zip file", "it states several disks");
        }
        count_ = u16_at(record, 10);
        directory_bytes_ = u32_at(record, 12);
        directory_at_ = u32_at(record, 16);
        return {};
      }
      if (at == 0) break;
    }
    return bad("is no zip file, or was cut short", "the record at its end is missing");
  }

  // Takes the place of what did not fit into the end record.
  base::Result<void> read_zip64_end() {
    directory_end_ = end_at_;
    const bool needed =
        count_ == 0xffff || directory_bytes_ == 0xffffffff || directory_at_ == 0xffffffff;
    if (end_at_ < locator_bytes) {
      return needed ? base::Result<void>(bad("the end record", "needs a zip64 record"))
                    : base::Result<void>();
    }
    ASSIGN(const auto locator, take(end_at_ - locator_bytes, locator_bytes));
    if (u32_at(locator, 0) != locator_signature) {
      if (needed) return bad("the end record", "needs a zip64 record, and there is none");
      return {};
    }
    const uint64_t at = u64_at(locator, 8), before = end_at_ - locator_bytes;
    if (at > before || before - at < zip64_end_bytes) {
      return bad("the zip64 record", "is not where the locator says");
    }
    ASSIGN(const auto end, take(at, zip64_end_bytes));
    if (u32_at(end, 0) != zip64_end_signature || u64_at(end, 24) != u64_at(end, 32) ||
        u32_at(end, 16) != u32_at(end, 20)) {
      return bad("the zip64 record", "is none, or states several disks");
    }
    count_ = u64_at(end, 32);
    directory_bytes_ = u64_at(end, 40);
    directory_at_ = u64_at(end, 48);
    directory_end_ = at;
    return {};
  }

  base::Result<void> read_directory() {
    if (directory_at_ > directory_end_ || directory_bytes_ != directory_end_ - directory_at_) {
      return bad("the directory", fmt::format("{} bytes at {} do not end where the end record "
                                              "begins, at {}",
                                              directory_bytes_, directory_at_, directory_end_));
    }
    if (count_ > members_max || directory_bytes_ > directory_bytes_max) {
      return bad("the directory",
                 fmt::format("has {} members in {} bytes, at most {} in {} are "
                             "read",
                             count_, directory_bytes_, members_max, directory_bytes_max));
    }
    if (count_ > directory_bytes_ / member_bytes) {
      return bad("the directory", fmt::format("is too short for {} members", count_));
    }
    ASSIGN(const auto bytes, take(directory_at_, directory_bytes_));
    base::ByteReader reader(bytes);
    std::unordered_set<std::string> names;
    for (uint64_t i = 0; i < count_; ++i) {
      TRY(read_member(reader));
      if (!names.insert(members_.back().name).second) {
        return bad(shown(members_.back()), "stands there twice");
      }
    }
    if (reader.remaining() != 0) return bad("the directory", "is longer than its members");
    return {};
  }

  base::Result<void> read_member(base::ByteReader& reader) {
    const auto record = reader.take(member_bytes);
    if (!record || u32_at(*record, 0) != member_signature) {
      return bad("the directory", "ends within a member, or holds something else");
    }
    const auto name = reader.take_text(u16_at(*record, 28));
    const auto extra = reader.take(u16_at(*record, 30));
    const auto comment = reader.take(u16_at(*record, 32));
    if (!name || !extra || !comment) return bad("the directory", "ends within a member");
    ZipMember member;
    member.name = std::string(*name);
    if (!is_plain_name(*name)) {
      return bad(shown(member), "its name is no plain path inside of the file");
    }
    if ((u16_at(*record, 8) & encrypted_flags) != 0) return bad(shown(member), "is encrypted");
    if (u16_at(*record, 10) != 0) {
      return bad(shown(member), "is compressed, and only stored members are read");
    }
    uint64_t packed = u32_at(*record, 20);
    member.bytes = u32_at(*record, 24);
    member.offset = u32_at(*record, 42);
    TRY(read_extra(*extra, member, packed));
    if (packed != member.bytes) {
      return bad(shown(member),
                 fmt::format("is stored, yet has {} bytes of {}", packed, member.bytes));
    }
    members_.push_back(std::move(member));
    return {};
  }

  // The 64 bit forms of the numbers that are all ones, in this order.
  base::Result<void> read_extra(std::span<const uint8_t> extra, ZipMember& member,
                                uint64_t& packed) const {
    constexpr uint32_t elsewhere = 0xffffffff;
    base::ByteReader fields(extra);
    while (fields.remaining() >= 4) {
      const uint16_t id = *fields.read<uint16_t>();
      const auto field = fields.take(*fields.read<uint16_t>());
      if (!field) return bad(shown(member), "its extra fields are cut short");
      if (id != zip64_extra) continue;
      base::ByteReader numbers(*field);
      for (uint64_t* number : {&member.bytes, &packed, &member.offset}) {
        if (*number != elsewhere) continue;
        const auto value = numbers.read<uint64_t>();
        if (!value) return bad(shown(member), "its zip64 field lacks a number");
        *number = *value;
      }
      return {};
    }
    if (member.bytes == elsewhere || packed == elsewhere || member.offset == elsewhere) {
      return bad(shown(member), "needs a zip64 field, and has none");
    }
    return {};
  }

  // Its bytes stand behind the local record.
  base::Result<void> find_bytes(ZipMember& member) const {
    const uint64_t at = member.offset;
    if (at > directory_at_ || directory_at_ - at < local_bytes + member.name.size()) {
      return bad(shown(member), "begins outside of the file");
    }
    ASSIGN(const auto record, take(at, local_bytes + member.name.size()));
    const uint64_t name = u16_at(record, 26), extra = u16_at(record, 28);
    const std::string_view its_name(reinterpret_cast<const char*>(record.data()) + local_bytes,
                                    member.name.size());
    if (u32_at(record, 0) != local_signature || name != member.name.size() ||
        its_name != member.name || u16_at(record, 8) != 0) {
      return bad(shown(member), "its own record says something else than the directory");
    }
    const uint64_t head = local_bytes + name + extra;
    if (directory_at_ - at < head || directory_at_ - at - head < member.bytes) {
      return bad(shown(member), fmt::format("its {} bytes reach past the end", member.bytes));
    }
    member.offset = at + head;
    return {};
  }

  base::Result<void> check_overlap() const {
    std::vector<const ZipMember*> order;
    order.reserve(members_.size());
    for (const ZipMember& member : members_) order.push_back(&member);
    std::sort(order.begin(), order.end(),
              [](const ZipMember* a, const ZipMember* b) { return a->offset < b->offset; });
    for (size_t i = 1; i < order.size(); ++i) {
      const ZipMember& before = *order[i - 1];
      if (order[i]->offset - before.offset < before.bytes) {
        return bad(shown(*order[i]), fmt::format("overlaps {}", shown(before)));
      }
    }
    return {};
  }

  const ByteSource& source_;
  uint64_t end_at_ = 0, directory_end_ = 0;
  uint64_t count_ = 0, directory_bytes_ = 0, directory_at_ = 0;
  std::vector<ZipMember> members_;
};

}  // namespace

base::Result<std::vector<ZipMember>> read_stored_zip(const ByteSource& source) {
  return ZipReader(source).run();
}

}  // namespace format
