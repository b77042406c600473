#include "api/images.h"

#include <algorithm>

#include "api/images_request.h"
#include "api/patient_answer.h"
#include "api/sketch_png.h"
#include "base/base64.h"

namespace api {
namespace {

using base::Json;

// One request for pictures. As a stream each picture that is ready goes out at once, but the last
// waits for the end, which brings the account: its usage holds the prompt's tokens, every picture's
// its own codes, so that their sum is what the request took.
class ImagesAnswer final : public PatientAnswer {
 public:
  ImagesAnswer(Context& context, std::shared_ptr<net::Exchange> exchange,
               const ImagesRequest& request, const engine::ModelStatus& model)
      : PatientAnswer(context, std::move(exchange), request.stream),
        model_(model.id),
        side_(model.drawn_side),
        partials_(request.partial_images),
        created_unix_s_(context.options.clock->wall_unix_ms() / 1000),
        sketches_(static_cast<size_t>(request.pictures)),
        drawn_(static_cast<size_t>(request.pictures)) {}

  void start(engine::Request request) {
    context_.api_sequences += pictures();
    const auto self = std::static_pointer_cast<ImagesAnswer>(shared_from_this());
    watch();
    engine_id_ = context_.engine.start(
        std::move(request), [self](const engine::Event& event) { self->on_event(event); });
  }

 private:
  struct Sketch {
    std::string colours;
    int partials_sent = 0;
  };

  int pictures() const { return static_cast<int>(drawn_.size()); }

  void on_event(const engine::Event& event) {
    if (const auto* end = std::get_if<engine::End>(&event)) return on_end(*end);
    if (closed_) return;
    if (const auto* queued = std::get_if<engine::Queued>(&event)) return on_queued(*queued);
    admit();
    if (std::holds_alternative<engine::Loading>(event)) return;
    started_ = true;
    if (const auto* row = std::get_if<engine::SketchRow>(&event)) {
      on_row(*row);
    } else if (const auto* drawn = std::get_if<engine::Drawn>(&event)) {
      on_drawn(*drawn);
    }
  }

  void on_row(const engine::SketchRow& row) {
    if (partials_ == 0 || row.picture < 0 || row.picture >= pictures() || row.rows < 1 ||
        row.rows > sketch_grid_max || row.row < 0 || row.row >= row.rows) {
      return;
    }
    Sketch& sketch = sketches_[static_cast<size_t>(row.picture)];
    sketch.colours.resize(static_cast<size_t>(row.row * row.rows) * 3, '\x7f');
    sketch.colours += row.colours;
    // Partials are parts of equal size: of three the first shows a quarter.
    const int due = (row.row + 1) * (partials_ + 1) / row.rows;
    if (due <= sketch.partials_sent || sketch.partials_sent >= partials_) return;
    const std::string png = sketch_png(row.rows, sketch.colours, side_);
    if (png.empty()) return;
    Json event = common("image_generation.partial_image", row.picture, png);
    event.set("partial_image_index", sketch.partials_sent);
    sketch.partials_sent = std::min(due, partials_);
    send_event(event);
  }

  void on_drawn(const engine::Drawn& drawn) {
    if (drawn.picture < 0 || drawn.picture >= pictures()) return;
    std::optional<engine::Drawn>& place = drawn_[static_cast<size_t>(drawn.picture)];
    if (place) return;
    place = drawn;
    last_ = static_cast<size_t>(drawn.picture);
    ++ready_;
    if (!stream_ || ready_ == pictures()) return;
    engine::Usage own;
    own.completion_tokens = static_cast<int>(drawn.codes.size());
    told_tokens_ += own.completion_tokens;
    send_completed(*place, own);
  }

  void on_end(const engine::End& end) {
    ended_ = true;
    context_.api_sequences -= pictures();
    record(end);
    if (closed_) return;
    if (end.reason == engine::EndReason::failed) return fail(context_.engine_failure(end.error));
    if (ready_ != pictures()) {
      ApiError error;
      error.status = 500;
      error.code = "internal_error";
      error.message = fmt::format("only {} of {} pictures were drawn", ready_, pictures());
      return fail(error);
    }
    if (!stream_) return respond(whole(end.usage));
    admit();
    engine::Usage rest = end.usage;
    rest.completion_tokens = std::max(0, rest.completion_tokens - told_tokens_);
    send_completed(*drawn_[last_], rest);
    end_stream();
  }

  Json common(std::string_view type, int picture, std::string_view png) const {
    return Json::object({{"type", type},
                         {"b64_json", base::base64(png)},
                         {"created_at", created_unix_s_},
                         {"background", "opaque"},
                         {"output_format", "png"},
                         {"quality", "auto"},
                         {"size", size_text()},
                         {"index", picture}});
  }
  std::string size_text() const { return fmt::format("{0}x{0}", side_); }

  void send_completed(const engine::Drawn& drawn, const engine::Usage& usage) {
    Json event = common("image_generation.completed", drawn.picture, drawn.png);
    event.set("seed", static_cast<int64_t>(drawn.seed));
    event.set("usage", usage_of(usage));
    send_event(event);
  }

  void send_event(const Json& event) {
    send("event: " + event.find("type")->as_string() + "\ndata: " + event.dump() + "\n\n");
  }

