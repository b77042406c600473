// tokenizer.json of the library `tokenizers`, as far as byte-level BPE goes:
//
//   model {type "BPE", vocab {token: id}, merges ["a b"] or [["a", "b"]], ignore_merges, unk_token,
//          byte_fallback false, dropout none, no prefix or suffix}
//   added_tokens [{id, content, special, lstrip, rstrip, single_word, normalized}]
//   normalizer     null, NFC, or a Sequence of them
//   pre_tokenizer  ByteLevel, Digits, Split{pattern, Isolated}, or a Sequence that ends in
//   ByteLevel post_processor null, ByteLevel, TemplateProcessing, or a Sequence of them
//
// Anything else is `unsupported`, with its name. tokenizer_config.json adds bos_token, eos_token,
// pad_token, add_bos_token, add_eos_token, chat_template; chat_template.jinja goes before that.
//
// Rules: ids are unique, at least 0, below the number of embedding rows (if known) and close
// together; tokens are not empty; an added token that the vocabulary has too has the same text;
// both parts of a merge and its result are tokens; a template of the post-processor names tokens
// that exist.
#include "format/hf_tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "format/hf_config.h"
#include "format/tokenizer_rules.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using base::Json;
using text::PreTokenizerStep;
using text::TokenKind;

constexpr int steps_depth_max = 4;
constexpr size_t steps_max = 64;
constexpr size_t pattern_bytes_max = 64 << 10;

const Json* member(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}
Json* mutable_member(Json& object, std::string_view key) {
  for (auto& [name, value] : object.as_object()) {
    if (name == key && !value.is_null()) return &value;
  }
  return nullptr;
}

tl::unexpected<base::Error> bad(std::string_view field, std::string why,
                                ErrorKind kind = ErrorKind::invalid_input) {
  return fail(kind, fmt::format("tokenizer.json: {}", field), std::move(why));
}

base::Result<bool> flag(const Json& object, std::string_view key, bool absent) {
  const Json* value = member(object, key);
  if (value == nullptr) return absent;
  if (!value->is_bool()) return bad(key, "is not true or false");
  return value->as_bool();
}

// The `type` of a component, or nothing for null.
base::Result<std::string> type_of(const Json& component, std::string_view field) {
  const Json* type = component.is_object() ? component.find("type") : nullptr;
  if (type == nullptr || !type->is_string()) return bad(field, "is not an object with a type");
  return type->as_string();
}

