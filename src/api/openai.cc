// The public API's endpoints: chat, completions, models, tokens, health, metrics, openapi.json.
// `/x` and `/v1/x` are the same; `/beta/x` also takes what DeepSeek keeps under its beta base.
#include <algorithm>

#include "api/answer.h"
#include "api/context.h"
#include "api/images.h"
#include "api/openapi.h"
#include "api/requests.h"

namespace api {
namespace {

struct Alias {
  std::string_view name;
  std::optional<engine::Thinking> thinking;
};
// DeepSeek's ids of both eras, all of them names of the default model here.
constexpr Alias aliases[] = {{"deepseek-chat", engine::Thinking::off},
                             {"deepseek-reasoner", engine::Thinking::on},
                             {"deepseek-flash", std::nullopt},
                             {"deepseek-v4-pro", std::nullopt}};

AnswerIdentity make_identity(Context& context, std::string_view prefix,
                             const engine::ModelStatus& model) {
  AnswerIdentity out;
  out.id = std::string(prefix) + base::random_hex(*context.options.random, 12);
  out.created_unix_s = context.options.clock->wall_unix_ms() / 1000;
  out.model = model.id;
  out.fingerprint = "fp_nautile_" + context.options.version;
  return out;
}

bool too_busy(Context& context, const Call& call, size_t sequences) {
  const auto error = context.no_room_for(static_cast<int>(sequences));
  if (error) call.refuse(*error);
  return error.has_value();
}

engine::Request engine_request(const CommonFields& common, const ChosenModel& model, int version) {
  engine::Request out;
  out.model = model.status.id;
  out.sampling = sampling_of(common.sampling, model.status.defaults);
  // Versions of one prompt differ, and each can be had again by its own seed.
  if (out.sampling.seed) *out.sampling.seed += static_cast<uint64_t>(version);
  out.stop_strings = common.stop_strings;
  out.stop_ids = common.stop_ids;
  out.ignore_end_tokens = common.ignore_end_tokens;
  out.logprobs_top = common.logprobs_top;
  out.account = account_of_user(common.user_id);
  return out;
}

// Known once the model's template has been read.
bool never_thinks(const engine::ModelStatus& model) {
  return model.loaded && model.thinking == engine::ThinkingSupport::never;
}

bool asks_for_tools(const engine::ChatPrompt& prompt) {
  return !prompt.tools.empty() && prompt.tool_choice != engine::ToolChoice::none;
}

void chat(Context& context, Call& call) {
  auto request = parse_chat_request(call.body, call.beta);
  if (!request) return call.refuse(request.error());
  const auto model = context.choose_model(request->common.model);
  if (!model) return call.refuse(model.error());
  const CommonFields& common = request->common;
  const auto blind = cannot_see(context, model->status, request->prompt.messages);
  if (blind) return call.refuse(*blind);
  if (too_busy(context, call, static_cast<size_t>(common.choices))) return;
  if (request->prompt.thinking == engine::Thinking::on && never_thinks(model->status)) {
    return call.refuse(
        ApiError{.status = 400,
                 .message = "the model " + base::shown_name(model->status.id) +
                            " does not think: leave `thinking` out, or choose a model that does",
                 .code = "unsupported_parameter",
                 .param = "thinking"});
  }
  if (asks_for_tools(request->prompt) && !model->status.tools) {
    return call.refuse(
        ApiError{.status = 400,
                 .message = "the model " + base::shown_name(model->status.id) +
                            " knows no form for tool calls: leave `tools` out, or choose a model "
                            "whose chat template has one",
                 .code = "unsupported_parameter",
                 .param = "tools"});
  }
  if (request->prompt.thinking == engine::Thinking::by_default && model->thinking) {
    request->prompt.thinking = *model->thinking;
  }
  std::vector<engine::Request> requests;
  for (int i = 0; i < common.choices; ++i) {
    engine::Request one = engine_request(common, *model, i);
    one.prompt = request->prompt;
    one.tokens_max = common.tokens_max.value_or(-1);
    one.thinking_tokens_max = request->thinking_tokens_max;
    requests.push_back(std::move(one));
  }
  auto form = make_chat_form(make_identity(context, "chatcmpl-", model->status), common);
  std::make_shared<Answer>(context, call.exchange, std::move(form), common, model->status.id)
      ->start(std::move(requests), common.choices);
}

void completions(Context& context, Call& call) {
  auto request = parse_completion_request(call.body);
  if (!request) return call.refuse(request.error());
  const auto model = context.choose_model(request->common.model);
  if (!model) return call.refuse(model.error());
  const CommonFields& common = request->common;
  if (too_busy(context, call, request->prompts.size() * static_cast<size_t>(common.choices))) {
    return;
  }
  constexpr int tokens_max_by_default = 16;  // OpenAI's
  std::vector<engine::Request> requests;
  for (const engine::Prompt& prompt : request->prompts) {
    for (int i = 0; i < common.choices; ++i) {
      engine::Request one = engine_request(common, *model, i);
      one.prompt = prompt;
      one.tokens_max = common.tokens_max.value_or(tokens_max_by_default);
      one.prompt_logprobs = request->echo && (common.logprobs_top >= 0 ||
                                              std::holds_alternative<engine::IdsPrompt>(prompt));
      requests.push_back(std::move(one));
    }
  }
  auto form = make_completion_form(make_identity(context, "cmpl-", model->status), *request);
  std::make_shared<Answer>(context, call.exchange, std::move(form), common, model->status.id)
      ->start(std::move(requests), common.choices);
}

base::Json model_json(const engine::ModelStatus& model) {
  base::Json input = base::Json::array(), output = base::Json::array(), size;
  input.push("text");
  output.push("text");
  if (model.sees) input.push("image");
  if (model.drawn_side > 0) {
    output.push("image");
    size = fmt::format("{0}x{0}", model.drawn_side);
  }
  return base::Json::object({{"id", model.id},
                             {"object", "model"},
                             {"created", model.created_unix},
                             {"owned_by", "nautile"},
                             {"root", model.id},
                             {"max_model_len", model.context_tokens},
                             {"loaded", model.loaded},
                             {"input_modalities", std::move(input)},
                             {"output_modalities", std::move(output)},
                             {"image_size", std::move(size)}});
}

void list_models(Context& context, Call& call) {
  base::Json data = base::Json::array();
  for (const engine::ModelStatus& model : context.engine.models()) data.push(model_json(model));
  call.answer(base::Json::object({{"object", "list"}, {"data", std::move(data)}}));
}

void show_model(Context& context, Call& call) {
  const auto model = context.choose_model(call.parameters[0]);
  if (!model) return call.refuse(model.error());
  call.answer(model_json(model->status));
}

template <class T>
bool refused(const Call& call, const base::Result<T>& result) {
  if (result) return false;
  call.refuse(from_module(result.error()));
  return true;
}

void count_chat_tokens(Context& context, Call& call, const TokenizeRequest& request,
                       const std::string& model) {
  using Size = base::Result<engine::PromptSize>;
  context.engine.call<Size>(
      [model, prompt = *request.chat](engine::EngineClient& engine) {
        return engine.prompt_size(model, prompt);
      },
      [call](Size size) {
        if (refused(call, size)) return;
        call.answer(
            base::Json::object({{"count", size->tokens}, {"max_model_len", size->context_tokens}}));
      });
}

void tokenize(Context& context, Call& call) {
  const auto request = parse_tokenize_request(call.body);
  if (!request) return call.refuse(request.error());
  const auto model = context.choose_model(request->model);
  if (!model) return call.refuse(model.error());
  const std::string id = model->status.id;
  if (request->chat) {
    const auto blind = cannot_see(context, model->status, request->chat->messages);
    if (blind) return call.refuse(*blind);
    return count_chat_tokens(context, call, *request, id);
  }
  struct Tokens {
    std::vector<int32_t> ids;
    std::vector<std::string> pieces;
  };
  using Out = base::Result<Tokens>;
  context.engine.call<Out>(
      [id, request = *request](engine::EngineClient& engine) -> Out {
        Tokens out;
        ASSIGN(out.ids, engine.tokenize(id, request.text, request.parse_special, request.add_bos));
        for (size_t i = 0; request.with_pieces && i < out.ids.size(); ++i) {
          ASSIGN(std::string piece, engine.detokenize(id, {out.ids[i]}));
          out.pieces.push_back(std::move(piece));
        }
        return out;
      },
      [call, most = model->status.context_tokens](Out out) {
        if (refused(call, out)) return;
        base::Json ids = base::Json::array();
        for (int32_t token : out->ids) ids.push(static_cast<int>(token));
        base::Json body = base::Json::object({{"count", static_cast<int>(out->ids.size())},
                                              {"max_model_len", most},
                                              {"tokens", std::move(ids)}});
        if (!out->pieces.empty()) {
          base::Json pieces = base::Json::array();
          for (std::string& piece : out->pieces) pieces.push(std::move(piece));
          body.set("token_strs", std::move(pieces));
        }
        call.answer(body);
      });
}

void detokenize(Context& context, Call& call) {
  const auto request = parse_detokenize_request(call.body);
  if (!request) return call.refuse(request.error());
  const auto model = context.choose_model(request->model);
  if (!model) return call.refuse(model.error());
  using Out = base::Result<std::string>;
  context.engine.call<Out>([id = model->status.id, ids = request->ids](
                               engine::EngineClient& engine) { return engine.detokenize(id, ids); },
                           [call](Out text) {
                             if (refused(call, text)) return;
                             call.answer(base::Json::object({{"prompt", std::move(*text)}}));
                           });
}

ApiError engine_starting() {
  ApiError error;
  error.status = 503;
  error.code = "engine_unavailable";
  error.message = "the engine is starting";
  error.retry_after_ms = 2'000;
  return error;
}

void health(Context& context, Call& call) {
  const bool ready = context.engine.stats().ready;
  // Nothing installed is a state that one may be in; models of which none can be used is a fault.
  if (ready && context.engine.models().empty() && !context.engine.unusable_models().empty()) {
    ApiError error = context.no_model();
    error.status = 503;
    error.code = "no_usable_model";
    error.param.clear();
    return call.refuse(error);
  }
  if (ready) return call.answer(base::Json::object({{"status", "ok"}}));
  call.refuse(engine_starting());
}

void metrics(Context& context, Call& call) {
  net::Response response;
  response.headers = {{"content-type", "text/plain; version=0.0.4; charset=utf-8"},
                      {"cache-control", "no-store"}};
  response.body = context.metrics.text(
      context.engine.stats(), context.engine.models(),
      context.server != nullptr ? context.server->stats() : net::ServerStats{});
  call.exchange->respond(std::move(response));
}

void openapi(Call& call) {
  net::Response response;
  response.headers = {{"content-type", "application/json; charset=utf-8"},
                      {"cache-control", "no-cache"}};
  static const std::string document = openapi_json();
  response.static_body = document;
  call.exchange->respond(std::move(response));
}

// The index of the model that `name` means by its id, in any case or shortened; -1: none, -2: it
// fits several.
int model_called(const std::vector<engine::ModelStatus>& models, const std::string& name) {
  int found = -1;
  for (size_t i = 0; i < models.size(); ++i) {
    const std::string_view id = models[i].id;
    if (equal_ignoring_case(id, name)) return static_cast<int>(i);
    if (name.empty() || !equal_ignoring_case(id.substr(0, name.size()), name)) continue;
    found = found == -1 ? static_cast<int>(i) : -2;
  }
  return found;
}

}  // namespace

Parsed<ChosenModel> Context::choose_model(const std::string& name) {
  std::vector<engine::ModelStatus> models = engine.models();
  for (engine::ModelStatus& model : models) {
    if (model.id == name) return ChosenModel{std::move(model), std::nullopt};
  }
  if (models.empty()) return api::refuse(no_model());
  if (name.empty()) return ChosenModel{std::move(models.front()), std::nullopt};
  for (const Alias& alias : aliases) {
    if (alias.name == name) return ChosenModel{std::move(models.front()), alias.thinking};
  }
  const int at = model_called(models, name);
  if (at >= 0) return ChosenModel{std::move(models[static_cast<size_t>(at)]), std::nullopt};
  return api::refuse(404, "model_not_found",
                     at == -2 ? "several models of this server begin with that name: see /v1/models"
                              : "this server has no model of that name: see /v1/models",
                     "model");
}

ApiError Context::no_model() {
  // What it has is not known yet; a client may ask again, which after a 404 none does.
  if (!engine.stats().ready) return engine_starting();
  ApiError error;
  error.status = 404;
  error.code = "model_not_found";
  error.param = "model";
  error.message = "there is no model on this server";
  const std::vector<engine::UnusableModel> unusable = engine.unusable_models();
  if (unusable.empty()) return error;
  error.message =
      fmt::format("the model {} cannot be used: {}", base::shown_name(unusable.front().id),
                  unusable.front().error.message());
  return error;
}

std::optional<ApiError> Context::no_room_for(int sequences) const {
  if (api_sequences + sequences <= api_sequences_max) return std::nullopt;
  ApiError error;
  error.status = 429;
  error.code = "rate_limit_exceeded";
  error.message = fmt::format("{} answers are being made for this key already, at most {} at once",
                              api_sequences, api_sequences_max);
  error.retry_after_ms = 1'000;
  return error;
}

uint64_t account_of_user(const std::string& user_id) {
  return user_id.empty() ? api_account : account::account_of(user_id);
}

ApiError Context::engine_failure(const base::Error& error) const {
  ApiError out = from_module(error);
  if (!stopping || error.kind != base::ErrorKind::unavailable) return out;
  out.code = "server_stopped";
  out.message = "the server was stopped before the answer was complete: ask again when it runs";
  return out;
}

void add_public_routes(Context& context, std::vector<Route>& routes) {
  const auto bind = [&context](void (*endpoint)(Context&, Call&)) {
    return [&context, endpoint](Call& call) { endpoint(context, call); };
  };
  for (const char* prefix : {"", "/v1", "/beta"}) {
    const std::string at = prefix;
    routes.push_back({"POST", at + "/chat/completions", Access::key, true, bind(chat), true});
    routes.push_back(
        {"POST", at + "/images/generations", Access::key, true, bind(generate_images)});
    routes.push_back({"POST", at + "/completions", Access::key, true, bind(completions)});
    routes.push_back({"GET", at + "/models", Access::key, false, bind(list_models)});
    routes.push_back({"GET", at + "/models/{id*}", Access::key, false, bind(show_model)});
  }
  for (const char* prefix : {"", "/v1"}) {
    const std::string at = prefix;
    routes.push_back({"POST", at + "/tokenize", Access::key, true, bind(tokenize), true});
    routes.push_back({"POST", at + "/detokenize", Access::key, true, bind(detokenize)});
  }
  routes.push_back({"GET", "/health", Access::open, false, bind(health)});
  routes.push_back({"GET", "/metrics", Access::key, false, bind(metrics)});
  routes.push_back({"GET", "/openapi.json", Access::open, false, openapi});
}

}  // namespace api
