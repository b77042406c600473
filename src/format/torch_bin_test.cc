// PyTorch checkpoints: files that PyTorch wrote (tests/golden/torch, made by its make.py), a Janus
// folder as its authors gave it, and files with one fault each. Nothing in a file is ever run.
#include "format/torch_bin.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

#include "base/scratch_for_test.h"
#include "format/model_fuzz.h"
#include "format/opened.h"
#include "format/stored_zip.h"
#include "format/torch_bin_for_test.h"

namespace format {
namespace {

namespace fs = std::filesystem;
const std::string goldens = std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/";

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return text.str();
}

std::unique_ptr<ByteSource> source(const std::string& bytes) {
  return memory_source({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "tiny.bin");
}

base::Result<std::vector<SafetensorsEntry>> parse(const std::string& bytes) {
  return parse_torch_bin(*source(bytes));
}

std::vector<double> values_of(const std::string& bytes, const SafetensorsEntry& entry) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data()) + entry.offset;
  const uint64_t count = entry.bytes / tensor::row_bytes(entry.dtype, 1);
  std::vector<double> values;
  if (entry.dtype == tensor::Dtype::i64) {
    for (uint64_t i = 0; i < count; ++i) {
      int64_t value;
      std::memcpy(&value, data + i * 8, 8);
      values.push_back(static_cast<double>(value));
    }
    return values;
  }
  std::vector<float> decoded(count);
  tensor::decode_row(entry.dtype, data, decoded.data(), static_cast<int64_t>(count));
  values.assign(decoded.begin(), decoded.end());
  return values;
}

TEST(TorchBin, ReadsWhatPyTorchWrites) {
  const std::string bytes = file_text(goldens + "torch/plain.bin");
  const auto entries = parse(bytes);
  ASSERT_TRUE(entries.has_value()) << entries.error().message();
  const auto json = base::parse_json(file_text(goldens + "torch/plain.json"), "plain.json");
  const auto& wanted = json->find("tensors")->as_object();
  ASSERT_EQ(entries->size(), wanted.size());
  for (const auto& [name, expected] : wanted) {
    const auto found =
        std::find_if(entries->begin(), entries->end(),
                     [&, wanted_name = name](const auto& e) { return e.name == wanted_name; });
    ASSERT_NE(found, entries->end()) << name;
    std::vector<uint64_t> shape;
    for (const auto& n : expected.as_array()[1].as_array()) {
      shape.push_back(static_cast<uint64_t>(n.as_integer()));
    }
    EXPECT_EQ(found->shape, shape) << name;
    std::vector<double> values;
    for (const auto& value : expected.as_array()[2].as_array()) values.push_back(value.as_number());
    EXPECT_EQ(values_of(bytes, *found), values) << name;
  }
}

TEST(TorchBin, ReadsModulesParametersAndViews) {
  const auto module = parse(file_text(goldens + "torch/module.bin"));
  ASSERT_TRUE(module.has_value()) << module.error().message();
  ASSERT_EQ(module->size(), 2u);
  EXPECT_EQ((*module)[0].offset, (*module)[1].offset);  // tied
  const auto parameter = parse(file_text(goldens + "torch/parameter.bin"));
  ASSERT_TRUE(parameter.has_value()) << parameter.error().message();
  EXPECT_EQ((*parameter)[0].shape, (std::vector<uint64_t>{2, 2}));
  const std::string bytes = file_text(goldens + "torch/views.bin");
  const auto views = parse(bytes);
  ASSERT_TRUE(views.has_value()) << views.error().message();
  EXPECT_EQ((*views)[0].name, "upper");
  EXPECT_EQ((*views)[1].offset - (*views)[0].offset, 12 * sizeof(float));
  EXPECT_EQ(values_of(bytes, (*views)[1])[0], (12 - 3) / 4.0);
}

