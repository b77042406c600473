// safetensors, little-endian:
//
//   u64 N | N bytes of JSON | data
//
// The JSON is one object: name -> {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted
// from the end of the JSON; and optionally "__metadata__", an object of strings. Spaces may follow
// it.
//
// Rules (each is an error that names the file and the tensor):
//  1. N is at most 100 MB and at most the bytes that follow it; the JSON begins with '{'.
//  2. The JSON is valid UTF-8 without trailing bytes, at most four levels deep; no name stands
//  twice.
//  3. dtype is known; shape has at most 4 dimensions, none 0; offsets are two integers in order.
//  4. end - begin is the number of elements times the size of one, computed in 64 bits with checks.
//  5. The tensors cover the data without overlap and without holes, and the data end with the file.
#include "format/safetensors.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/json.h"
#include "format/decoder_check.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr uint64_t header_bytes_max = 100'000'000;
constexpr int header_depth_max = 4;
constexpr size_t dimensions_max = 4;

struct DtypeName {
  std::string_view name;
  tensor::Dtype dtype;
  uint64_t bytes;
};
constexpr DtypeName dtype_names[] = {
    {"BOOL", tensor::Dtype::boolean, 1},    {"U8", tensor::Dtype::u8, 1},
    {"I8", tensor::Dtype::i8, 1},           {"F8_E5M2", tensor::Dtype::f8_e5m2, 1},
    {"F8_E4M3", tensor::Dtype::f8_e4m3, 1}, {"F8_E8M0", tensor::Dtype::f8_e8m0, 1},
    {"I16", tensor::Dtype::i16, 2},         {"U16", tensor::Dtype::u16, 2},
    {"F16", tensor::Dtype::f16, 2},         {"BF16", tensor::Dtype::bf16, 2},
    {"I32", tensor::Dtype::i32, 4},         {"U32", tensor::Dtype::u32, 4},
    {"F32", tensor::Dtype::f32, 4},         {"F64", tensor::Dtype::f64, 8},
    {"I64", tensor::Dtype::i64, 8},         {"U64", tensor::Dtype::u64, 8}};

class HeaderReader {
 public:
  explicit HeaderReader(const ByteSource& source) : source_(source) {}

