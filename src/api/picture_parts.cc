#include "api/picture_parts.h"

#include <algorithm>

#include "base/base64.h"

namespace api {
namespace {

constexpr std::string_view wanted = "data:image/png;base64,… (or jpeg, webp)";

ApiError bad_url(const std::string& path, std::string message) {
  ApiError error;
  error.code = "invalid_image_url";
  error.param = path;
  error.message = path + " " + std::move(message);
  return error;
}

ApiError too_large(const std::string& path, uint64_t bytes, uint64_t most, std::string_view of) {
  ApiError error;
  error.code = "image_too_large";
  error.param = path;
  error.message = fmt::format("{}: {} {} bytes, at most {} are taken", path, of, bytes, most);
  return error;
}

bool starts_ignoring_case(std::string_view text, std::string_view start) {
  return equal_ignoring_case(text.substr(0, start.size()), start);
}

const std::string* url_of(Fields& part, const std::string& path) {
  const base::Json* given = part.any("image_url");
  if (given == nullptr || !given->is_object()) return part.text("image_url", std::string::npos);
  Fields inner(*given, path);
  inner.require("url");
  const std::string* url = inner.text("url", std::string::npos);
  // A picture is looked at in one way: the word is checked and changes nothing.
  inner.word("detail", {"auto", "low", "high", "original"});
  if (auto error = inner.finish()) {
    part.fault(std::move(*error));
    return nullptr;
  }
  return url;
}

}  // namespace

Parsed<std::string> picture_of_url(std::string_view url, const std::string& path) {
  if (starts_ignoring_case(url, "http:") || starts_ignoring_case(url, "https:")) {
    return refuse(bad_url(path, fmt::format("is an address, and this server fetches nothing: send "
                                            "the picture itself as {}",
                                            wanted)));
  }
  const size_t comma = url.find(',');
  const bool is_data = starts_ignoring_case(url, "data:") && comma != std::string_view::npos;
  if (!is_data) return refuse(bad_url(path, fmt::format("must be {}", wanted)));
  const std::string_view head = url.substr(5, comma - 5);
  const std::string_view type = head.substr(0, head.find(';'));
  const std::string_view types[] = {"image/png", "image/jpeg", "image/jpg", "image/webp"};
  if (std::none_of(std::begin(types), std::end(types),
                   [&](std::string_view one) { return equal_ignoring_case(type, one); })) {
    return refuse(bad_url(path, "must hold a PNG, JPEG or WebP picture: other kinds are not read"));
  }
  if (head.size() < 7 || !equal_ignoring_case(head.substr(head.size() - 7), ";base64")) {
    return refuse(bad_url(path, fmt::format("must be {}", wanted)));
  }
  const std::string_view text = url.substr(comma + 1);
  // Before anything is allocated by it.
  const uint64_t least_bytes = text.size() / 4 * 3 - std::min<uint64_t>(2, text.size() / 4 * 3);
  if (least_bytes > engine::picture_bytes_max) {
    return refuse(too_large(path, least_bytes, engine::picture_bytes_max, "the picture has"));
  }
  auto bytes = base::from_base64(text);
  if (!bytes) {
    return refuse(bad_url(path,
                          "holds no whole base64: nothing but its 64 characters, padded with "
                          "= to a multiple of four"));
  }
  if (bytes->empty()) return refuse(bad_url(path, "holds no picture: it is empty"));
  return std::move(*bytes);
}

void parse_image_part(Fields& part, PictureBudget& spent, engine::Message& out) {
  part.require("image_url");
  const std::string path = part.path_of("image_url");
  const std::string* url = url_of(part, path);
  if (url == nullptr) return;
  if (out.role != "user") {
    part.fault(400, "invalid_request", "type",
               part.path_of("type") + ": pictures stand in messages of the user only");
    return;
  }
  auto bytes = picture_of_url(*url, path);
  if (!bytes) return part.fault(std::move(bytes.error()));
  spent.bytes += bytes->size();
  if (++spent.count > engine::pictures_seen_max) {
    return part.fault(
        400, "too_many_images", "image_url",
        fmt::format("{}: a request has at most {} pictures", path, engine::pictures_seen_max));
  }
  if (spent.bytes > engine::pictures_bytes_max) {
    return part.fault(too_large(path, spent.bytes, engine::pictures_bytes_max,
                                "the pictures up to this one have"));
  }
  out.pictures.push_back({out.content.size(), std::move(*bytes)});
}

}  // namespace api