void expect_refused(const std::string& bytes, const std::string& named, const std::string& fault) {
  const auto entries = parse(bytes);
  ASSERT_FALSE(entries.has_value()) << fault;
  const base::Error& error = entries.error();
  EXPECT_NE(error.message().find(named), std::string::npos) << fault << ": " << error.message();
  EXPECT_FALSE(error.what.empty() || error.why.empty() || error.next.empty()) << fault;
  EXPECT_NE(error.what.find("tiny.bin"), std::string::npos) << fault << ": " << error.message();
}

TEST(TorchBin, RefusesWhatPyTorchAlsoWrites) {
  const std::pair<const char*, const char*> files[] = {
      {"turned.bin", "not stored row by row"}, {"overlap.bin", "overlaps"},
      {"legacy.bin", "PyTorch 1.6"},           {"number.bin", "is no tensor"},
      {"protocol4.bin", "protocol 4"},         {"system.bin", "posix.system"}};
  for (const auto& [file, named] : files) {
    expect_refused(file_text(goldens + "torch/" + file), named, file);
  }
}

// ---- folders ------------------------------------------------------------------------------------

class TorchFolder : public base::ScratchTest {
 protected:
  void SetUp() override {
    for (const char* file :
         {"config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"}) {
      fs::copy_file(goldens + "model/janus-original/" + file, folder_ / file);
    }
    const auto opened = open_hf_directory(goldens + "model/janus-original");
    ASSERT_TRUE(opened.has_value());
    auto weights = open_file(goldens + "model/janus-original/model.safetensors");
    const auto entries = parse_safetensors(**weights);
    for (const SafetensorsEntry& entry : *entries) {
      TestTensor tensor{entry.name,
                        "BFloat16Storage",
                        {entry.shape.begin(), entry.shape.end()},
                        std::string(entry.bytes, '\0'),
                        static_cast<int64_t>(entry.bytes / 2)};
      ASSERT_TRUE((*weights)->read(
          entry.offset, {reinterpret_cast<uint8_t*>(tensor.data.data()), tensor.data.size()}));
      tensors_.push_back(std::move(tensor));
    }
  }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  void expect_same_as_golden() const {
    const auto wanted = ModelFiles::open(goldens + "model/janus-original");
    const auto files = ModelFiles::open(folder_.string());
    ASSERT_TRUE(files.has_value()) << files.error().message();
    EXPECT_EQ((*files)->container(), "PyTorch");
    const auto config = (*files)->config();
    ASSERT_TRUE(config.has_value()) << config.error().message();
    EXPECT_EQ(config->parameters, (*wanted)->config()->parameters);
    EXPECT_EQ((*files)->tensors().size(), (*wanted)->tensors().size());
    for (const TensorInfo& tensor : (*wanted)->tensors()) {
      const TensorInfo* found = (*files)->find(tensor.name);
      ASSERT_NE(found, nullptr) << tensor.name;
      EXPECT_EQ(found->shape, tensor.shape) << tensor.name;
      std::vector<uint8_t> a(tensor.bytes), b(tensor.bytes);
      ASSERT_TRUE((*wanted)->read(tensor, 0, a).has_value());
      ASSERT_TRUE((*files)->read(*found, 0, b).has_value());
      EXPECT_EQ(a, b) << tensor.name;
    }
  }

  std::vector<TestTensor> tensors_;
};

TEST_F(TorchFolder, JanusAsItsAuthorsGaveIt) {
  write("pytorch_model.bin", torch_bin(tensors_));
  expect_same_as_golden();
}

