#include "net/response_head.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>

namespace net {
namespace {

std::string_view phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 425:
      return "Too Early";
    case 428:
      return "Precondition Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Status";
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
  }
  return out;
}

bool is_ours(const std::string& lower_name) {
  return lower_name == "content-length" || lower_name == "transfer-encoding" ||
         lower_name == "connection" || lower_name == "date";
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  const bool is_name = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c > 0x20 && c < 0x7f && c != ':';
  });
  if (!is_name) return;
  out.append(name).append(": ");
  for (unsigned char c : value) {
    out += (c < 0x20 && c != '\t') || c == 0x7f ? ' ' : static_cast<char>(c);
  }
  out += "\r\n";
}

}  // namespace

bool has_body(int status) { return status >= 200 && status != 204 && status != 304; }

bool asks_to_close(const Headers& headers) {
  return std::any_of(headers.begin(), headers.end(), [](const auto& field) {
    return lower(field.first) == "connection" && lower(field.second) == "close";
  });
}

std::string http_date(int64_t unix_s) {
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const time_t time = static_cast<time_t>(unix_s);
  tm parts{};
  ::gmtime_r(&time, &parts);
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", days[parts.tm_wday], parts.tm_mday,
                     months[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                     parts.tm_sec);
}

std::string response_head(int status, const Headers& headers, const HeadForm& form,
                          int64_t now_unix_s) {
  std::string out = fmt::format("HTTP/1.1 {} {}\r\n", status, phrase(status));
  for (const auto& [name, value] : headers) {
    if (!is_ours(lower(name))) append_field(out, name, value);
  }
  append_field(out, "date", http_date(now_unix_s));
  if (form.content_length && has_body(status)) {
    append_field(out, "content-length", std::to_string(*form.content_length));
  }
  if (form.chunked) append_field(out, "transfer-encoding", "chunked");
  if (!form.keep_alive) {
    append_field(out, "connection", "close");
  } else if (form.version_minor == 0) {
    append_field(out, "connection", "keep-alive");
  }
  return out + "\r\n";
}

}  // namespace net