// A literal text as a regular expression.
std::string escaped_pattern(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    if (std::string_view("\\^$.|?*+()[]{}-/").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

class Reader {
 public:
  explicit Reader(HfTokenizerParts parts) : parts_(std::move(parts)) {}

  base::Result<text::TokenizerSpec> run() {
    Json& root = parts_.tokenizer;
    spec_.source = "tokenizer.json";
    if (!root.is_object()) return bad("the file", "is not an object");
    Json* model = mutable_member(root, "model");
    if (model == nullptr || !model->is_object()) return bad("model", "is missing or not an object");
    TRY(check_model(*model));
    const Json* added = member(root, "added_tokens");
    if (added != nullptr && !added->is_array()) return bad("added_tokens", "is not a list");
    TRY(read_vocabulary(*model, added));
    if (added != nullptr) TRY(read_added(*added));
    TRY(read_merges(*model));
    TRY(read_normalizer(member(root, "normalizer"), 0));
    TRY(read_pre_tokenizer(member(root, "pre_tokenizer"), 0));
    if (!byte_level_) {
      return bad("pre_tokenizer", "has no ByteLevel step; only byte-level BPE is supported",
                 ErrorKind::unsupported);
    }
    TRY(read_post_processor(member(root, "post_processor"), 0));
    TRY(read_settings());
    TRY(read_ends());
    return std::move(spec_);
  }

 private:
  base::Result<void> check_model(const Json& model);
  base::Result<void> read_vocabulary(Json& model, const Json* added);
  base::Result<void> read_added(const Json& added);
  base::Result<void> read_added_token(const Json& from, size_t index);
  base::Result<void> read_merges(Json& model);
  base::Result<void> read_merge(Json& merge, size_t rank);
  base::Result<void> read_normalizer(const Json* normalizer, int depth);
  base::Result<void> read_pre_tokenizer(const Json* step, int depth);
  base::Result<void> read_split(const Json& step);
  base::Result<void> read_post_processor(const Json* processor, int depth);
  base::Result<void> read_template(const Json& processor);
  base::Result<int32_t> template_token(const Json& processor, const Json& item) const;
  base::Result<void> read_settings();
  base::Result<int32_t> named_token(std::string_view key) const;
  base::Result<void> read_chat_template(const Json& settings);
  base::Result<void> read_ends();

  int64_t id_limit(size_t entries) const {
    // Ids stand close together in every real file; a table must not grow by one wild id.
    const int64_t spread = static_cast<int64_t>(2 * entries + 65536);
    const int64_t rows = static_cast<int64_t>(parts_.embedding_rows);
    return std::min<int64_t>({spread, rows == 0 ? spread : rows, static_cast<int64_t>(tokens_max)});
  }
  int32_t id_of(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? -1 : found->second;
  }

  HfTokenizerParts parts_;
  text::TokenizerSpec spec_;
  std::unordered_map<std::string_view, int32_t> ids_;  // views into spec_.tokens
  bool byte_level_ = false;
};

base::Result<void> Reader::check_model(const Json& model) {
  ASSIGN(const std::string type, type_of(model, "model"));
  if (type != "BPE") {
    return bad("model.type", base::shown_name(type) + " is not supported; BPE is",
               ErrorKind::unsupported);
  }
  ASSIGN(const bool fallback, flag(model, "byte_fallback", false));
  if (fallback) return bad("model.byte_fallback", "is not supported", ErrorKind::unsupported);
  ASSIGN(spec_.ignore_merges, flag(model, "ignore_merges", false));
  const Json* dropout = member(model, "dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->as_number() == 0)) {
    return bad("model.dropout", "is not supported: encoding must not be random",
               ErrorKind::unsupported);
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json* affix = member(model, key);
    if (affix != nullptr && !(affix->is_string() && affix->as_string().empty())) {
      return bad(fmt::format("model.{}", key), "is not supported", ErrorKind::unsupported);
    }
  }
  return {};
}

base::Result<void> Reader::read_vocabulary(Json& model, const Json* added) {
  Json* vocab = mutable_member(model, "vocab");
  if (vocab == nullptr || !vocab->is_object() || vocab->as_object().empty()) {
    return bad("model.vocab", "is missing or not an object of tokens");
  }
  const size_t entries =
      vocab->as_object().size() + (added == nullptr ? 0 : added->as_array().size());
  const int64_t limit = id_limit(entries);
  int64_t last = -1;
  for (const auto& [token, id] : vocab->as_object()) {
    if (!id.is_integer() || id.as_integer() < 0 || id.as_integer() >= limit) {
      return bad("model.vocab", fmt::format("the id of {} is not a whole number below {}",
                                            base::shown_name(token), limit));
    }
    if (token.empty()) return bad("model.vocab", "the empty string is a token");
    if (token.size() > token_bytes_max) {
      return bad("model.vocab",
                 fmt::format("token {} is longer than {} bytes", id.as_integer(), token_bytes_max));
    }
    last = std::max(last, id.as_integer());
  }
  // Room for the added tokens now, so that the views in ids_ stay valid.
  for (const Json& token : added == nullptr ? Json::Array{} : added->as_array()) {
    const Json* id = token.find("id");
    if (id == nullptr || !id->is_integer() || id->as_integer() < 0 || id->as_integer() >= limit) {
      return bad("added_tokens", fmt::format("an id is not a whole number below {}", limit));
    }
    last = std::max(last, id->as_integer());
  }
  spec_.tokens.resize(static_cast<size_t>(last) + 1);
  spec_.kinds.assign(spec_.tokens.size(), TokenKind::unused);
  for (auto& [token, id] : vocab->as_object()) {
    const auto place = static_cast<size_t>(id.as_integer());
    if (spec_.kinds[place] != TokenKind::unused) {
      return bad("model.vocab", fmt::format("two tokens have the id {}", place));
    }
    spec_.tokens[place] = std::move(token);
    spec_.kinds[place] = TokenKind::normal;
  }
  *vocab = Json();
  ids_.reserve(entries);
  for (size_t id = 0; id < spec_.tokens.size(); ++id) {
    if (spec_.kinds[id] != TokenKind::unused) ids_.emplace(spec_.tokens[id], id);
  }
  const Json* unknown = member(model, "unk_token");
  if (unknown != nullptr) {
    if (!unknown->is_string()) return bad("model.unk_token", "is not a string");
    spec_.unknown_id = id_of(unknown->as_string());
  }
  return {};
}

base::Result<void> Reader::read_added(const Json& added) {
  for (size_t i = 0; i < added.as_array().size(); ++i) {
    TRY(read_added_token(added.as_array()[i], i));
  }
  return {};
}

base::Result<void> Reader::read_added_token(const Json& from, size_t index) {
  const std::string field = fmt::format("added_tokens[{}]", index);
  const Json* content = from.find("content");
  if (content == nullptr || !content->is_string()) return bad(field, "has no content");
  text::AddedToken token;
  token.content = content->as_string();
  if (token.content.empty() || token.content.size() > token_bytes_max) {
    return bad(field, "its content is empty or too long");
  }
  token.id = static_cast<int32_t>(from.find("id")->as_integer());  // checked by read_vocabulary
  ASSIGN(token.special, flag(from, "special", false));
  ASSIGN(token.lstrip, flag(from, "lstrip", false));
  ASSIGN(token.rstrip, flag(from, "rstrip", false));
  ASSIGN(token.single_word, flag(from, "single_word", false));
  ASSIGN(token.normalized, flag(from, "normalized", !token.special));
  const auto place = static_cast<size_t>(token.id);
  if (spec_.kinds[place] != TokenKind::unused && spec_.tokens[place] != token.content) {
    return bad(field, fmt::format("its id {} is also that of another token", place));
  }
  const int32_t other = id_of(token.content);
  if (other >= 0 && other != token.id) {
    return bad(field, fmt::format("its content has the id {} too", other));
  }
  if (spec_.kinds[place] == TokenKind::control || spec_.kinds[place] == TokenKind::user_defined) {
    return bad(field, fmt::format("the id {} stands there twice", place));
  }
  const bool control = token.special || has_control_shape(token.content);
  spec_.tokens[place] = token.content;
  spec_.kinds[place] = control ? TokenKind::control : TokenKind::user_defined;
  if (other < 0) ids_.emplace(spec_.tokens[place], token.id);
  spec_.added.push_back(std::move(token));
  return {};
}

base::Result<void> Reader::read_merges(Json& model) {
  Json* merges = mutable_member(model, "merges");
  if (merges == nullptr || !merges->is_array()) return bad("model.merges", "is no list");
  if (merges->as_array().size() > merges_max) {
    return bad("model.merges", fmt::format("has more than {} entries", merges_max),
               ErrorKind::limit_exceeded);
  }
  spec_.merges.reserve(merges->as_array().size());
  for (size_t rank = 0; rank < merges->as_array().size(); ++rank) {
    TRY(read_merge(merges->as_array()[rank], rank));
  }
  *merges = Json();
  return {};
}

base::Result<void> Reader::read_merge(Json& merge, size_t rank) {
  const std::string field = fmt::format("model.merges[{}]", rank);
  std::string left, right;
  if (merge.is_string()) {
    const std::string& both = merge.as_string();
    const size_t space = both.find(' ');
    if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos) {
      return bad(field, "is not two parts around one space");
    }
    left = both.substr(0, space);
    right = both.substr(space + 1);
  } else if (merge.is_array() && merge.as_array().size() == 2 && merge.as_array()[0].is_string() &&
             merge.as_array()[1].is_string()) {
    left = merge.as_array()[0].as_string();
    right = merge.as_array()[1].as_string();
  } else {
    return bad(field, "is neither \"a b\" nor [\"a\", \"b\"]");
  }
  if (left.empty() || right.empty()) return bad(field, "has an empty part");
  for (const std::string& part : {left, right, left + right}) {
    if (id_of(part) < 0) {
      return bad(field, base::shown_name(part) + " is not in the vocabulary");
    }
  }
  spec_.merges.emplace_back(std::move(left), std::move(right));
  return {};
}

base::Result<void> Reader::read_normalizer(const Json* normalizer, int depth) {
  if (normalizer == nullptr) return {};
  ASSIGN(const std::string type, type_of(*normalizer, "normalizer"));
  if (type == "NFC") {
    spec_.normalizer_nfc = true;
    return {};
  }
  const Json* list = normalizer->find("normalizers");
  if (type == "Sequence" && depth < steps_depth_max && list != nullptr && list->is_array()) {
    for (const Json& each : list->as_array()) TRY(read_normalizer(&each, depth + 1));
    return {};
  }
  return bad("normalizer", base::shown_name(type) + " is not supported; NFC is",
             ErrorKind::unsupported);
}

base::Result<void> Reader::read_pre_tokenizer(const Json* step, int depth) {
  if (step == nullptr) return {};
  ASSIGN(const std::string type, type_of(*step, "pre_tokenizer"));
  if (byte_level_) {
    return bad("pre_tokenizer", "a step follows ByteLevel", ErrorKind::unsupported);
  }
  if (spec_.pre_tokenizer.size() >= steps_max) {
    return bad("pre_tokenizer", fmt::format("has more than {} steps", steps_max),
               ErrorKind::limit_exceeded);
  }
  if (type == "Sequence") {
    const Json* list = step->find("pretokenizers");
    if (depth >= steps_depth_max || list == nullptr || !list->is_array()) {
      return bad("pre_tokenizer", "a Sequence is too deep or has no list");
    }
    for (const Json& each : list->as_array()) TRY(read_pre_tokenizer(&each, depth + 1));
    return {};
  }
  if (type == "Split") return read_split(*step);
  if (type == "Digits") {
    ASSIGN(const bool individual, flag(*step, "individual_digits", false));
    spec_.pre_tokenizer.push_back({individual ? PreTokenizerStep::Kind::digits_individual
                                              : PreTokenizerStep::Kind::digits_together,
                                   ""});
    return {};
  }
  if (type == "ByteLevel") {
    ASSIGN(const bool prefix, flag(*step, "add_prefix_space", true));
    if (prefix) {
      return bad("pre_tokenizer.add_prefix_space", "true is not supported", ErrorKind::unsupported);
    }
    ASSIGN(const bool regex, flag(*step, "use_regex", true));
    if (regex) spec_.pre_tokenizer.push_back({PreTokenizerStep::Kind::byte_level_gpt2, ""});
    byte_level_ = true;
    return {};
  }
  return bad("pre_tokenizer", base::shown_name(type) + " is not supported", ErrorKind::unsupported);
}

base::Result<void> Reader::read_split(const Json& step) {
  const Json* pattern = step.find("pattern");
  const Json* regex = pattern == nullptr ? nullptr : pattern->find("Regex");
  const Json* literal = pattern == nullptr ? nullptr : pattern->find("String");
  const Json* given = regex != nullptr ? regex : literal;
  if (given == nullptr || !given->is_string() || given->as_string().empty()) {
    return bad("pre_tokenizer", "a Split has no pattern");
  }
  if (given->as_string().size() > pattern_bytes_max) {
    return bad("pre_tokenizer", fmt::format("a pattern is longer than {} bytes", pattern_bytes_max),
               ErrorKind::limit_exceeded);
  }
  const Json* behavior = step.find("behavior");
  ASSIGN(const bool invert, flag(step, "invert", false));
  if (behavior == nullptr || !behavior->is_string() || behavior->as_string() != "Isolated" ||
      invert) {
    return bad("pre_tokenizer", "a Split is not \"Isolated\", or inverted", ErrorKind::unsupported);
  }
  spec_.pre_tokenizer.push_back(
      {PreTokenizerStep::Kind::split_isolated,
       regex != nullptr ? given->as_string() : escaped_pattern(given->as_string())});
  return {};
}

base::Result<void> Reader::read_post_processor(const Json* processor, int depth) {
  if (processor == nullptr) return {};
  ASSIGN(const std::string type, type_of(*processor, "post_processor"));
  if (type == "ByteLevel") return {};  // it only trims offsets
  if (type == "TemplateProcessing") return read_template(*processor);
  const Json* list = processor->find("processors");
  if (type == "Sequence" && depth < steps_depth_max && list != nullptr && list->is_array()) {
    for (const Json& each : list->as_array()) TRY(read_post_processor(&each, depth + 1));
    return {};
  }
  return bad("post_processor", base::shown_name(type) + " is not supported",
             ErrorKind::unsupported);
}

// The id of a SpecialToken of a template, by its table of special tokens.
base::Result<int32_t> Reader::template_token(const Json& processor, const Json& item) const {
  const Json* special = item.find("SpecialToken");
  const Json* name = special == nullptr ? nullptr : special->find("id");
  const Json* table = processor.find("special_tokens");
  if (name == nullptr || !name->is_string() || table == nullptr) {
    return bad("post_processor.single", "an entry is neither a sequence nor a special token");
  }
  const Json* entry = table->find(name->as_string());
  const Json* ids = entry == nullptr ? nullptr : entry->find("ids");
  if (ids == nullptr || !ids->is_array() || ids->as_array().size() != 1 ||
      !ids->as_array()[0].is_integer()) {
    return bad("post_processor.special_tokens",
               base::shown_name(name->as_string()) + " is not there with one id");
  }
  const int64_t id = ids->as_array()[0].as_integer();
  if (id < 0 || id >= static_cast<int64_t>(spec_.tokens.size()) ||
      spec_.kinds[static_cast<size_t>(id)] == TokenKind::unused) {
    return bad("post_processor.special_tokens", fmt::format("{} is not a token", id));
  }
  return static_cast<int32_t>(id);
}

base::Result<void> Reader::read_template(const Json& processor) {
  const Json* single = processor.find("single");
  if (single == nullptr || !single->is_array()) {
    return bad("post_processor.single", "is not a list");
  }
  std::vector<int32_t> before, after;
  int sequences = 0;
  for (const Json& item : single->as_array()) {
    if (item.find("Sequence") != nullptr) {
      ++sequences;
      continue;
    }
    ASSIGN(const int32_t id, template_token(processor, item));
    (sequences == 0 ? before : after).push_back(id);
  }
  if (sequences != 1 || before.size() > 1 || after.size() > 1) {
    return bad("post_processor.single",
               "only one token before and one after the text are supported",
               ErrorKind::unsupported);
  }
  if (!before.empty()) {
    spec_.add_bos = true;
    spec_.bos_id = before[0];
  }
  if (!after.empty()) {
    spec_.add_eos = true;
    spec_.eos_id = after[0];
  }
  return {};
}

// bos_token and its like: a string, or an object with `content`. -1 if not stated.
base::Result<int32_t> Reader::named_token(std::string_view key) const {
  const Json* value = member(parts_.tokenizer_config, key);
  if (value != nullptr && value->is_object()) value = member(*value, "content");
  if (value == nullptr) return -1;
  if (!value->is_string()) {
    return fail(ErrorKind::invalid_input, fmt::format("tokenizer_config.json: key \"{}\"", key),
                "is not a string");
  }
  return id_of(value->as_string());
}

base::Result<void> Reader::read_chat_template(const Json& settings) {
  std::string& source = spec_.chat_template;
  source = std::move(parts_.chat_template);
  const Json* given = member(settings, "chat_template");
  if (source.empty() && given != nullptr) {
    if (given->is_string()) {
      source = given->as_string();
    } else if (given->is_array()) {
      for (const Json& each : given->as_array()) {
        const Json* name = each.find("name");
        const Json* text = each.find("template");
        if (name != nullptr && text != nullptr && name->is_string() && text->is_string() &&
            name->as_string() == "default") {
          source = text->as_string();
        }
      }
    } else {
      return fail(ErrorKind::invalid_input, "tokenizer_config.json: key \"chat_template\"",
                  "is neither a string nor a list of named templates");
    }
  }
  if (source.size() > chat_template_bytes_max) {
    return fail(
        ErrorKind::limit_exceeded, "the chat template of the directory",
        fmt::format("has {} bytes, at most {} are read", source.size(), chat_template_bytes_max));
  }
  return {};
}

base::Result<void> Reader::read_settings() {
  const Json& settings = parts_.tokenizer_config;
  if (!settings.is_null() && !settings.is_object()) {
    return fail(ErrorKind::invalid_input, "tokenizer_config.json: is not an object");
  }
  ASSIGN(const int32_t bos, named_token("bos_token"));
  ASSIGN(const int32_t eos, named_token("eos_token"));
  ASSIGN(spec_.pad_id, named_token("pad_token"));
  if (bos >= 0 && !spec_.add_bos) spec_.bos_id = bos;
  if (eos >= 0 && !spec_.add_eos) spec_.eos_id = eos;
  // The class of Llama's fast tokenizer sets the template of the post-processor by these two keys;
  // the other classes leave it as tokenizer.json has it.
  const Json* name = member(settings, "tokenizer_class");
  const bool by_keys =
      name != nullptr && name->is_string() && name->as_string().starts_with("LlamaTokenizer");
  for (const auto& [key, target, id] :
       {std::tuple("add_bos_token", &spec_.add_bos, spec_.bos_id),
        std::tuple("add_eos_token", &spec_.add_eos, spec_.eos_id)}) {
    const Json* value = member(settings, key);
    if (value == nullptr) continue;
    if (!value->is_bool()) {
      return fail(ErrorKind::invalid_input, fmt::format("tokenizer_config.json: key \"{}\"", key),
                  "is not true or false");
    }
    if (by_keys) *target = value->as_bool() && id >= 0;
  }
  return read_chat_template(settings);
}

base::Result<void> Reader::read_ends() {
  // config.json counts rows of the embedding, which may be more than there are tokens.
  const int64_t rows = parts_.embedding_rows == 0 ? static_cast<int64_t>(spec_.tokens.size())
                                                  : static_cast<int64_t>(parts_.embedding_rows);
  add_end(spec_, spec_.eos_id);
  for (const auto& [object, file] : {std::pair(&parts_.config, "config.json"),
                                     std::pair(&parts_.generation, "generation_config.json")}) {
    ASSIGN(const auto ends, read_token_ids(*object, file, "eos_token_id", rows));
    for (const int64_t id : ends) add_end(spec_, id);
    if (spec_.bos_id < 0) {
      ASSIGN(const auto begins, read_token_ids(*object, file, "bos_token_id", rows));
      if (begins.size() == 1 && begins[0] < static_cast<int64_t>(spec_.tokens.size())) {
        spec_.bos_id = static_cast<int32_t>(begins[0]);
      }
    }
  }
  if (spec_.eos_id < 0 && !spec_.end_ids.empty()) spec_.eos_id = spec_.end_ids.front();
  add_known_ends(spec_);
  return {};
}

}  // namespace

base::Result<text::TokenizerSpec> read_hf_tokenizer(HfTokenizerParts parts) {
  return Reader(std::move(parts)).run();
}

}  // namespace format