  static Json usage_of(const engine::Usage& usage) {
    return Json::object(
        {{"input_tokens", usage.prompt_tokens},
         {"input_tokens_details",
          Json::object({{"image_tokens", 0}, {"text_tokens", usage.prompt_tokens}})},
         {"output_tokens", usage.completion_tokens},
         {"output_tokens_details",
          Json::object({{"image_tokens", usage.completion_tokens}, {"text_tokens", 0}})},
         {"total_tokens", usage.prompt_tokens + usage.completion_tokens}});
  }

  Json whole(const engine::Usage& usage) const {
    Json data = Json::array();
    for (const auto& one : drawn_) {
      data.push(Json::object(
          {{"b64_json", base::base64(one->png)}, {"seed", static_cast<int64_t>(one->seed)}}));
    }
    return Json::object({{"created", created_unix_s_},
                         {"model", model_},
                         {"background", "opaque"},
                         {"output_format", "png"},
                         {"size", size_text()},
                         {"data", std::move(data)},
                         {"usage", usage_of(usage)}});
  }

  void record(const engine::End& end) {
    FinishedSequence finished;
    finished.model = model_;
    finished.reason = end.reason;
    finished.usage = end.usage;
    finished.whole_s = static_cast<double>(context_.now_ms() - arrived_ms_) / 1e3;
    finished.choices = pictures();
    context_.metrics.finished(finished);
  }

  void cancel_all() override {
    if (!ended_) context_.engine.cancel(engine_id_);
  }

  const std::string model_;
  const int side_, partials_;
  const int64_t created_unix_s_;
  uint64_t engine_id_ = 0;
  std::vector<Sketch> sketches_;
  std::vector<std::optional<engine::Drawn>> drawn_;
  size_t last_ = 0;  // the picture that was ready last
  int ready_ = 0, told_tokens_ = 0;
  bool ended_ = false;
};

std::string one_that(Context& context, const std::function<bool(const engine::ModelStatus&)>& can) {
  for (const engine::ModelStatus& model : context.engine.models()) {
    if (can(model)) return base::shown_name(model.id);
  }
  return "";
}

Parsed<ChosenModel> drawing_model(Context& context, const std::string& name) {
  if (!name.empty()) return context.choose_model(name);
  for (engine::ModelStatus& model : context.engine.models()) {
    if (model.drawn_side > 0) return ChosenModel{std::move(model), std::nullopt};
  }
  return context.choose_model(name);
}

}  // namespace

std::optional<ApiError> cannot_see(Context& context, const engine::ModelStatus& model,
                                   const std::vector<engine::Message>& messages) {
  if (model.sees) return std::nullopt;
  const auto at =
      std::find_if(messages.begin(), messages.end(),
                   [](const engine::Message& message) { return !message.pictures.empty(); });
  if (at == messages.end()) return std::nullopt;
  const std::string other =
      one_that(context, [](const engine::ModelStatus& one) { return one.sees; });
  ApiError error;
  error.code = "model_cannot_see";
  error.param = fmt::format("messages[{}].content", at - messages.begin());
  error.message = fmt::format("the model {} cannot see pictures: {}", base::shown_name(model.id),
                              other.empty() ? "no model of this server can, so send text alone"
                                            : "ask " + other + ", which can");
  return error;
}

std::optional<ApiError> cannot_draw(Context& context, const engine::ModelStatus& model) {
  if (model.drawn_side > 0) return std::nullopt;
  const std::string other =
      one_that(context, [](const engine::ModelStatus& one) { return one.drawn_side > 0; });
  ApiError error;
  error.code = "model_cannot_draw";
  error.param = "model";
  error.message = fmt::format("the model {} cannot draw pictures: {}", base::shown_name(model.id),
                              other.empty() ? "no model of this server can; Janus-Pro does"
                                            : "ask " + other + ", which can");
  return error;
}

uint64_t drawing_seed(Context& context, std::optional<uint64_t> wish) {
  return wish ? *wish : context.options.random->below(uint64_t{1} << 31);
}

void generate_images(Context& context, Call& call) {
  const auto request = parse_images_request(call.body);
  if (!request) return call.refuse(request.error());
  const auto model = drawing_model(context, request->model);
  if (!model) return call.refuse(model.error());
  if (const auto error = cannot_draw(context, model->status)) return call.refuse(*error);
  const std::string size = fmt::format("{0}x{0}", model->status.drawn_side);
  if (!request->size.empty() && request->size != size) {
    return call.refuse(refuse(400, "invalid_value",
                              fmt::format("size must be {} or auto: the model {} draws no other",
                                          size, base::shown_name(model->status.id)),
                              "size")
                           .value());
  }
  if (const auto error = context.no_room_for(request->pictures)) return call.refuse(*error);
  engine::Request out;
  out.model = model->status.id;
  engine::DrawPrompt prompt;
  prompt.text = request->prompt;
  prompt.pictures = request->pictures;
  prompt.guidance = request->guidance;
  out.prompt = std::move(prompt);
  out.sampling.temperature = request->temperature;
  out.sampling.seed = drawing_seed(context, request->seed);
  out.account = account_of_user(request->user_id);
  std::make_shared<ImagesAnswer>(context, call.exchange, *request, model->status)
      ->start(std::move(out));
}

}  // namespace api
