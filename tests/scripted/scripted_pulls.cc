#include "scripted/scripted_pulls.h"

#include <algorithm>

namespace scripted {
namespace {

using State = api::PullStatus::State;

constexpr int64_t gib = 1ll << 30;

struct Model {
  const char* name;
  const char* short_name;
  const char* licence;
  double size_gib, memory_gib, tokens_per_s;
  bool fits, from_disk, proposed, runs;
};
constexpr Model models[] = {
    {"DeepSeek-R1-Distill-Qwen-1.5B", "r1-1.5b", "MIT (Qwen2.5: Apache-2.0)", 1.04, 1.6, 20.7, true,
     false, false, true},
    {"DeepSeek-R1-Distill-Qwen-7B", "r1-7b", "MIT (Qwen2.5: Apache-2.0)", 4.36, 5.1, 5.2, true,
     false, true, true},
    {"DeepSeek-R1-Distill-Llama-8B", "r1-llama-8b", "MIT (Llama 3.1 licence)", 4.58, 5.9, 4.9, true,
     false, false, true},
    {"DeepSeek-R1-Distill-Qwen-14B", "r1-14b", "MIT (Qwen2.5: Apache-2.0)", 8.37, 10.2, 2.6, true,
     false, false, true},
    {"DeepSeek-R1-Distill-Llama-70B", "r1-70b", "MIT (Llama 3.3 licence)", 39.6, 42.4, 0, false,
     false, false, true},
    {"DeepSeek-V2-Lite-Chat", "v2-lite", "DeepSeek Model License", 9.7, 10.2, 14.2, true, false,
     false, true},
    {"DeepSeek-R1", "r1", "MIT", 377, 378, 0, false, true, false, true},
    {"Janus-Pro-7B", "janus-7b", "DeepSeek Model License", 13.8, 17.9, 0, false, false, false,
     false},
};

const Model* find(std::string_view name) {
  const auto at = std::find_if(std::begin(models), std::end(models), [&](const Model& model) {
    return name == model.name || name == std::string("hf:script/") + model.name;
  });
  return at == std::end(models) ? nullptr : at;
}

int64_t bytes_of(double size_gib) { return static_cast<int64_t>(size_gib * gib); }

}  // namespace

bool ScriptedPulls::ask_catalogue(uint64_t call) {
  api::Catalogue out;
  out.memory_bytes = 16 * gib;
  out.free_bytes = 100 * gib;
  out.bandwidth_gb_per_s = 24.3;
  for (const Model& model : models) {
    const bool here =
        std::find(installed_.begin(), installed_.end(), model.name) != installed_.end();
    out.rows.push_back({model.name, model.short_name, std::string("hf:script/") + model.name,
                        model.licence, bytes_of(model.size_gib), bytes_of(model.memory_gib), 7,
                        model.tokens_per_s, model.fits, model.from_disk, model.proposed, model.runs,
                        here ? model.name : ""});
  }
  world_.tell(api::CatalogueAnswer{call, std::move(out)});
  return true;
}

bool ScriptedPulls::start(uint64_t call, std::string_view reference) {
  api::PullAnswer answer;
  answer.call = call;
  const Model* model = find(reference);
  const bool under_way = status_.state != State::none && status_.state != State::done &&
                         status_.state != State::paused && status_.state != State::failed;
  if (model == nullptr) {
    answer.refusal = api::PullAnswer::Refusal::reference;
    answer.error = {base::ErrorKind::wrong_usage, "that is not something to pull", "", ""};
  } else if (under_way && status_.name != model->name) {
    answer.refusal = api::PullAnswer::Refusal::busy;
    answer.error = {base::ErrorKind::unavailable, "another download is running", "", ""};
  } else if (under_way) {
    advance();
  } else {
    const int64_t here = status_.name == model->name ? status_.bytes_here : 0;
    status_ = {};
    status_.state = State::planning;
    status_.reference = std::string("hf:script/") + model->name;
    status_.name = status_.model = model->name;
    status_.bytes_here = here;
    if (here > 0) status_.bytes_total = bytes_of(model->size_gib);
    tell();
  }
  world_.tell(answer);
  return true;
}

void ScriptedPulls::fail(base::Error error, bool resumable) {
  status_.state = State::failed;
  status_.error = std::move(error);
  status_.resumable = resumable;
  status_.bytes_per_s = 0;
  status_.left_ms = -1;
  tell();
}

void ScriptedPulls::advance() {
  const int64_t total = bytes_of(find(status_.name)->size_gib);
  const auto reach = [&](int64_t percent) {
    status_.state = State::fetching;
    status_.bytes_total = total;
    status_.bytes_here = total * percent / 100;
    status_.bytes_per_s = 38'000'000;
    status_.left_ms = (total - status_.bytes_here) / 38'000;
    tell();
  };
  const bool wrong = status_.name.ends_with("Llama-8B");
  switch (status_.state) {
    case State::planning:
      if (status_.name.ends_with("14B")) {
        return fail({base::ErrorKind::out_of_disk, "there is not enough room for " + status_.name,
                     "8.43 GiB are needed, 2.10 GiB are free at /srv/nautile/models",
                     "free some space, set NAUTILE_HOME to a larger disk, or choose a smaller "
                     "quantisation"},
                    true);
      }
      return reach(wrong || status_.bytes_here > 0 ? 42 : 12);
    case State::fetching:
      if (wrong) {
        status_.bytes_here = 0;
        return fail(
            {base::ErrorKind::invalid_input, status_.name + ".gguf is not what was promised",
             "its checksum is sha256:ab12, and not sha256:cd34",
             "what came was thrown away; the same command fetches it anew. If it happens "
             "again, the source is damaged: set another endpoint"},
            true);
      }
      if (status_.bytes_here < total * 42 / 100) return reach(42);
      reach(100);
      status_.state = State::checking;
      return tell();
    case State::checking:
      status_.state = State::opening;
      tell();
      return world_.tell(api::EngineWanted{});
    default:
      return;  // it waits for the engine
  }
}

bool ScriptedPulls::pause() {
  status_.state = State::paused;
  status_.bytes_per_s = 0;
  status_.left_ms = -1;
  tell();
  return true;
}

bool ScriptedPulls::dismiss() {
  status_ = {};
  tell();
  return true;
}

void ScriptedPulls::release_engine() {
  installed_.push_back(status_.name);
  if (status_.name == "DeepSeek-V2-Lite-Chat") {
    return fail({base::ErrorKind::unsupported, status_.name + ".gguf: the architecture is odd",
                 "this program does not know it", "take another file"},
                false);
  }
  world_.add_model(status_.name);
  status_.state = State::done;
  tell();
}

}  // namespace scripted
