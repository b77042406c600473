// Speed of the tokeniser on one thread: 5 MB of mixed text through each vocabulary.
//
//   ninja -C build/release tokenizer_bench && build/release/tokenizer_bench [FILE...]
//
// Without files the text is made of the cases of tests/golden/tokenizer (30 languages, code,
// numbers, emoji), the project's own sources and documents, cut into lines, shuffled by a fixed
// seed and repeated, one word in sixteen with a number of its own so that it is not always the
// same words. Vocabularies as tools/fetch.py places them; those that are not there are left out.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "base/json.h"
#include "format/byte_source.h"
#include "format/gguf.h"
#include "format/gguf_tokenizer.h"
#include "format/hf_tokenizer.h"
#include "text/tokenizer.h"

namespace {

namespace fs = std::filesystem;
constexpr size_t text_bytes = 5'000'000;
constexpr int rounds = 5;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void add_lines(const std::string& text, std::vector<std::string>& lines) {
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line + "\n");
}

std::vector<std::string> source_lines(const fs::path& root) {
  std::vector<std::string> lines;
  for (const auto& entry : fs::directory_iterator(root / "tests/golden/tokenizer")) {
    const auto golden = base::parse_json(read_file(entry.path()), "golden");
    if (!golden || !golden->find("cases")) continue;
    for (const base::Json& test : golden->find("cases")->as_array()) {
      add_lines(test.find("text")->as_string(), lines);
    }
  }
  for (const char* folder : {"src", "docs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const bool table = entry.path().filename().string().find("table") != std::string::npos;
      if (entry.is_regular_file() && !table) add_lines(read_file(entry.path()), lines);
    }
  }
  return lines;
}

std::string mixed_text(const fs::path& root) {
  std::vector<std::string> lines = source_lines(root);
  std::ranges::sort(lines);
  std::mt19937 random(7);
  std::string text;
  while (text.size() < text_bytes && !lines.empty()) {
    std::ranges::shuffle(lines, random);
    for (const std::string& line : lines) {
      for (const char c : line) {
        if (c == ' ' && random() % 16 == 0) text += std::to_string(random() % 100000);
        text.push_back(c);
      }
      if (text.size() >= text_bytes) break;
    }
  }
  return text;
}

base::Result<text::TokenizerSpec> load(const fs::path& path) {
  if (path.extension() == ".gguf") {
    ASSIGN(const auto source, format::open_file(path));
    ASSIGN(const auto header, format::GgufHeader::parse(*source));
    return format::read_gguf_tokenizer(header, 0);
  }
  format::HfTokenizerParts parts;
  ASSIGN(parts.tokenizer, base::parse_json(read_file(path), path.string()));
  return format::read_hf_tokenizer(std::move(parts));
}

// Processor time of this thread, so that other programs on the machine disturb less.
double now_s() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void measure(const fs::path& path, const std::string& text) {
  auto spec = load(path);
  if (!spec) {
    std::printf("%-24s %s\n", path.filename().c_str(), spec.error().message().c_str());
    return;
  }
  const double start = now_s();
  auto tokenizer = text::Tokenizer::make(std::move(*spec));
  const double make_s = now_s() - start;
  if (!tokenizer) {
    std::printf("%-24s %s\n", path.filename().c_str(), tokenizer.error().message().c_str());
    return;
  }
  double best = 1e9;
  size_t ids = 0;
  for (int round = 0; round < rounds; ++round) {
    const double begin = now_s();
    ids = (*tokenizer)->encode(text, {}).size();
    best = std::min(best, now_s() - begin);
  }
  const std::string one(100'000, 'a');
  const double begin = now_s();
  const size_t one_ids = (*tokenizer)->encode(one, {}).size();
  std::printf("%-24s %7.1f MB/s  %8zu ids  make %4.0f ms  100 KB of 'a' %5.1f ms (%zu ids)\n",
              (path.parent_path().filename() / path.filename()).c_str(),
              static_cast<double>(text.size()) / best / 1e6, ids, make_s * 1e3,
              (now_s() - begin) * 1e3, one_ids);
}

}  // namespace

int main(int argc, char** argv) {
  const char* set = std::getenv("NAUTILE_FETCH_DIR");
  const fs::path fetched = set ? fs::path(set) : fs::path("build/fetched");
  std::string text;
  for (int i = 1; i < argc; ++i) text += read_file(argv[i]);
  if (argc < 2) text = mixed_text(".");
  std::printf("%zu bytes of text, best of %d\n", text.size(), rounds);
  for (const char* name :
       {"starter/SmolLM2-135M-Instruct.Q4_1.gguf", "vocabularies/qwen2.gguf",
        "vocabularies/deepseek-llm.gguf", "vocabularies/deepseek-coder.gguf",
        "vocabularies/deepseek-v3/tokenizer.json", "vocabularies/llama3_1/tokenizer.json",
        "vocabularies/qwen3/tokenizer.json"}) {
    if (fs::exists(fetched / name)) {
      measure(fetched / name, text);
    } else {
      std::printf("%s is not there; tools/fetch.py starter vocabularies fetches it\n", name);
    }
  }
  return 0;
}
