// What torch.save writes since PyTorch 1.6: a zip file whose members are stored (stored_zip.cc),
// all in one folder:
//
//   NAME/data.pkl    the pickle: a dictionary from names to tensors (torch_pickle.cc)
//   NAME/data/KEY    the numbers of one storage, row-major, little-endian
//   NAME/byteorder   "little", since PyTorch 2.1
//   NAME/version and others, which are not looked at
//
// Rules (each is an error that names the file and the tensor):
//  1. There is one data.pkl, of at most pickle_bytes_max bytes.
//  2. A tensor's storage is a member whose size is exactly the number of elements that the pickle
//     states times the size of one.
//  3. A tensor lies row by row in its storage, from its first element on, and inside of it.
//  4. Two tensors have the same bytes (tied weights) or none in common. No name stands twice.
// The form before PyTorch 1.6 (pickles without a zip around them) and TorchScript are not read.
#include "format/torch_bin.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/bytes.h"
#include "format/decoder_check.h"
#include "format/stored_zip.h"
#include "format/torch_pickle.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;

constexpr std::string_view pickle_name = "/data.pkl";

class TorchReader {
 public:
  explicit TorchReader(const ByteSource& source) : source_(source) {}

  base::Result<std::vector<SafetensorsEntry>> run() {
    TRY(expect_zip());
    ASSIGN(const auto members, read_stored_zip(source_));
    TRY(find_parts(members));
    std::string pickle(pickle_->bytes, '\0');
    TRY(source_.read(pickle_->offset, {reinterpret_cast<uint8_t*>(pickle.data()), pickle.size()}));
    ASSIGN(const auto tensors, read_torch_pickle(pickle, source_.shown()));
    std::vector<SafetensorsEntry> entries;
    std::unordered_set<std::string> names;
    for (const PickledTensor& tensor : tensors) {
      if (!names.insert(tensor.name).second) return bad(tensor.name, "stands there twice");
      ASSIGN(SafetensorsEntry entry, entry_of(tensor));
      entries.push_back(std::move(entry));
    }
    std::stable_sort(entries.begin(), entries.end(),
                     [](const auto& a, const auto& b) { return a.offset < b.offset; });
    TRY(check_shared(entries));
    return entries;
  }

 private:
  tl::unexpected<base::Error> bad(std::string_view tensor, std::string why) const {
    return fail(ErrorKind::invalid_input,
                fmt::format("{}: tensor {}", source_.shown(), base::shown_name(tensor)),
                std::move(why), get_another);
  }

  base::Result<void> expect_zip() const {
    constexpr std::array<uint8_t, 4> signature = {'P', 'K', 3, 4};
    std::array<uint8_t, 4> start{};
    if (source_.size() >= start.size()) TRY(source_.read(0, start));
    if (start == signature) return {};
    return fail(ErrorKind::unsupported,
                source_.shown() + ": is no checkpoint of PyTorch 1.6 or later",
                "it is not a zip file; older ones are bare pickles, and those are not read",
                instead_of_torch);
  }

  base::Result<void> find_parts(const std::vector<ZipMember>& members) {
    for (const ZipMember& member : members) {
      // NAME/data.pkl, not deeper.
      if (!member.name.ends_with(pickle_name) ||
          member.name.find('/') != member.name.size() - pickle_name.size()) {
        continue;
      }
      if (pickle_ != nullptr) return bad_file("has two pickles");
      pickle_ = &member;
    }
    if (pickle_ == nullptr) return bad_file("has no data.pkl");
    if (pickle_->bytes > pickle_bytes_max) {
      return bad_file(fmt::format("its data.pkl has {} bytes, at most {} are read", pickle_->bytes,
                                  pickle_bytes_max));
    }
    const std::string folder =
        pickle_->name.substr(0, pickle_->name.size() - pickle_name.size() + 1);
    for (const ZipMember& member : members) {
      if (member.name.starts_with(folder + "data/")) {
        storages_.emplace(member.name.substr(folder.size() + 5), &member);
      }
      if (member.name == folder + "byteorder") TRY(check_byte_order(member));
      if (member.name.starts_with(folder + "code/")) return bad_file("is TorchScript, a program");
    }
    return {};
  }

  tl::unexpected<base::Error> bad_file(std::string why) const {
    return fail(ErrorKind::invalid_input, source_.shown() + ": is no checkpoint of tensors",
                std::move(why), instead_of_torch);
  }

  base::Result<void> check_byte_order(const ZipMember& member) const {
    constexpr std::string_view little = "little";
    std::string order(std::min<uint64_t>(member.bytes, little.size() + 1), '\0');
    TRY(source_.read(member.offset, {reinterpret_cast<uint8_t*>(order.data()), order.size()}));
    if (order == little) return {};
    return bad_file("its numbers are not little-endian");
  }

  base::Result<SafetensorsEntry> entry_of(const PickledTensor& tensor) const {
    const auto found = storages_.find(tensor.storage);
    if (found == storages_.end()) {
      return bad(tensor.name, fmt::format("its storage, data/{}, is missing", tensor.storage));
    }
    const ZipMember& storage = *found->second;
    const auto size = static_cast<uint64_t>(tensor::row_bytes(tensor.dtype, 1));
    const auto stated = base::checked_mul(tensor.storage_elements, size);
    if (!stated || *stated != storage.bytes) {
      return bad(tensor.name,
                 fmt::format("its storage is stated with {} elements of {} bytes, "
                             "data/{} has {} bytes",
                             tensor.storage_elements, size, tensor.storage, storage.bytes));
    }
    // Row by row: each stride is the number of elements of what is further inside.
    uint64_t elements = 1;
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      const bool strided = i < tensor.strides.size() && tensor.shape[i] > 1;
      if (strided && tensor.strides[i] != elements) {
        return bad(tensor.name,
                   fmt::format("has shape [{}] and strides [{}]: it is not stored row "
                               "by row",
                               fmt::join(tensor.shape, ", "), fmt::join(tensor.strides, ", ")));
      }
      const auto product = base::checked_mul(elements, tensor.shape[i]);
      if (!product) return bad(tensor.name, "the size of its shape is past 64 bits");
      elements = *product;
    }
    if (tensor.first > tensor.storage_elements ||
        elements > tensor.storage_elements - tensor.first) {
      return bad(tensor.name, fmt::format("{} elements from {} on reach past its storage of {}",
                                          elements, tensor.first, tensor.storage_elements));
    }
    SafetensorsEntry entry;
    entry.name = tensor.name;
    entry.dtype = tensor.dtype;
    entry.shape = tensor.shape;
    entry.offset = storage.offset + tensor.first * size;
    entry.bytes = elements * size;
    return entry;
  }

  // `entries` are in the order of their offsets.
  base::Result<void> check_shared(const std::vector<SafetensorsEntry>& entries) const {
    for (size_t i = 1; i < entries.size(); ++i) {
      const SafetensorsEntry& before = entries[i - 1];
      const SafetensorsEntry& entry = entries[i];
      const uint64_t apart = entry.offset - before.offset;
      if (apart >= before.bytes || (apart == 0 && entry.bytes == before.bytes)) continue;
      return bad(entry.name, fmt::format("overlaps tensor {}", base::shown_name(before.name)));
    }
    return {};
  }

  const ByteSource& source_;
  const ZipMember* pickle_ = nullptr;
  std::unordered_map<std::string, const ZipMember*> storages_;  // by their keys
};

}  // namespace

base::Result<std::vector<SafetensorsEntry>> parse_torch_bin(const ByteSource& source) {
  return TorchReader(source).run();
}

}  // namespace format