TEST_F(TorchFolder, InShardsByItsIndex) {
  base::Json map = base::Json::object();
  std::vector<TestTensor> halves[2];
  for (size_t i = 0; i < tensors_.size(); ++i) {
    map.set(tensors_[i].name, fmt::format("pytorch_model-{}.bin", i % 2));
    halves[i % 2].push_back(tensors_[i]);
  }
  for (int i = 0; i < 2; ++i) {
    write(fmt::format("pytorch_model-{}.bin", i), torch_bin(halves[i], i == 1));
  }
  base::Json index = base::Json::object();
  index.set("weight_map", map);
  write("pytorch_model.bin.index.json", index.dump());
  expect_same_as_golden();

  for (const char* path : {"../pytorch_model-0.bin", "/etc/passwd.bin", "pytorch_model-0.pt",
                           "pytorch_model-2.bin", "a\\b.bin"}) {
    map.set(tensors_[0].name, path);
    index.set("weight_map", map);
    write("pytorch_model.bin.index.json", index.dump());
    EXPECT_FALSE(ModelFiles::open(folder_.string()).has_value()) << path;
  }
}

TEST_F(TorchFolder, SafetensorsAreTakenFirst) {
  write("pytorch_model.bin", "no checkpoint");
  fs::copy_file(goldens + "model/janus-original/model.safetensors", folder_ / "model.safetensors");
  const auto files = ModelFiles::open(folder_.string());
  ASSERT_TRUE(files.has_value()) << files.error().message();
  EXPECT_EQ((*files)->container(), "safetensors");
}

TEST_F(TorchFolder, ABarePickleIsNotRead) {
  write("pytorch_model.bin",
        "\x80\x02"
        "cos\nsystem\n(S'touch pwned'\ntR.");
  const auto files = ModelFiles::open(folder_.string());
  ASSERT_FALSE(files.has_value());
  EXPECT_EQ(files.error().kind, base::ErrorKind::unsupported);
  EXPECT_NE(files.error().next.find("safetensors"), std::string::npos);
}

// ---- hostile pickles ----------------------------------------------------------------------------

using namespace pickled;

// A checkpoint with this pickle and one storage "0" of 6 floats.
std::string with_pickle(const std::string& pickle) {
  TestZip zip;
  zip.members = {{"m/data.pkl", pickle}, {"m/data/0", std::string(24, '\0')}};
  return zip.bytes();
}
std::string with_values(const std::vector<std::string>& items) {
  return with_pickle(start() + dictionary(items) + ".");
}
std::string floats(int64_t elements = 6, const std::string& key = "0") {
  return storage("FloatStorage", key, elements);
}
std::string with_tensor(const std::string& of, int64_t first, const std::vector<int64_t>& shape,
                        const std::vector<int64_t>& strides) {
  return with_values({text("w"), tensor(of, first, shape, strides)});
}

TEST(HostileTorchBin, GoodOnesAreAccepted) {
  const auto whole = parse(with_tensor(floats(), 0, {2, 3}, {3, 1}));
  ASSERT_TRUE(whole.has_value()) << whole.error().message();
  EXPECT_TRUE(parse(with_tensor(floats(), 2, {4}, {1})).has_value());
  EXPECT_TRUE(parse(with_tensor(floats(), 0, {1, 6}, {999, 1})).has_value());  // of length 1: any
  EXPECT_TRUE(parse(with_tensor(floats(), 5, {}, {})).has_value());
}

