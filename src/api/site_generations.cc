// Generations over the wire: measure the prompt, say what does not fit, start, follow, stop.

#include <algorithm>

#include "api/fields.h"
#include "api/images.h"
#include "api/requests.h"
#include "api/site.h"

namespace api {

namespace {

using base::Json;

engine::ChatPrompt prompt_of(const std::string& system, const std::vector<chat::Node>& path,
                             engine::Thinking thinking, bool with_pictures) {
  engine::ChatPrompt prompt;
  prompt.messages = messages_of(system, path, with_pictures);
  prompt.thinking = thinking;
  return prompt;
}

ApiError context_error(const engine::PromptSize& size) {
  ApiError error;
  error.status = 413;
  error.code = "context_length_exceeded";
  error.reason = "context";
  // A prompt fits when one token of answer has room beside it.
  const int over = std::max(1, size.tokens + 1 - size.context_tokens);
  error.message = fmt::format("the conversation has {} tokens too many; nothing was cut", over);
  error.extra = {{"tokens_over", over},
                 {"context_tokens", size.context_tokens},
                 {"drop_exchanges", std::max(0, size.drop_exchanges)}};
  return error;
}

ApiError engine_error() {
  ApiError error;
  error.status = 503;
  error.code = "engine_unavailable";
  error.reason = "engine";
  error.message = "the engine is starting; reading and writing still work";
  error.retry_after_ms = 2'000;
  return error;
}

ApiError gone() {
  ApiError error;
  error.status = 404;
  error.code = "not_found";
  error.message = "there is no such generation, or it ended more than a minute ago";
  return error;
}

chat::Drawing blank_drawing(const DrawWish& wish, int side) {
  chat::Drawing out;
  out.count = wish.pictures;
  out.side = side;
  for (int i = 0; i < wish.pictures; ++i) {
    out.seeds.push_back(wish.seed.value_or(0) + static_cast<uint64_t>(i));
  }
  out.done.resize(static_cast<size_t>(wish.pictures));
  return out;
}

Json accepted_json(const std::string& generation, const std::string& conversation) {
  return Json::object({{"generation", generation}, {"conversation", conversation}});
}

}  // namespace

void Site::generate(Call& call) {
  auto request = parse_generation_request(call.body, conversations_.limits().message_bytes_max);
  if (!request) return call.refuse(request.error());
  if (const Generations::Made* made = generations_.find_key(request->key)) {
    return call.answer(accepted_json(made->id, made->conversation), 202);
  }
  if (const auto at = measuring_.find(request->key); at != measuring_.end()) {
    if (at->second.size() < 8) at->second.push_back(call);
    return;
  }
  const auto model = context_.choose_model(request->model);
  if (!model) return call.refuse(with_reason(model.error(), "model"));
  if (!context_.engine.stats().ready) return call.refuse(engine_error());
  if (const auto error = find_pictures(request->path)) return call.refuse(*error);
  if (const auto error = check_model(*request, model->status)) return call.refuse(*error);
  const size_t busy = generations_.running().size() + measuring_.size();
  if (busy >= static_cast<size_t>(Generations::running_max)) {
    ApiError error;
    error.status = 429;
    error.code = "rate_limit_exceeded";
    error.reason = "rate";
    error.message = "too many answers are being written already: wait for one of them";
    error.retry_after_ms = 5'000;
    return call.refuse(error);
  }
  measuring_[request->key].push_back(call);
  if (request->draw) request->draw->seed = drawing_seed(context_, request->draw->seed);
  // A drawing's prompt is one line, and room for its codes is the engine's to find.
  if (request->draw) return settle(request->key, begin(*request, model->status));
  measure_first(*request, model->status);
}

void Site::measure_first(const GenerationRequest& request, const engine::ModelStatus& model) {
  using Size = base::Result<engine::PromptSize>;
  context_.engine.call<Size>(
      [id = model.id, request](engine::EngineClient& engine) {
        return engine.prompt_size(id,
                                  prompt_of(request.system, request.path, request.thinking, false));
      },
      [this, request, model](const Size& size) { measured(request, model, size); });
}

void Site::measured(const GenerationRequest& request, const engine::ModelStatus& model,
                    const base::Result<engine::PromptSize>& size) {
  if (!size) {
    ApiError error = from_module(size.error());
    if (error.status == 503) error = engine_error();
    if (error.code == "context_length_exceeded") {
      error.status = 413;
      error.reason = "size";
    }
    return settle(request.key, refuse(std::move(error)));
  }
  if (size->drop_exchanges != 0) return settle(request.key, refuse(context_error(*size)));
  settle(request.key, begin(request, model));
}

// Adds the path and the place for the answer to the conversation.
std::optional<ApiError> Site::write_path(const GenerationRequest& request,
                                         const engine::ModelStatus& model,
                                         chat::Conversation& into) {
  const bool continues = !request.path.back().from_person;
  std::vector<chat::Node> nodes = request.path;
  // After a restart the memory is empty: what the page still has becomes the start of the tree.
  if (chat::Conversations::find_node(into, nodes.front().parent) == nullptr) {
    nodes.front().parent.clear();
  }
  if (!continues) {
    if (chat::Conversations::find_node(into, request.answer) != nullptr) {
      return refuse(409, "conflict", "there is an answer of that id already", "answer").value();
    }
    chat::Node answer;
    answer.id = request.answer;
    answer.parent = nodes.back().id;
    nodes.push_back(std::move(answer));
  }
  for (chat::Node& node : nodes) {
    for (const chat::NodePicture& one : node.pictures) pictures_.taken(one.id);
    if (auto added = conversations_.add(into, std::move(node)); !added) {
      ApiError error = from_module(added.error());
      if (error.code == "context_length_exceeded") {
        error.status = 413;
        error.code = "conversation_full";
        error.reason = "conversation";
      }
      return error;
    }
  }
  chat::Node* answer = chat::Conversations::find_node(into, request.answer);
  answer->model = model.id;
  answer->end.reset();
  answer->usage.reset();
  if (request.draw) answer->drawing = blank_drawing(*request.draw, model.drawn_side);
  // What is continued is what the person sees, exactly.
  if (continues) {
    conversations_.replace(*answer, request.path.back().reasoning, request.path.back().content);
  }
  into.model = model.id;
  return std::nullopt;
}

engine::Request Site::engine_request(const GenerationRequest& request,
                                     const engine::ModelStatus& model) const {
  engine::Request out;
  out.model = model.id;
  out.account = site_account;
  if (request.draw) {
    engine::DrawPrompt prompt;
    prompt.text = request.path.back().content;
    prompt.pictures = request.draw->pictures;
    prompt.guidance = request.draw->guidance;
    out.prompt = std::move(prompt);
    out.sampling.temperature = request.draw->temperature;
    out.sampling.seed = request.draw->seed;
    return out;
  }
  out.prompt = prompt_of(request.system, request.path, request.thinking, true);
  SamplingFields sampling;
  sampling.temperature = request.temperature;
  sampling.top_p = request.top_p;
  out.sampling = sampling_of(sampling, model.defaults);
  out.tokens_max = request.tokens_max;
  out.thinking_tokens_max = request.thinking_tokens_max;
  return out;
}

Parsed<std::string> Site::begin(const GenerationRequest& request,
                                const engine::ModelStatus& model) {
  for (const auto& running : generations_.running()) {
    if (running->answer == request.answer) {
      return refuse(409, "conflict", "that answer is being written already", "answer");
    }
  }
  engine::Request out = engine_request(request, model);
  const bool fresh = conversations_.find(request.conversation) == nullptr;
  chat::Conversation& into = conversations_.open(request.conversation);
  if (auto error = write_path(request, model, into)) {
    if (fresh) conversations_.erase(request.conversation);
    return refuse(std::move(*error));
  }
  std::string id =
      generations_.start(request.key, request.conversation, request.answer, std::move(out));
  streams_.state("conversations");
  return id;
}

// Answers all calls that wait for this key: the first one and its retries.
void Site::settle(const std::string& key, const Parsed<std::string>& generation) {
  const auto node = measuring_.extract(key);
  if (node.empty()) return;
  for (const Call& call : node.mapped()) {
    if (!generation) {
      call.refuse(generation.error());
    } else {
      const auto made = generations_.find(*generation);
      call.answer(accepted_json(*generation, made->conversation), 202);
    }
  }
}

void Site::stop(Call& call) {
  if (generations_.find(call.parameters[0]) == nullptr) return call.refuse(gone());
  generations_.stop(call.parameters[0]);
  call.answer_done();
}

void Site::answer_now(Call& call) {
  if (generations_.find(call.parameters[0]) == nullptr) return call.refuse(gone());
  generations_.answer_now(call.parameters[0]);
  call.answer_done();
}

void Site::follow_one(Call& call) {
  std::string storage;
  const std::string_view after = call.request().query_value("after", storage);
  const auto follows = parse_follows(call.parameters[0] + ":" +
                                     (after.empty() ? std::string("0") : std::string(after)));
  if (!follows) return call.refuse(follows.error());
  if (follows->size() != 1) return call.refuse(gone());
  streams_.open(call, *follows, true);
}

void Site::follow_many(Call& call) {
  std::string storage;
  const auto follows = parse_follows(call.request().query_value("follow", storage));
  if (!follows) return call.refuse(follows.error());
  streams_.open(call, *follows, false);
}

void Site::measure(Call& call) {
  const auto request = parse_measure_request(call.body, conversations_.limits().message_bytes_max);
  if (!request) return call.refuse(request.error());
  const auto model = context_.choose_model(request->model);
  if (!model) return call.refuse(with_reason(model.error(), "model"));
  if (messages_of(request->system, request->path, false).empty()) {  // drawings alone
    return call.answer(
        Json::object({{"tokens", 0}, {"context_tokens", model->status.context_tokens}}));
  }
  using Size = base::Result<engine::PromptSize>;
  context_.engine.call<Size>(
      [id = model->status.id, request = *request](engine::EngineClient& engine) {
        return engine.prompt_size(
            id, prompt_of(request.system, request.path, engine::Thinking::by_default, false));
      },
      [call](const Size& size) {
        if (!size) {
          const ApiError error = from_module(size.error());
          return call.refuse(error.status == 503 ? engine_error() : error);
        }
        call.answer(
            Json::object({{"tokens", size->tokens}, {"context_tokens", size->context_tokens}}));
      });
}

}  // namespace api
