#include "api/site.h"

#include "api/fields.h"

namespace api {
namespace {

using base::Json;

constexpr size_t titles_at_start = 50;
constexpr int64_t assumed_read_bytes_per_ms = 1'000'000;  // 1 GB/s: a first guess for load_ms
constexpr int64_t cookie_seconds = account::Sessions::idle_ms_max / 1000;

std::string cookie_header(std::string_view value, int64_t seconds) {
  return fmt::format("nautile_session={}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", value,
                     seconds);
}

std::string_view thinking_word(engine::ThinkingSupport support) {
  switch (support) {
    case engine::ThinkingSupport::optional:
      return "optional";
    case engine::ThinkingSupport::always:
      return "always";
    case engine::ThinkingSupport::never:
      break;
  }
  return "never";
}

ApiError nothing_here() {
  return refused_with(404, "not_found", "there is nothing at this address", "");
}

}  // namespace

Site::Site(Context& context)
    : context_(context),
      conversations_(*context.options.clock),
      generations_(context, conversations_, pictures_),
      streams_(context, generations_),
      pulls_(context, streams_, [this] { return measuring_.empty(); }),
      code_(context.options.setup_code) {
  // A gate that was started again is given the code of before; used once, it stays used.
  if (context_.sessions.spent(code_)) {
    renew_code();
  } else if (!code_.empty()) {
    code_check_.emplace("nautile console code", account::normalised_code(code_));
  }
}

void Site::add_routes(std::vector<Route>& routes) {
  using Method = void (Site::*)(Call&);
  const auto add = [&](const char* method, const char* path, Access access, bool takes_body,
                       Method endpoint, bool takes_bytes = false) {
    routes.push_back({method, path, access, takes_body,
                      [this, endpoint](Call& call) { (this->*endpoint)(call); }, false,
                      takes_bytes});
  };
  const Access open = Access::open;
  const Access member = Access::session;
  add("GET", "/site/session", open, false, &Site::session);
  add("POST", "/site/setup", open, true, &Site::setup);
  add("POST", "/site/signin", open, true, &Site::sign_in);
  add("POST", "/site/signout", member, false, &Site::sign_out);
  add("GET", "/site/conversations", member, false, &Site::list_conversations);
  add("POST", "/site/conversations/search", member, true, &Site::search_conversations);
  add("GET", "/site/conversations/{id}", member, false, &Site::show_conversation);
  add("PATCH", "/site/conversations/{id}", member, true, &Site::rename_conversation);
  add("DELETE", "/site/conversations/{id}", member, false, &Site::delete_conversation);
  add("DELETE", "/site/conversations/{id}/nodes/{node}", member, false, &Site::delete_node);
  add("PUT", "/site/attachments/{id}", member, false, &Site::put_attachment, true);
  add("GET", "/site/attachments/{id}", member, false, &Site::show_attachment);
  add("POST", "/site/generations", member, true, &Site::generate);
  add("GET", "/site/generations/{id}/events", member, false, &Site::follow_one);
  add("POST", "/site/generations/{id}/answer", member, false, &Site::answer_now);
  add("DELETE", "/site/generations/{id}", member, false, &Site::stop);
  add("GET", "/site/events", member, false, &Site::follow_many);
  add("POST", "/site/measure", member, true, &Site::measure);
  pulls_.add_routes(routes);
}

void Site::session(Call& call) {
  const std::string_view cookie = cookie_value(call.request().header("cookie"), "nautile_session");
  const bool signed_in = context_.sessions.find(cookie).has_value();
  net::Response response;
  if (signed_in) {
    response = json_response(ready_json());
    // The browser's copy lives as long as the server's, counted from this visit.
    response.headers.emplace_back("set-cookie", cookie_header(cookie, cookie_seconds));
  } else {
    response =
        json_response(Json::object({{"state", context_.sessions.owned() ? "signin" : "setup"},
                                    {"version", context_.options.version}}));
  }
  call.exchange->respond(std::move(response));
}

Json Site::models_json() const {
  Json out = Json::array();
  for (const engine::ModelStatus& model : context_.engine.models()) {
    const auto megabytes = static_cast<int64_t>(model.weight_bytes) / assumed_read_bytes_per_ms;
    const auto or_null = [&](const char* key) {
      const Json* value = model.defaults.find(key);
      return value != nullptr ? *value : Json();
    };
    out.push(Json::object({{"id", model.id},
                           {"name", model.id},
                           {"architecture", model.architecture},
                           {"quantization", model.quantization},
                           {"parameters", static_cast<int64_t>(model.parameters)},
                           {"weight_bytes", static_cast<int64_t>(model.weight_bytes)},
                           {"context_tokens", model.context_tokens},
                           {"loaded", model.loaded},
                           {"load_ms", model.loaded ? 0 : megabytes},
                           {"thinking", thinking_word(model.thinking)},
                           {"starter", model.starter},
                           {"sees", model.sees},
                           {"picture_tokens", model.picture_tokens},
                           {"drawn_side", model.drawn_side},
                           {"defaults", Json::object({{"temperature", or_null("temperature")},
                                                      {"top_p", or_null("top_p")}})}}));
  }
  return out;
}

Json Site::ready_json() const {
  Json models = models_json();
  const Json first = models.as_array().empty() ? Json() : *models.as_array().front().find("id");
  Json running = Json::array();
  for (const auto& generation : generations_.running()) {
    running.push(Json::object({{"generation", generation->id},
                               {"conversation", generation->conversation},
                               {"answer", generation->answer}}));
  }
  Json unusable = Json::array();
  for (const engine::UnusableModel& model : context_.engine.unusable_models()) {
    unusable.push(Json::object({{"id", model.id},
                                {"reason", from_module(model.error).message + "."},
                                {"error", error_parts(model.error)}}));
  }
  const chat::ConversationLimits& limits = conversations_.limits();
  const std::string& pull = context_.options.pull_command;
  return Json::object(
      {{"state", "ready"},
       {"version", context_.options.version},
       {"member", Json::object({{"mode", "just_me"}})},
       {"history", "memory"},
       {"draft_key", context_.sessions.draft_key()},
       {"models", std::move(models)},
       {"unusable", std::move(unusable)},
       {"opening", !context_.engine.stats().ready},
       {"default_model", first},
       {"pull_command", pull.empty() ? Json() : Json(pull)},
       {"pull", pulls_.json()},
       {"conversations", titles_json(conversations_.newest(titles_at_start))},
       {"running", std::move(running)},
       {"limits",
        Json::object({{"message_bytes_max", static_cast<int64_t>(limits.message_bytes_max)},
                      {"request_bytes_max", body_bytes_max},
                      {"conversations_max", limits.conversations_max},
                      {"picture_bytes_max", static_cast<int64_t>(engine::picture_bytes_max)},
                      {"pictures_bytes_max", static_cast<int64_t>(engine::pictures_bytes_max)},
                      {"pictures_max", engine::pictures_seen_max},
                      {"drawn_max", engine::pictures_drawn_max}})}});
}

void Site::renew_code() {
  code_.clear();
  code_check_.reset();
  if (!context_.options.announce_code) return;
  code_ = account::make_code(*context_.options.random);
  code_check_.emplace("nautile console code", account::normalised_code(code_));
  context_.options.announce_code(code_);
}

void Site::accept_code(Call& call, const std::string& code) {
  const int64_t wait_ms = code_tries_.wait_ms(context_.now_ms());
  if (wait_ms > 0) {
    ApiError error = refused_with(429, "rate_limit_exceeded",
                                  "too many wrong codes: wait before the next one", "code");
    error.retry_after_ms = wait_ms;
    return call.refuse(error);
  }
  // One answer for a wrong code and for one that is used up.
  if (!code_check_ || !code_check_->matches(account::normalised_code(code))) {
    code_tries_.failed(context_.now_ms());
    return call.refuse(
        refused_with(403, "wrong_code", "that is not the code that the terminal shows", "code"));
  }
  const auto cookie = context_.sessions.sign_in(code_);
  if (!cookie) return call.refuse(from_module(cookie.error()));
  renew_code();
  net::Response response = json_response(Json::object({{"state", "ready"}}));
  response.headers.emplace_back("set-cookie", cookie_header(*cookie, cookie_seconds));
  call.exchange->respond(std::move(response));
}

void Site::setup(Call& call) {
  if (context_.sessions.owned()) return call.refuse(nothing_here());
  Fields fields(call.body, "");
  fields.require("code");
  const std::string* code = fields.text("code", 64);
  fields.require("mode");
  fields.word("mode", {"just_me"});
  if (auto error = fields.finish()) return call.refuse(*error);
  accept_code(call, *code);
}

void Site::sign_in(Call& call) {
  if (!context_.sessions.owned()) return call.refuse(nothing_here());
  Fields fields(call.body, "");
  fields.require("code");
  const std::string* code = fields.text("code", 64);
  if (auto error = fields.finish()) return call.refuse(*error);
  accept_code(call, *code);
}

void Site::sign_out(Call& call) {
  const auto done = context_.sessions.sign_out(call.cookie);
  streams_.close_session(call.session);
  if (!done) return call.refuse(from_module(done.error()));
  net::Response response = empty_response();
  response.headers.emplace_back("set-cookie", cookie_header("", 0));
  call.exchange->respond(std::move(response));
}

}  // namespace api
