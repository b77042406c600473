#include "net/response_head.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <fmt/format.h>

namespace net {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};
constexpr std::array phrases = {Phrase{100, "Continue"},
                                Phrase{200, "OK"},
                                Phrase{201, "Created"},
                                Phrase{202, "Accepted"},
                                Phrase{204, "No Content"},
                                Phrase{206, "Partial Content"},
                                Phrase{301, "Moved Permanently"},
                                Phrase{302, "Found"},
                                Phrase{303, "See Other"},
                                Phrase{304, "Not Modified"},
                                Phrase{307, "Temporary Redirect"},
                                Phrase{308, "Permanent Redirect"},
                                Phrase{400, "Bad Request"},
                                Phrase{401, "Unauthorized"},
                                Phrase{402, "Payment Required"},
                                Phrase{403, "Forbidden"},
                                Phrase{404, "Not Found"},
                                Phrase{405, "Method Not Allowed"},
                                Phrase{406, "Not Acceptable"},
                                Phrase{408, "Request Timeout"},
                                Phrase{409, "Conflict"},
                                Phrase{410, "Gone"},
                                Phrase{411, "Length Required"},
                                Phrase{412, "Precondition Failed"},
                                Phrase{413, "Content Too Large"},
                                Phrase{414, "URI Too Long"},
                                Phrase{415, "Unsupported Media Type"},
                                Phrase{417, "Expectation Failed"},
                                Phrase{421, "Misdirected Request"},
                                Phrase{422, "Unprocessable Content"},
                                Phrase{425, "Too Early"},
                                Phrase{428, "Precondition Required"},
                                Phrase{429, "Too Many Requests"},
                                Phrase{431, "Request Header Fields Too Large"},
                                Phrase{499, "Client Closed Request"},
                                Phrase{500, "Internal Server Error"},
                                Phrase{501, "Not Implemented"},
                                Phrase{502, "Bad Gateway"},
                                Phrase{503, "Service Unavailable"},
                                Phrase{504, "Gateway Timeout"},
                                Phrase{505, "HTTP Version Not Supported"},
                                Phrase{507, "Insufficient Storage"}};

std::string_view phrase(int status) {
  const auto found = std::find_if(phrases.begin(), phrases.end(),
                                  [&](const Phrase& each) { return each.status == status; });
  return found == phrases.end() ? "Status" : found->text;
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
