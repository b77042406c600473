// Times llama.cpp through its C API, as bench/peer/compare.py asks: one JSON object on stdout with
// tokens per second of one prefill and of decoding at each batch size. The first prefill and the
// first four decode steps are warm-up and not counted. Node's own loop would cost the peer a third
// of its speed, hence C.
//
// usage: llama_peer MODEL BACKENDS_DIR THREADS PREFILL DECODE BATCH...
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "llama.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr int warm_up_steps = 4;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Ordinary ids spread over the vocabulary, so that no embedding row stays in a cache.
llama_token token_at(int i, int vocab) { return 300 + (i * 7919) % (vocab - 1000); }

struct Bench {
  llama_context* context;
  int vocab;

  void clear() { llama_memory_clear(llama_get_memory(context), true); }

  double prefill_tokens_per_s(int tokens, int salt) {
    clear();
    llama_batch batch = llama_batch_init(tokens, 0, 1);
    batch.n_tokens = tokens;
    for (int i = 0; i < tokens; ++i) {
      batch.token[i] = token_at(i + salt, vocab);
      batch.pos[i] = i;
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = i == tokens - 1;
    }
    const auto start = Clock::now();
    llama_decode(context, batch);
    llama_synchronize(context);
    const double seconds = seconds_since(start);
    llama_batch_free(batch);
    return tokens / seconds;
  }

  double decode_tokens_per_s(int steps, int columns) {
    clear();
    llama_batch batch = llama_batch_init(columns, 0, 1);
    auto start = Clock::now();
    for (int i = 0; i < steps + warm_up_steps; ++i) {
      if (i == warm_up_steps) start = Clock::now();
      batch.n_tokens = columns;
      for (int j = 0; j < columns; ++j) {
        batch.token[j] = token_at(i + j * 31, vocab);
        batch.pos[j] = i;
        batch.n_seq_id[j] = 1;
        batch.seq_id[j][0] = j;
        batch.logits[j] = 1;
      }
      llama_decode(context, batch);
      llama_synchronize(context);
    }
    const double seconds = seconds_since(start);
    llama_batch_free(batch);
    return columns * steps / seconds;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) {
    std::fprintf(stderr, "usage: %s MODEL BACKENDS_DIR THREADS PREFILL DECODE BATCH...\n", argv[0]);
    return 2;
  }
  const int threads = std::atoi(argv[3]), prefill = std::atoi(argv[4]), decode = std::atoi(argv[5]);
  std::vector<int> batches;
  for (int i = 6; i < argc; ++i) batches.push_back(std::atoi(argv[i]));
  const int batch_max = *std::max_element(batches.begin(), batches.end());

  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  ggml_backend_load_all_from_path(argv[2]);
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr) {
    std::fprintf(stderr, "llama_peer: the peer cannot load %s\n", argv[1]);
    return 1;
  }
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(prefill + 64 + batch_max * (decode + warm_up_steps + 64));
  params.n_batch = static_cast<uint32_t>(std::max(prefill, 512));
  params.n_ubatch = 512;
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.n_seq_max = static_cast<uint32_t>(batch_max);
  params.kv_unified = true;
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) return 1;

  Bench bench{context, llama_vocab_n_tokens(llama_model_get_vocab(model))};
  if (prefill > 0) bench.prefill_tokens_per_s(prefill, 0);
  std::string json = "{";
  if (prefill > 0) json += "\"prefill\":" + std::to_string(bench.prefill_tokens_per_s(prefill, 1));
  for (const int columns : batches) {
    if (json.size() > 1) json += ",";
    json += "\"decode_b" + std::to_string(columns) +
            "\":" + std::to_string(bench.decode_tokens_per_s(decode, columns));
  }
  std::printf("%s}\n", json.c_str());
  llama_free(context);
  llama_model_free(model);
}
