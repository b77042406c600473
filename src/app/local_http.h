// One GET to a server of ours on this machine, with the local API key: for `nautile ps`. It speaks
// to loopback addresses only and reads at most a mebibyte within five seconds.
#pragma once

#include <string>

#include "app/places.h"
#include "base/json.h"
#include "base/result.h"

namespace app {

base::Result<base::Json> get_from_server(const Places& places, const std::string& listen,
                                         const std::string& path);

}  // namespace app
