// PyTorch checkpoints written as bytes, for tests that change one thing of a good one: the zip file
// around, the pickle inside, and both together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace format {

// Pieces of a pickle of protocol 2.
namespace pickled {

inline std::string start() { return "\x80\x02"; }
inline std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string text(const std::string& value) {
  const auto size = static_cast<uint32_t>(value.size());
  return "X" + std::string(reinterpret_cast<const char*>(&size), 4) + value;
}
inline std::string number(int64_t value) {
  return std::string("\x8a\x08", 2) + std::string(reinterpret_cast<const char*>(&value), 8);
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string out = "(";
  for (const std::string& item : items) out += item;
  return out + "t";
}
inline std::string numbers(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t value : values) items.push_back(number(value));
  return tuple(items);
}
inline std::string storage(const std::string& type, const std::string& key, int64_t elements) {
  return tuple({text("storage"), global("torch", type), text(key), text("cpu"), number(elements)}) +
         "Q";
}
inline std::vector<int64_t> row_major(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}
inline std::string tensor(const std::string& storage, int64_t first,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple({storage, number(first), numbers(shape), numbers(strides), "\x89",
                global("collections", "OrderedDict") + ")R"}) +
         "R";
}
// {key: value …}.
inline std::string dictionary(const std::vector<std::string>& items) {
  std::string out = "}(";
  for (const std::string& item : items) out += item;
  return out + "u";
}

}  // namespace pickled

struct TestMember {
  std::string name, data;
  uint16_t method = 0, flags = 0x0808;
  bool zip64 = false;
  std::string own_name = {};  // of the local record, if another
  int64_t stated_bytes = -1;  // in the directory, if others
  int64_t stated_packed = -1;
  int64_t stated_offset = -1;
};

// As PyTorch lays it out: the sizes of the local records are 0.
class TestZip {
 public:
  std::vector<TestMember> members;
  bool zip64 = false;
  int64_t stated_count = -1;
  std::string comment;

  std::string bytes() const {
    std::string out, directory;
    for (const TestMember& member : members) {
      const uint64_t at = out.size();
      const std::string& name = member.own_name.empty() ? member.name : member.own_name;
      put32(out, 0x04034b50);
      for (const uint16_t value : {uint16_t{20}, member.flags, member.method}) put16(out, value);
      for (int i = 0; i < 4; ++i) put32(out, 0);  // time, checksum, sizes
      put16(out, static_cast<uint16_t>(name.size()));
      put16(out, 0);
      out += name + member.data;
      add_to_directory(member, at, directory);
    }
    const uint64_t at = out.size(), size = directory.size();
    const auto count = static_cast<uint64_t>(
        stated_count >= 0 ? stated_count : static_cast<int64_t>(members.size()));
    out += directory;
    if (zip64) add_zip64_end(out, count, size, at);
    put32(out, 0x06054b50);
    put32(out, 0);
    for (int i = 0; i < 2; ++i) put16(out, static_cast<uint16_t>(zip64 ? 0xffff : count));
    put32(out, static_cast<uint32_t>(zip64 ? 0xffffffff : size));
    put32(out, static_cast<uint32_t>(zip64 ? 0xffffffff : at));
    put16(out, static_cast<uint16_t>(comment.size()));
    return out + comment;
  }

  static void put16(std::string& out, uint16_t value) { put(out, value); }
  static void put32(std::string& out, uint32_t value) { put(out, value); }
  static void put64(std::string& out, uint64_t value) { put(out, value); }

 private:
  template <class T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  static void add_to_directory(const TestMember& member, uint64_t at, std::string& out) {
    const auto stated = [](int64_t value, uint64_t otherwise) {
      return value >= 0 ? static_cast<uint64_t>(value) : otherwise;
    };
    const uint64_t bytes = stated(member.stated_bytes, member.data.size());
    const uint64_t packed = stated(member.stated_packed, bytes);
    const uint64_t offset = stated(member.stated_offset, at);
    std::string extra;
    if (member.zip64) {
      put16(extra, 1);
      put16(extra, 24);
      for (const uint64_t value : {bytes, packed, offset}) put64(extra, value);
    }
    const auto narrow = [&](uint64_t value) {
      return static_cast<uint32_t>(member.zip64 ? 0xffffffff : value);
    };
    put32(out, 0x02014b50);
    for (const uint16_t value : {uint16_t{20}, uint16_t{20}, member.flags, member.method}) {
      put16(out, value);
    }
    put32(out, 0);
    put32(out, 0);
    put32(out, narrow(packed));
    put32(out, narrow(bytes));
    put16(out, static_cast<uint16_t>(member.name.size()));
    put16(out, static_cast<uint16_t>(extra.size()));
    for (int i = 0; i < 3; ++i) put16(out, 0);
    put32(out, 0);
    put32(out, narrow(offset));
    out += member.name + extra;
  }

  static void add_zip64_end(std::string& out, uint64_t count, uint64_t size, uint64_t at) {
    const uint64_t end = out.size();
    put32(out, 0x06064b50);
    put64(out, 44);
    put32(out, 20 | 20 << 16);
    put32(out, 0);
    put32(out, 0);
    for (const uint64_t value : {count, count, size, at}) put64(out, value);
    put32(out, 0x07064b50);
    put32(out, 0);
    put64(out, end);
    put32(out, 1);
  }
};

struct TestTensor {
  std::string name, type;  // "BFloat16Storage"
  std::vector<int64_t> shape;
  std::string data;
  int64_t elements = 0;
};

// A checkpoint of these tensors, each with a storage of its own.
inline std::string torch_bin(const std::vector<TestTensor>& tensors, bool zip64 = false) {
  std::vector<std::string> items;
  TestZip zip;
  zip.zip64 = zip64;
  zip.members.push_back({"model/data.pkl", ""});
  zip.members.push_back({"model/byteorder", "little"});
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TestTensor& tensor = tensors[i];
    const std::string key = std::to_string(i);
    items.push_back(pickled::text(tensor.name));
    items.push_back(pickled::tensor(pickled::storage(tensor.type, key, tensor.elements), 0,
                                    tensor.shape, pickled::row_major(tensor.shape)));
    zip.members.push_back({"model/data/" + key, tensor.data});
    zip.members.back().zip64 = zip64;
  }
  zip.members[0].data = pickled::start() + pickled::dictionary(items) + ".";
  return zip.bytes();
}

}  // namespace format
