// A disk that fails under a running engine whose experts stay on it: the request says so, the
// engine lives, and answers as before once the disk does.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

#include "engine/fake_model_for_test.h"
#include "engine/local_client.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

std::string read_whole(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

End ask(EngineClient& client, uint64_t id, std::vector<int32_t>& ids) {
  Request request;
  request.id = id;
  request.model = "m";
  request.prompt = IdsPrompt{{5, 9, 70, 31, 4, 100, 42}};
  request.tokens_max = 12;
  request.sampling.temperature = 0;
  request.ignore_end_tokens = true;
  Collector collector;
  EXPECT_TRUE(client.start(request, collector.sink()).has_value());
  End end = collector.wait_end(id);
  ids = collector.ids(id);
  return end;
}

TEST(ExpertsOnDisk, AnErrorEndsTheRequestAndTheEngineLives) {
  const fs::path folder = fs::temp_directory_path() / fmt::format("nautile-disk-{}", getpid());
  fs::remove_all(folder);
  fs::copy(std::string(NAUTILE_SOURCE_DIR) + "/tests/golden/model/ds-v2-lite", folder);
  const fs::path weights = folder / "model.safetensors";
  const std::string bytes = read_whole(weights);

  EngineOptions options;
  options.models = {{.id = "m", .path = folder.string()}};
  options.threads = 2;
  options.kv_tokens = 512;
  options.expert_places = 1;
  options.prefix_cache = false;
  auto client = make_local_client(options);
  ASSERT_TRUE(client.has_value()) << client.error().message();
  std::vector<int32_t> first, during, after;
  EXPECT_EQ(ask(**client, 1, first).reason, EndReason::length);
  EXPECT_EQ(first.size(), 12u);

  fs::resize_file(weights, 4096);
  for (uint64_t id : {2, 3}) {
    const End end = ask(**client, id, during);
    EXPECT_EQ(end.reason, EndReason::failed);
    EXPECT_EQ(end.error.kind, base::ErrorKind::io);
    EXPECT_NE(end.error.what.find("model.safetensors"), std::string::npos) << end.error.what;
    EXPECT_FALSE(end.error.next.empty());
  }
  std::ofstream(weights, std::ios::binary) << bytes;  // the same file, filled again
  EXPECT_EQ(ask(**client, 4, after).reason, EndReason::length);
  EXPECT_EQ(after, first);
  client->reset();
  fs::remove_all(folder);
}

}  // namespace
}  // namespace engine
