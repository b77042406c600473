#include "app/pull_messages.h"

#include <algorithm>
#include <cmath>

namespace app {
namespace {

using base::Json;

constexpr size_t sentence_bytes_max = 2048;
constexpr size_t name_bytes_max = 512;

double real_member(const Json& json, const char* name) {
  const Json* value = json.find(name);
  if (value == nullptr || !value->is_number()) return 0;
  const double number = value->as_number();
  return std::isfinite(number) ? std::clamp(number, 0.0, 1e15) : 0;
}

bool flag_member(const Json& json, const char* name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_bool() && value->as_bool();
}

}  // namespace

std::string text_member(const Json& json, const char* name, size_t bytes_max) {
  const Json* value = json.find(name);
  if (value == nullptr || !value->is_string()) return {};
  return base::printable(value->as_string().substr(0, bytes_max));
}

int64_t count_member(const Json& json, const char* name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_integer() ? std::max<int64_t>(value->as_integer(), 0) : 0;
}

Json to_json(const base::Error& error) {
  return Json::object({{"error_kind", static_cast<int>(error.kind)},
                       {"what", error.what},
                       {"why", error.why},
                       {"next", error.next}});
}

base::Error error_from(const Json* json) {
  if (json == nullptr || !json->is_object()) return {};
  const int64_t kind = count_member(*json, "error_kind");
  const auto last = static_cast<int64_t>(base::ErrorKind::internal);
  return {static_cast<base::ErrorKind>(std::min(kind, last)),
          text_member(*json, "what", sentence_bytes_max),
          text_member(*json, "why", sentence_bytes_max),
          text_member(*json, "next", sentence_bytes_max)};
}

Json to_json(const api::PullStatus& status, std::string_view kind) {
  return Json::object({{"kind", kind},
                       {"state", api::state_word(status.state)},
                       {"reference", status.reference},
                       {"name", status.name},
                       {"model", status.model},
                       {"bytes_total", status.bytes_total},
                       {"bytes_here", status.bytes_here},
                       {"bytes_per_s", status.bytes_per_s},
                       {"left_ms", status.left_ms},
                       {"resumable", status.resumable},
                       {"error", status.error ? to_json(*status.error) : Json()}});
}

api::PullStatus status_from(const Json& json) {
  api::PullStatus status;
  status.state = api::state_of(text_member(json, "state")).value_or(api::PullStatus::State::none);
  status.reference = text_member(json, "reference", api::pull_reference_bytes_max);
  status.name = text_member(json, "name", name_bytes_max);
  status.model = text_member(json, "model", name_bytes_max);
  status.bytes_total = count_member(json, "bytes_total");
  status.bytes_here = std::min(count_member(json, "bytes_here"), status.bytes_total);
  status.bytes_per_s = count_member(json, "bytes_per_s");
  const Json* left = json.find("left_ms");
  status.left_ms = left && left->is_integer() ? std::max<int64_t>(left->as_integer(), -1) : -1;
  status.resumable = flag_member(json, "resumable");
  const Json* error = json.find("error");
  if (error != nullptr && error->is_object()) status.error = error_from(error);
  return status;
}

Json to_json(const api::PullAnswer& answer) {
  return Json::object({{"kind", "pull_answer"},
                       {"call", static_cast<int64_t>(answer.call)},
                       {"refusal", static_cast<int>(answer.refusal)},
                       {"retry_after_ms", answer.retry_after_ms},
                       {"error", to_json(answer.error)}});
}

Json to_json(const api::Catalogue& catalogue) {
  Json rows = Json::array();
  for (const api::CatalogueRow& row : catalogue.rows) {
    rows.push(Json::object({{"name", row.name},
                            {"short_name", row.short_name},
                            {"reference", row.reference},
                            {"licence", row.licence},
                            {"bytes", row.bytes},
                            {"memory_bytes", row.memory_bytes},
                            {"parameters_b", row.parameters_b},
                            {"tokens_per_s", row.tokens_per_s},
                            {"fits", row.fits},
                            {"from_disk", row.from_disk},
                            {"proposed", row.proposed},
                            {"runs", row.runs},
                            {"installed", row.installed}}));
  }
  return Json::object({{"kind", "listed"},
                       {"memory_bytes", catalogue.memory_bytes},
                       {"free_bytes", catalogue.free_bytes},
                       {"bandwidth_gb_per_s", catalogue.bandwidth_gb_per_s},
                       {"rows", std::move(rows)}});
}

api::Catalogue catalogue_from(const Json& json) {
  api::Catalogue catalogue;
  catalogue.memory_bytes = count_member(json, "memory_bytes");
  catalogue.free_bytes = count_member(json, "free_bytes");
  catalogue.bandwidth_gb_per_s = real_member(json, "bandwidth_gb_per_s");
  const Json* rows = json.find("rows");
  if (rows == nullptr || !rows->is_array()) return catalogue;
  for (const Json& row : rows->as_array()) {
    if (catalogue.rows.size() == api::catalogue_rows_max) break;
    if (!row.is_object()) continue;
    catalogue.rows.push_back(
        {text_member(row, "name", name_bytes_max), text_member(row, "short_name", name_bytes_max),
         text_member(row, "reference", api::pull_reference_bytes_max),
         text_member(row, "licence", name_bytes_max), count_member(row, "bytes"),
         count_member(row, "memory_bytes"), real_member(row, "parameters_b"),
         real_member(row, "tokens_per_s"), flag_member(row, "fits"), flag_member(row, "from_disk"),
         flag_member(row, "proposed"), flag_member(row, "runs"),
         text_member(row, "installed", name_bytes_max)});
  }
  return catalogue;
}

Json catalogue_answer(uint64_t call, const Json& listed) {
  return Json::object(
      {{"kind", "catalogue_answer"}, {"call", static_cast<int64_t>(call)}, {"catalogue", listed}});
}

Json catalogue_refusal(uint64_t call, const base::Error& error) {
  return Json::object({{"kind", "catalogue_answer"},
                       {"call", static_cast<int64_t>(call)},
                       {"error", to_json(error)}});
}

std::optional<api::PullNews> news_from(const Json& json) {
  const std::string kind = text_member(json, "kind");
  const auto call = static_cast<uint64_t>(count_member(json, "call"));
  if (kind == "pull_status") return status_from(json);
  if (kind == "release_engine") return api::EngineWanted{};
  if (kind == "pull_answer") {
    using Refusal = api::PullAnswer::Refusal;
    api::PullAnswer answer;
    answer.call = call;
    answer.refusal = static_cast<Refusal>(
        std::min<int64_t>(count_member(json, "refusal"), static_cast<int64_t>(Refusal::failed)));
    answer.error = error_from(json.find("error"));
    answer.retry_after_ms = count_member(json, "retry_after_ms");
    return answer;
  }
  if (kind != "catalogue_answer") return std::nullopt;
  const Json* catalogue = json.find("catalogue");
  if (catalogue == nullptr || !catalogue->is_object()) {
    return api::CatalogueAnswer{call, base::fail(error_from(json.find("error")))};
  }
  return api::CatalogueAnswer{call, catalogue_from(*catalogue)};
}

}  // namespace app