  base::Result<std::vector<SafetensorsEntry>> run() {
    ASSIGN(const base::Json header, read_json());
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, value] : header.as_object()) {
      if (name == "__metadata__") {
        TRY(check_metadata(value));
        continue;
      }
      ASSIGN(SafetensorsEntry entry, read_entry(name, value));
      entries.push_back(std::move(entry));
    }
    TRY(check_cover(entries));
    for (SafetensorsEntry& entry : entries) entry.offset += data_start_;
    return entries;
  }

 private:
  tl::unexpected<base::Error> bad(std::string_view field, std::string why) const {
    return fail(ErrorKind::invalid_input, fmt::format("{}: {}", source_.shown(), field),
                std::move(why), get_another);
  }
  static std::string shown(std::string_view name) { return "tensor " + base::shown_name(name); }

  base::Result<base::Json> read_json() {
    const uint64_t size = source_.size();
    if (size < 8) return bad("the file is cut short", "the header length is missing");
    uint64_t length = 0;
    TRY(source_.read(0, {reinterpret_cast<uint8_t*>(&length), 8}));
    if (length > size - 8) {
      return bad("the header length",
                 fmt::format("is {}, the file has {} more bytes", length, size - 8));
    }
    if (length > header_bytes_max) {
      return bad("the header length",
                 fmt::format("is {}, at most {} are read", length, header_bytes_max));
    }
    std::string text(length, '\0');
    TRY(source_.read(8, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
    if (text.empty() || text[0] != '{') return bad("the header", "does not begin with '{'");
    data_start_ = 8 + length;
    ASSIGN(base::Json header, base::parse_json(text, source_.shown() + ": the header",
                                               {.bytes_max = header_bytes_max,
                                                .depth_max = header_depth_max,
                                                .duplicate_keys_refused = true}));
    if (!header.is_object()) return bad("the header", "is not an object");
    return header;
  }

  base::Result<void> check_metadata(const base::Json& value) const {
    if (!value.is_object()) return bad("__metadata__", "is not an object");
    for (const auto& [key, member] : value.as_object()) {
      if (!member.is_string()) {
        return bad("__metadata__", base::shown_name(key) + " is not a string");
      }
    }
    return {};
  }

  base::Result<SafetensorsEntry> read_entry(const std::string& name,
                                            const base::Json& value) const {
    if (!value.is_object()) return bad(shown(name), "is not an object");
    SafetensorsEntry entry;
    entry.name = name;
    const base::Json* dtype = value.find("dtype");
    if (dtype == nullptr || !dtype->is_string()) return bad(shown(name), "has no dtype");
    const auto* known =
        std::find_if(std::begin(dtype_names), std::end(dtype_names),
                     [&](const DtypeName& d) { return d.name == dtype->as_string(); });
    if (known == std::end(dtype_names)) {
      return fail(ErrorKind::unsupported,
                  fmt::format("{}: {}: dtype {} is not known", source_.shown(), shown(name),
                              base::shown_name(dtype->as_string())));
    }
    entry.dtype = known->dtype;
    ASSIGN(const uint64_t elements, read_shape(value.find("shape"), entry));
    const auto bytes = base::checked_mul(elements, known->bytes);
    if (!bytes) return bad(shown(name), "the size of its shape is past 64 bits");
    entry.bytes = *bytes;
    TRY(read_offsets(value.find("data_offsets"), entry));
    return entry;
  }

  base::Result<uint64_t> read_shape(const base::Json* shape, SafetensorsEntry& entry) const {
    if (shape == nullptr || !shape->is_array()) return bad(shown(entry.name), "has no shape list");
    if (shape->as_array().size() > dimensions_max) {
      return bad(shown(entry.name), fmt::format("has {} dimensions, at most {} are read",
                                                shape->as_array().size(), dimensions_max));
    }
    uint64_t elements = 1;
    for (const base::Json& length : shape->as_array()) {
      if (!length.is_integer() || length.as_integer() <= 0) {
        return bad(shown(entry.name), "its shape must hold positive integers");
      }
      const auto product = base::checked_mul(elements, static_cast<uint64_t>(length.as_integer()));
      if (!product) return bad(shown(entry.name), "the size of its shape is past 64 bits");
      elements = *product;
      entry.shape.push_back(static_cast<uint64_t>(length.as_integer()));
    }
    if (entry.shape.empty()) entry.shape.push_back(1);
    return elements;
  }

  base::Result<void> read_offsets(const base::Json* offsets, SafetensorsEntry& entry) const {
    if (offsets == nullptr || !offsets->is_array() || offsets->as_array().size() != 2 ||
        !offsets->as_array()[0].is_integer() || !offsets->as_array()[1].is_integer()) {
      return bad(shown(entry.name), "data_offsets must be two integers");
    }
    const int64_t begin = offsets->as_array()[0].as_integer();
    const int64_t end = offsets->as_array()[1].as_integer();
    if (begin < 0 || end < begin) {
      return bad(shown(entry.name), fmt::format("data_offsets [{}, {}] are no range", begin, end));
    }
    const uint64_t data = source_.size() - data_start_;
    if (static_cast<uint64_t>(end) > data) {
      return fail(ErrorKind::invalid_input,
                  fmt::format("{}: {}: ends at byte {} of the data, past the end of the file",
                              source_.shown(), shown(entry.name), end),
                  fmt::format("the file has {} bytes of data", data),
                  "the file is cut short or damaged: download it again");
    }
    if (static_cast<uint64_t>(end - begin) != entry.bytes) {
      return bad(shown(entry.name), fmt::format("its shape needs {} bytes, data_offsets hold {}",
                                                entry.bytes, end - begin));
    }
    entry.offset = static_cast<uint64_t>(begin);
    return {};
  }

  base::Result<void> check_cover(const std::vector<SafetensorsEntry>& entries) const {
    std::vector<const SafetensorsEntry*> order;
    order.reserve(entries.size());
    for (const SafetensorsEntry& entry : entries) order.push_back(&entry);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return a->offset < b->offset; });
    uint64_t expected = 0;
    for (const SafetensorsEntry* entry : order) {
      if (entry->offset != expected) {
        return bad(shown(entry->name),
                   fmt::format("begins at {} where {} was expected: {}", entry->offset, expected,
                               entry->offset < expected ? "it overlaps another tensor"
                                                        : "there is a hole before it"));
      }
      expected += entry->bytes;
    }
    const uint64_t data = source_.size() - data_start_;
    if (expected != data) {
      return bad("the data", fmt::format("the tensors cover {} of {} bytes", expected, data));
    }
    return {};
  }

  const ByteSource& source_;
  uint64_t data_start_ = 0;
};

}  // namespace

base::Result<std::vector<SafetensorsEntry>> parse_safetensors(const ByteSource& source) {
  return HeaderReader(source).run();
}

}  // namespace format
