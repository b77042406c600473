// The text of openapi.json, which stands beside this file and is compiled in.
#pragma once

#include <string>

namespace api {
std::string openapi_json();
}
