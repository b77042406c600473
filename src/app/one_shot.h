// A model opened for one measurement: files, vocabulary, pool and runner of this process. Used by
// logits, perplexity and bench, which talk to the runner without an engine around it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/verb.h"
#include "base/pool.h"
#include "format/model_files.h"
#include "model/decoder.h"

namespace app {

struct OneShotOptions {
  std::string model;
  bool exact = false;
  int tokens_max = 0;  // longest sequence that will be run
  int sequences = 1;   // how many of them at once
  int batch_tokens = 256;
  bool mtp = false;  // with the layer that predicts one id more, if the file has it
};

struct OneShot {
  std::unique_ptr<format::ModelFiles> files;
  std::unique_ptr<base::Pool> pool;
  std::unique_ptr<model::ModelRunner> runner;

  // Fresh pages for a sequence of `tokens`; CHECKs that OneShotOptions asked for enough.
  model::KvTable take_table(int tokens);
  void give_back(model::KvTable& table);
};

// Loads with progress on a terminal's stderr.
base::Result<OneShot> open_one_shot(const Session& session, const OneShotOptions& options);

// Refuses ids that the model's embedding does not have.
base::Result<void> check_ids(const std::vector<int32_t>& ids, int vocab);

}  // namespace app
