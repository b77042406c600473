// Every request body that a client can send, and the little languages beside them. Whatever the
// bytes, the outcome is a value in range or an error with a status and a short message.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/event_streams.h"
#include "api/http.h"
#include "api/images_request.h"
#include "api/middleware.h"
#include "api/picture_parts.h"
#include "api/requests.h"
#include "api/site.h"
#include "api/sketch_png.h"
#include "base/check.h"

namespace {

template <class T>
void judge(const api::Parsed<T>& parsed) {
  if (parsed) return;
  CHECK(parsed.error().status >= 400 && parsed.error().status < 500, "the client's fault");
  CHECK(parsed.error().message.size() < 2'000, "what was sent is never repeated in full");
  CHECK(!api::error_json(parsed.error()).dump().empty(), "it can be written");
}

void judge_sampling(const api::CommonFields& common) {
  const engine::SamplingParams sampling = api::sampling_of(common.sampling, base::Json());
  CHECK(sampling.temperature >= 0 && sampling.temperature <= 2, "in range");
  CHECK(common.choices >= 1 && common.choices <= api::limits::choices_max, "in range");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  judge(api::parse_follows(text));
  std::vector<std::string> parameters;
  api::match_path("/site/conversations/{id}/nodes/{node}", text, parameters);
  api::match_path("/v1/models/{id*}", text, parameters);
  api::cookie_value(text, "nautile_session");
  api::list_has(text, "gzip");
  judge(api::picture_of_url(text, "url"));
  api::sketch_png(static_cast<int>(size % 40), text, 64);
  base::JsonLimits limits;
  limits.duplicate_keys_refused = true;
  limits.depth_max = 64;
  const auto body = base::parse_json(text, "the body", limits);
  if (!body) return 0;
  for (const bool beta : {false, true}) {
    const auto chat = api::parse_chat_request(*body, beta);
    judge(chat);
    if (chat) judge_sampling(chat->common);
  }
  const auto completion = api::parse_completion_request(*body);
  judge(completion);
  if (completion) judge_sampling(completion->common);
  judge(api::parse_tokenize_request(*body));
  judge(api::parse_detokenize_request(*body));
  judge(api::parse_generation_request(*body, 1 << 20));
  judge(api::parse_measure_request(*body, 1 << 20));
  const auto images = api::parse_images_request(*body);
  judge(images);
  CHECK(!images || (images->pictures >= 1 && images->pictures <= engine::pictures_drawn_max),
        "in range");
  return 0;
}
