#include "api/images_request.h"

#include "api/fields.h"
#include "api/requests.h"

namespace api {
namespace {

void parse_prompt(Fields& fields, ImagesRequest& out) {
  fields.require("prompt");
  const std::string* prompt = fields.text("prompt", draw_prompt_bytes_max);
  if (prompt == nullptr) return;
  if (prompt->find_first_not_of(" \t\r\n") == std::string::npos) {
    fields.fault(400, "invalid_value", "prompt", "prompt must say what is to be drawn");
  }
  out.prompt = *prompt;
}

// What OpenAI's models can be told and these cannot. The values that ask for what is done anyway
// are taken.
void parse_format(Fields& fields) {
  const std::string* format = fields.text("response_format", 64);
  if (format != nullptr && *format != "b64_json") {
    fields.fault(400, "invalid_value", "response_format",
                 *format == "url" ? "response_format must be b64_json: pictures are not kept, so "
                                    "there is no address to fetch one from"
                                  : "response_format must be b64_json");
  }
  const auto only = [&](const char* key, std::initializer_list<std::string_view> words) {
    const std::string* value = fields.text(key, 64);
    if (value == nullptr) return;
    std::string listed;
    for (const std::string_view word : words) {
      if (*value == word) return;
      listed += (listed.empty() ? "" : " or ") + std::string(word);
    }
    fields.fault(400, "invalid_value", key, fmt::format("{} must be {}", key, listed));
  };
  only("output_format", {"png"});
  only("background", {"auto", "opaque"});
  only("quality", {"auto", "standard"});
  only("moderation", {"auto", "low"});
  if (fields.has("output_compression")) {
    fields.fault(400, "unsupported_field", "output_compression",
                 "output_compression is not for PNG: leave it out");
  }
  fields.unsupported({"style", "input_fidelity"});
}

}  // namespace

Parsed<ImagesRequest> parse_images_request(const base::Json& body) {
  Fields fields(body, "");
  ImagesRequest out;
  if (const std::string* model = fields.text("model", limits::model_bytes_max)) out.model = *model;
  parse_prompt(fields, out);
  out.pictures = static_cast<int>(fields.integer("n", 1, engine::pictures_drawn_max).value_or(1));
  const std::string* size = fields.text("size", 64);
  if (size != nullptr && *size != "auto") out.size = *size;
  if (const auto seed = fields.integer("seed", 0, engine::drawing_seed_max)) {
    out.seed = static_cast<uint64_t>(*seed);
  }
  out.guidance = fields.number("guidance", 0, engine::guidance_max).value_or(out.guidance);
  out.temperature = fields.number("temperature", 0, 2).value_or(out.temperature);
  if (out.temperature < limits::temperature_least) out.temperature = 0;
  out.stream = fields.boolean("stream").value_or(false);
  const auto partials = fields.integer("partial_images", 0, partial_images_max);
  if (partials && *partials > 0 && !out.stream) {
    fields.fault(400, "invalid_request", "partial_images",
                 "partial_images is only for requests with stream true");
  }
  out.partial_images = static_cast<int>(partials.value_or(0));
  parse_format(fields);
  if (const std::string* id = fields.text("user_id", limits::user_id_bytes_max)) {
    out.user_id = *id;
  } else if (const std::string* user = fields.text("user", limits::user_id_bytes_max)) {
    out.user_id = *user;
  }
  fields.ignore({"safety_identifier", "metadata"});
  if (auto error = fields.finish()) {
    // OpenAI's clients know 400 for all of this endpoint's faults.
    error->status = 400;
    return refuse(std::move(*error));
  }
  return out;
}

}  // namespace api