TEST(HostileTorchBin, TensorsThatCannotBe) {
  constexpr int64_t huge = int64_t{1} << 62;
  struct Case {
    std::string bytes;
    const char* named;
  };
  const Case cases[] = {
      {with_tensor(floats(5), 0, {5}, {1}), "stated with 5 elements"},
      {with_tensor(floats(7), 0, {7}, {1}), "stated with 7 elements"},
      {with_tensor(storage("HalfStorage", "0", 6), 0, {6}, {1}), "of 2 bytes"},
      {with_tensor(floats(huge), 0, {2}, {1}), "elements of 4 bytes"},
      {with_tensor(floats(-1), 0, {2}, {1}), "negative size"},
      {with_tensor(floats(), 0, {7}, {1}), "past its storage"},
      {with_tensor(floats(), 5, {2}, {1}), "past its storage"},
      {with_tensor(floats(), huge, {2}, {1}), "past its storage"},
      {with_tensor(floats(), -1, {2}, {1}), "begins before"},
      {with_tensor(floats(), 0, {huge, huge}, {huge, 1}), "past 64 bits"},
      {with_tensor(floats(), 0, {2, 3}, {1, 2}), "row by row"},
      {with_tensor(floats(), 0, {2, 3}, {0, 1}), "row by row"},
      {with_tensor(floats(), 0, {2, 3}, {-3, 1}), "stride that is none"},
      {with_tensor(floats(), 0, {2, 3}, {1}), "number of strides"},
      {with_tensor(floats(), 0, {0}, {1}), "length or stride"},
      {with_tensor(floats(), 0, {1, 1, 1, 1, 6}, {6, 6, 6, 6, 1}), "5 dimensions"},
      {with_tensor(floats(6, "1"), 0, {6}, {1}), "data/1, is missing"},
      {with_tensor(floats(6, "../data.pkl"), 0, {6}, {1}), "../data.pkl"},
      {with_tensor(floats(6, ""), 0, {6}, {1}), "key"},
      {with_values(
           {text("a"), tensor(floats(), 0, {6}, {1}), text("a"), tensor(floats(), 0, {6}, {1})}),
       "twice"},
      {with_values(
           {text("a"), tensor(floats(), 0, {4}, {1}), text("b"), tensor(floats(), 2, {4}, {1})}),
       "overlaps"},
      {with_values({number(3), tensor(floats(), 0, {6}, {1})}), "without a name"},
      {with_values({text("w"), number(3)}), "no tensor"},
      {with_values({text("w"), floats()}), "no tensor"}};
  for (const Case& c : cases) expect_refused(c.bytes, c.named, c.named);
}

TEST(HostileTorchBin, NothingIsCalled) {
  struct Case {
    std::string body;
    const char* named;
  };
  const Case cases[] = {
      {global("os", "system") + tuple({text("touch pwned")}) + "R.", "os.system"},
      {global("builtins", "eval") + tuple({text("1")}) + "R.", "builtins.eval"},
      {global("torch._utils", "_rebuild_tensor") + ".", "torch._utils._rebuild_tensor"},
      {global("torch", "load") + ".", "torch.load"},
      {global("torch.storage", "_load_from_bytes") + ".", "_load_from_bytes"},
      {global("collections", "OrderedDict") + tuple({text("a")}) + "R.", "with arguments"},
      {"(S'touch pwned'\nios\nsystem\n.", "STRING"},
      {"(ios\nsystem\n.", "INST"},
      {text("os") + text("system") + "\x93.", "STACK_GLOBAL"},
      {std::string("\x95\0\0\0\0\0\0\0\0.", 10), "FRAME"},
      {"}\x81.", "NEWOBJ"},
      {"}}b}o.", "OBJ"},
      {"}\x82\x01.", "EXT1"},
      {"}2.", "DUP"},
      {"}\xff.", "0xff"},
      {text("x") + ")R.", "cannot be called"},
      {"})R.", "cannot be called"},
      {global("torch._utils", "_rebuild_tensor_v2") + ")R.", "other arguments"},
      {global("torch._utils", "_rebuild_parameter") + tuple({number(1)}) + "R.", "no tensor"},
      {global("torch._utils", "_rebuild_tensor_v2") + "]R.", "without arguments"},
      {tuple({text("storage"), text("x")}) + "Q.", "no storage"},
      {text("0") + "Q.", "no storage"},
      {number(1) + "}b.", "has no dictionary"},
      {"}" + number(1) + "b.", "attributes"},
      {global("torch", "FloatStorage") + ".", "no dictionary"}};
  for (const Case& c : cases) expect_refused(with_pickle(start() + c.body), c.named, c.named);
  EXPECT_FALSE(fs::exists("pwned"));
}

