// Every parser of a hub's answer on the same bytes; what is accepted is held against the promises
// of listing.h.
#include <cstdint>
#include <cstdlib>

#include "pull/ledger.h"
#include "pull/listing.h"
#include "pull/reference.h"
#include "pull/selection.h"

namespace {

void must(bool condition) {
  if (!condition) std::abort();
}

void check_files(const std::vector<pull::ListedFile>& files) {
  for (const pull::ListedFile& file : files) {
    must(pull::is_safe_path(file.path));
    must(file.sha256.empty() || pull::is_hex(file.sha256, 64));
    must(file.git_sha1.empty() || pull::is_hex(file.git_sha1, 40));
  }
  for (const char* wanted : {"", "Q4_K_M", "a.gguf", "safetensors"}) {
    const auto chosen = pull::select_files(files, "Repo", wanted);
    if (!chosen) continue;
    must(!chosen->files.empty() && !chosen->model.empty());
    for (const pull::SelectedFile& file : chosen->files) must(pull::is_safe_path(file.local));
  }
}

void check_ledger(std::string_view bytes) {
  const auto state = pull::parse_ledger(bytes);
  if (!state) return;
  must(state->bytes_used <= bytes.size() && state->piece_bytes > 0);
  must(state->pieces.size() ==
       (state->identity.size + state->piece_bytes - 1) / state->piece_bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto files = pull::parse_tree(text)) check_files(*files);
  if (const auto layers = pull::parse_manifest(text)) {
    for (const auto& layer : *layers) must(pull::is_hex(layer.sha256, 64));
  }
  if (const auto commit = pull::parse_commit(text)) must(pull::is_hex(*commit, 40));
  if (const auto range = pull::parse_content_range(text)) {
    must(range->first >= 0 && range->first <= range->last);
    must(range->total == -1 || range->last < range->total);
  }
  if (const auto link = pull::next_link(text)) must(link->size() < size);
  if (const auto challenge = pull::parse_challenge(text)) must(!challenge->realm.empty());
  if (const auto token = pull::parse_token(text)) must(token->find('\n') == std::string::npos);
  must(pull::etag_value(text).size() <= 256);
  if (const auto reference = pull::parse_reference(text)) {
    const auto again = pull::parse_reference(reference->text());
    must(again && again->text() == reference->text());
  }
  check_ledger(text);
  return 0;
}
