// The messages about downloads between our own processes, as JSON of child_process.h:
//
//   gate -> supervisor     {"kind":"pull","call","reference"} {"kind":"pull_pause"}
//                          {"kind":"catalogue","call"} {"kind":"engine_released"}
//   supervisor -> gate     {"kind":"pull_answer",…} {"kind":"pull_status",…}
//                          {"kind":"catalogue_answer",…} {"kind":"release_engine"}
//   puller -> supervisor   {"kind":"progress",…} (a status) {"kind":"end","path"}
//                          {"kind":"error","error"}
//   lister -> supervisor   {"kind":"listed",…} (a catalogue)
//
// Whoever reads one does not trust it: numbers are held in their ranges, texts are cut and made fit
// for a terminal, lists have a limit; what is missing is empty.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/pulls.h"
#include "base/json.h"

namespace app {

base::Json to_json(const base::Error& error);
base::Error error_from(const base::Json* json);

base::Json to_json(const api::PullStatus& status, std::string_view kind);
api::PullStatus status_from(const base::Json& json);

base::Json to_json(const api::PullAnswer& answer);
base::Json to_json(const api::Catalogue& catalogue);  // "listed"
api::Catalogue catalogue_from(const base::Json& json);
// The lister's catalogue, or why there is none, for one call of the gate.
base::Json catalogue_answer(uint64_t call, const base::Json& listed);
base::Json catalogue_refusal(uint64_t call, const base::Error& error);

// A message of the supervisor, as news for the gate; nothing if it is about something else.
std::optional<api::PullNews> news_from(const base::Json& json);

// A member, or empty.
std::string text_member(const base::Json& json, const char* name, size_t bytes_max = 4096);
int64_t count_member(const base::Json& json, const char* name);  // at least 0

}  // namespace app
