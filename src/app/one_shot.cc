#include "app/one_shot.h"

#include <cstdio>
#include <thread>
#include <unistd.h>

#include "app/model_store.h"
#include "base/check.h"

namespace app {

base::Result<OneShot> open_one_shot(const Session& session, const OneShotOptions& options) {
  ASSIGN(const Config config, session.config());
  ASSIGN(const StoredModel stored, find_model(session.places, options.model));
  OneShot opened;
  ASSIGN(opened.files, format::ModelFiles::open(stored.path));
  int threads = static_cast<int>(config.integer("threads"));
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  opened.pool = std::make_unique<base::Pool>(threads);

  const std::string& isa = config.text("isa");
  model::RunnerOptions runner;
  runner.pool = opened.pool.get();
  ASSIGN(runner.isa, tensor::choose_isa(isa == "auto" ? "" : isa));
  runner.precision = options.exact ? tensor::Precision::exact : tensor::Precision::int8;
  const int pages = (options.tokens_max + model::page_tokens - 1) / model::page_tokens;
  runner.kv_pages = std::max(1, pages * options.sequences);
  runner.batch_tokens_max = options.batch_tokens;
  runner.context_tokens_max = options.tokens_max;
  runner.memory_bytes_max = static_cast<uint64_t>(config.integer("memory"));
  runner.program_bytes = model::resident_memory_bytes();
  runner.mtp = options.mtp;
  ASSIGN(opened.runner, model::make_runner(*opened.files, runner));
  return opened;
}

model::KvTable OneShot::take_table(int tokens) {
  model::KvTable table;
  for (int done = 0; done < tokens; done += model::page_tokens) {
    const model::PageId page = runner->kv_pool().take();
    CHECK(page >= 0, "the pool was made for this many sequences");
    table.pages.push_back(page);
  }
  return table;
}

void OneShot::give_back(model::KvTable& table) {
  for (const model::PageId page : table.pages) runner->kv_pool().release(page);
  table = {};
}

base::Result<void> check_ids(const std::vector<int32_t>& ids, int vocab) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocab) {
      return base::fail(base::ErrorKind::invalid_input,
                        fmt::format("token {} at position {} is not in the vocabulary", ids[i], i),
                        fmt::format("the model has ids from 0 to {}", vocab - 1),
                        "use ids of this model: `nautile tokenize` makes them from text");
    }
  }
  return {};
}

}  // namespace app
