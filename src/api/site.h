// The site's own endpoints, as docs/site-wire.md states them: session, conversations, generations,
// the event stream. Loop thread only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/context.h"
#include "api/event_streams.h"
#include "api/generations.h"
#include "api/site_pulls.h"
#include "chat/conversations.h"

namespace api {

// That the answer is to be pictures of what the question says.
struct DrawWish {
  int pictures = 1;
  std::optional<uint64_t> seed;
  double guidance = 5.0, temperature = 1.0;
};

// POST /site/generations, checked.
struct GenerationRequest {
  std::string key, conversation, answer, model, system;
  std::vector<chat::Node> path;  // root to question
  engine::Thinking thinking = engine::Thinking::by_default;
  int thinking_tokens_max = -1;
  int tokens_max = -1;
  std::optional<double> temperature, top_p;
  std::optional<DrawWish> draw;
};
struct MeasureRequest {
  std::string model, system;
  std::vector<chat::Node> path;
};
Parsed<GenerationRequest> parse_generation_request(const base::Json& body,
                                                   size_t message_bytes_max);
Parsed<MeasureRequest> parse_measure_request(const base::Json& body, size_t message_bytes_max);
// What the model reads: the system text and the path. A last answer is continued. A drawing and the
// question that it answers are not read: they are no talk, and the picture counts when somebody
// asks about it. `with_pictures`: with their bytes, where they are known; else their places alone.
std::vector<engine::Message> messages_of(const std::string& system,
                                         const std::vector<chat::Node>& path, bool with_pictures);
// 16 to 64 lower-case hexadecimal digits.
bool is_site_id(std::string_view id);

class Site {
 public:
  explicit Site(Context& context);
  void add_routes(std::vector<Route>& routes);
  void end_streams() { streams_.close_all(); }
  void take(PullNews news) { pulls_.take(std::move(news)); }
  void attach() {}

 private:
  // site.cc: session
  void session(Call& call);
  void setup(Call& call);
  void sign_in(Call& call);
  void sign_out(Call& call);
  void accept_code(Call& call, const std::string& code);
  void renew_code();
  base::Json ready_json() const;
  base::Json models_json() const;

  // site_conversations.cc
  void list_conversations(Call& call);
  void show_conversation(Call& call);
  void rename_conversation(Call& call);
  void delete_conversation(Call& call);
  void delete_node(Call& call);
  void search_conversations(Call& call);
  base::Json titles_json(const std::vector<const chat::Conversation*>& conversations) const;

  // site_pictures.cc
  void put_attachment(Call& call);
  void show_attachment(Call& call);
  // Looks up what the path's messages show; what is wrong with it, or with this model for it.
  std::optional<ApiError> find_pictures(std::vector<chat::Node>& path) const;
  std::optional<ApiError> check_model(const GenerationRequest& request,
                                      const engine::ModelStatus& model);

  // site_generations.cc
  void generate(Call& call);
  void measure_first(const GenerationRequest& request, const engine::ModelStatus& model);
  engine::Request engine_request(const GenerationRequest& request,
                                 const engine::ModelStatus& model) const;
  void measured(const GenerationRequest& request, const engine::ModelStatus& model,
                const base::Result<engine::PromptSize>& size);
  std::optional<ApiError> write_path(const GenerationRequest& request,
                                     const engine::ModelStatus& model, chat::Conversation& into);
  Parsed<std::string> begin(const GenerationRequest& request, const engine::ModelStatus& model);
  void settle(const std::string& key, const Parsed<std::string>& generation);
  void stop(Call& call);
  void answer_now(Call& call);
  void follow_one(Call& call);
  void follow_many(Call& call);
  void measure(Call& call);

  Context& context_;
  chat::Conversations conversations_;
  chat::Pictures pictures_;
  Generations generations_;
  EventStreams streams_;
  SitePulls pulls_;
  account::TryLimit code_tries_{5, 60'000};
  std::string code_;  // empty: there is none that would be taken
  std::optional<account::SecretCheck> code_check_;
  // Generations whose prompt is still being measured: a retry with the same key joins them.
  std::map<std::string, std::vector<Call>> measuring_;
};

}  // namespace api