TEST(HostileTorchBin, PicklesThatAreBroken) {
  const std::string deep = std::string(600'000, ']') + std::string(599'999, 'a') + ".";
  const std::string wide = [] {
    std::string all = "}q" + std::string(1, '\0');
    for (int i = 0; i < 1'200'000; ++i) all += std::string("h\0", 2);
    return all + ".";
  }();
  struct Case {
    std::string body;
    const char* named;
  };
  const Case cases[] = {{"", "cut short"},
                        {"}", "cut short"},
                        {"X\xff\xff\xff\x7f", "text of"},
                        {std::string("X\x05\0\0\0ab", 7), "cut short"},
                        {std::string("X\x02\0\0\0\xff\xfe.", 8), "not UTF-8"},
                        {"J\x01", "cut short"},
                        {"\x8a\xff.", "cut short"},
                        {"\x8a\x09"
                         "123456789.",
                         "64 bits"},
                        {"c" + std::string(1000, 'x'), "more than 256 bytes"},
                        {"cos", "cut short"},
                        {"}}.", "left over"},
                        {"(}.", "left over"},
                        {".", "left over"},
                        {"}..", "after its end"},
                        {"t.", "no mark"},
                        {"u.", "no mark"},
                        {"}(" + text("a") + "u.", "key without a value"},
                        {"](" + text("a") + "u.", "key without a value"},
                        {"]s.", "more values than it has"},
                        {"(s.", "more values than it has"},
                        {"}(\x85.", "more values than it has"},
                        {"R.", "more values than it has"},
                        {"h\x05.", "never kept"},
                        {"q\x05.", "has not"},
                        {"}r\xff\xff\xff\xff.", "keeps more than"},
                        {"\x80\x05}.", "protocol 5"},
                        {"].", "no dictionary"},
                        {deep, "no dictionary"},
                        {wide, "more values than are read"},
                        {std::string(1'200'000, '(') + ".", "more marks"},
                        {std::string(1'200'000, 'N') + ".", "more values"}};
  for (const Case& c : cases) expect_refused(with_pickle(start() + c.body), c.named, c.named);
  expect_refused(with_pickle(std::string((16 << 20) + 1, 'N')), "data.pkl", "too long");
}

// ---- hostile zip files --------------------------------------------------------------------------

TestZip good_zip() {
  TestZip zip;
  zip.members = {
      {"m/data.pkl", start() + dictionary({text("w"), tensor(floats(), 0, {6}, {1})}) + "."},
      {"m/data/0", std::string(24, '\0')}};
  return zip;
}

void expect_zip_refused(const std::function<void(TestZip&)>& change, const std::string& named) {
  TestZip zip = good_zip();
  change(zip);
  expect_refused(zip.bytes(), named, named);
}

TEST(HostileZip, GoodOnesAreAccepted) {
  EXPECT_TRUE(parse(good_zip().bytes()).has_value());
  TestZip zip = good_zip();
  zip.zip64 = true;
  for (TestMember& member : zip.members) member.zip64 = true;
  const auto wide = parse(zip.bytes());
  EXPECT_TRUE(wide.has_value()) << wide.error().message();
  zip.comment = "PK\5\6 is not the end, nor is this";
  EXPECT_TRUE(parse(zip.bytes()).has_value());
}

