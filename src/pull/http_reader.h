// Pieces of one file over HTTP, for every hub that speaks it: ranges checked against what was
// asked, the address behind a redirect kept for the next piece and asked for anew when it has
// expired, and every way in which a server can lie turned into a ReadFailure.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "pull/hub.h"

namespace pull {

// How a hub lets us in. `renew`, where there is one, gets another value after a 401.
struct Access {
  std::mutex mutex;
  std::string authorization;  // value of the field; may be empty
  std::function<base::Result<std::string>(net::Client&)> renew;
};

// What the readers of one file know together.
struct HttpFile {
  std::mutex mutex;
  std::optional<net::Url> behind;  // where the last redirect led
  std::string etag;                // of the first answer; empty: none yet
};

std::unique_ptr<Reader> make_http_reader(std::unique_ptr<net::Client> client,
                                         const PlannedFile& file, const net::Url& url,
                                         std::shared_ptr<Access> access,
                                         std::shared_ptr<HttpFile> shared,
                                         const Hub::ReaderOptions& options);

// What a status other than success means, for people. `asked`: "hf:org/repo".
base::Error status_error(int status, const std::string& asked, bool had_token);

}  // namespace pull
