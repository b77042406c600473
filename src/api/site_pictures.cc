// Pictures over the site's wire: they are sent once under an id that the page chose, and named by
// it from then on; what was drawn is fetched in the same way.
#include "api/images.h"
#include "api/site.h"

namespace api {
namespace {

using base::Json;

ApiError no_picture() {
  ApiError error;
  error.status = 404;
  error.code = "not_found";
  error.message = "there is no such picture in this server's memory";
  return error;
}

ApiError too_many(std::string message) {
  ApiError error;
  error.status = 413;
  error.code = "request_too_large";
  error.reason = "pictures";
  error.message = std::move(message);
  return error;
}

}  // namespace

void Site::put_attachment(Call& call) {
  const std::string& id = call.parameters[0];
  const std::string& bytes = call.request().body;
  if (!is_site_id(id)) return call.refuse(no_picture());
  if (bytes.size() > engine::picture_bytes_max) {
    ApiError error = too_many(fmt::format("the picture has {} bytes, at most {} are taken",
                                          bytes.size(), engine::picture_bytes_max));
    error.extra = {{"bytes_max", static_cast<int64_t>(engine::picture_bytes_max)}};
    return call.refuse(error);
  }
  if (chat::picture_type(bytes).empty()) {
    ApiError error;
    error.code = "not_a_picture";
    error.reason = "picture_kind";
    error.message = "only PNG, JPEG and WebP pictures are read";
    return call.refuse(error);
  }
  pictures_.put(id, bytes);
  call.answer_done();
}

void Site::show_attachment(Call& call) {
  const auto picture = pictures_.find(call.parameters[0]);
  if (picture == nullptr) return call.refuse(no_picture());
  net::Response response;
  response.headers = {{"content-type", std::string(chat::picture_type(picture->bytes))},
                      {"cache-control", "no-store"}};
  response.body = picture->bytes;
  call.exchange->respond(std::move(response));
}

std::optional<ApiError> Site::find_pictures(std::vector<chat::Node>& path) const {
  Json missing = Json::array();
  int count = 0;
  uint64_t bytes = 0;
  for (chat::Node& node : path) {
    for (chat::NodePicture& one : node.pictures) {
      one.picture = pictures_.find(one.id);
      if (one.picture == nullptr) missing.push(one.id);
      ++count;
      bytes += one.picture != nullptr ? one.picture->bytes.size() : 0;
    }
    if (!node.drawing) continue;
    for (chat::NodePicture& one : node.drawing->done) one.picture = pictures_.find(one.id);
  }
  if (!missing.as_array().empty()) {
    ApiError error;
    error.status = 409;
    error.code = "picture_gone";
    error.reason = "picture";
    error.message = "a picture of this conversation is not in the server's memory: send it again";
    error.extra = {{"missing", std::move(missing)}};
    return error;
  }
  if (count > engine::pictures_seen_max) {
    return too_many(fmt::format("the conversation has {} pictures, at most {} are read", count,
                                engine::pictures_seen_max));
  }
  if (bytes > engine::pictures_bytes_max) {
    return too_many(fmt::format("the conversation's pictures have {} bytes, at most {} are read",
                                bytes, engine::pictures_bytes_max));
  }
  return std::nullopt;
}

std::optional<ApiError> Site::check_model(const GenerationRequest& request,
                                          const engine::ModelStatus& model) {
  if (request.draw) {
    auto error = cannot_draw(context_, model);
    if (error) return with_reason(std::move(*error), "draws");
    return std::nullopt;
  }
  auto error = cannot_see(context_, model, messages_of("", request.path, false));
  if (error) return with_reason(std::move(*error), "sees");
  return std::nullopt;
}

}  // namespace api