TEST(HostileZip, MembersThatCannotBe) {
  expect_zip_refused([](TestZip& z) { z.members[1].method = 8; }, "is compressed");
  expect_zip_refused([](TestZip& z) { z.members[1].method = 93; }, "is compressed");
  expect_zip_refused([](TestZip& z) { z.members[1].flags = 1; }, "encrypted");
  expect_zip_refused([](TestZip& z) { z.members[1].stated_packed = 3; }, "3 bytes of 24");
  expect_zip_refused([](TestZip& z) { z.members[1].stated_bytes = 4'000'000'000; }, "reach past");
  expect_zip_refused(
      [](TestZip& z) {
        z.members[1].zip64 = true;
        z.members[1].stated_bytes = INT64_MAX;
      },
      "reach past");
  expect_zip_refused(
      [](TestZip& z) {
        z.members[1].zip64 = true;
        z.members[1].stated_offset = INT64_MAX;
      },
      "outside of the file");
  expect_zip_refused([](TestZip& z) { z.members[1].stated_bytes = 0xffffffff; }, "zip64 field");
  expect_zip_refused([](TestZip& z) { z.members[1].stated_offset = 0; }, "something else");
  expect_zip_refused([](TestZip& z) { z.members[1].own_name = "m/data/1"; }, "something else");
  expect_zip_refused([](TestZip& z) { z.members.push_back(z.members[1]); }, "twice");
  expect_zip_refused(
      [](TestZip& z) {
        // The bytes of the first member hold a second one's record.
        TestZip inner;
        inner.members = {{"m/data/1", "xyz"}};
        const std::string record = inner.bytes().substr(0, 30 + 8 + 3);
        z.members[1].data = record;
        z.members.push_back({"m/data/1", "xyz"});
        z.members.back().stated_offset =
            static_cast<int64_t>(30 + z.members[0].name.size() + z.members[0].data.size() + 30 + 8);
      },
      "overlaps");
  for (const char* name : {"../m/data/1", "m/../../x", "/etc/passwd", "m//x", "m/./x", "m\\data\\1",
                           "", "m/data/\n", "m/\xff"}) {
    expect_zip_refused([&](TestZip& z) { z.members.push_back({name, "x"}); }, "no plain path");
  }
}

TEST(HostileZip, DirectoriesThatCannotBe) {
  expect_zip_refused([](TestZip& z) { z.stated_count = 1; }, "longer than its members");
  expect_zip_refused([](TestZip& z) { z.stated_count = 3; }, "directory");
  expect_zip_refused([](TestZip& z) { z.stated_count = 60000; }, "too short for 60000");
  expect_zip_refused([](TestZip& z) { z.stated_count = 0xffff; }, "zip64");
  expect_zip_refused(
      [](TestZip& z) {
        z.zip64 = true;
        z.stated_count = INT64_MAX;
      },
      "at most");
  std::string bytes = good_zip().bytes();
  bytes[bytes.size() - 18] = 1;
  expect_refused(bytes, "several disks", "another disk");
  bytes = good_zip().bytes();
  bytes[bytes.size() - 6] = 0;
  expect_refused(bytes, "begins", "the directory is elsewhere");
  expect_refused("", "PyTorch 1.6", "an empty file");
  expect_refused("PK\3\4", "too short", "a start alone");
  expect_refused("PK\3\4" + std::string(70000, '\0'), "end is missing", "no end");
  expect_zip_refused([](TestZip& z) { z.members[0].name = "data.pkl"; }, "no data.pkl");
  expect_zip_refused([](TestZip& z) { z.members[0].name = "m/n/data.pkl"; }, "no data.pkl");
  expect_zip_refused([](TestZip& z) { z.members.push_back({"n/data.pkl", "."}); }, "two pickles");
  expect_zip_refused(
      [](TestZip& z) {
        z.members.push_back({"m/byteorder", "big"});
      },
      "little-endian");
  expect_zip_refused([](TestZip& z) { z.members.push_back({"m/code/x.py", ""}); }, "TorchScript");
}

// Whatever is changed or cut: an answer, and no crash.
TEST(HostileZip, EveryByteChangedAndEveryLength) {
  const std::string bytes = file_text(goldens + "torch/views.bin");
  int accepted = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ (i % 2 == 0 ? 0xff : 0x01));
    accepted += parse(changed).has_value() ? 1 : 0;
    EXPECT_FALSE(parse(bytes.substr(0, i)).has_value()) << i;
  }
  EXPECT_GT(accepted, 0);  // padding and numbers of the tensors may be anything
}

}  // namespace
}  // namespace format
