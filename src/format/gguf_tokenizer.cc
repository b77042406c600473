// The keys (all under tokenizer.ggml. unless shown whole):
//
//   model string: "gpt2", byte-level BPE; any other is not supported
//   pre string: the name of the pre-tokenizer; absent or "default" in old files
//   tokens [string] · token_type [i32] (1 normal 2 unknown 3 control 4 user-defined 5 unused 6
//   byte) merges [string] "a b" · {bos,eos,eot,eom,unknown,padding}_token_id · add_{bos,eos}_token
//   bool tokenizer.chat_template string
//
// Rules: tokens are UTF-8 and no more than the embedding has rows; token_type, if there, has as
// many entries; ids name a token, or are -1 (none); a merge is two non-empty parts around one
// space.
#include "format/gguf_tokenizer.h"

#include "base/bytes.h"
#include "format/tokenizer_rules.h"

namespace format {
namespace {

using base::ErrorKind;
using base::fail;
using text::TokenKind;

class Reader {
 public:
  Reader(const GgufHeader& header, uint64_t embedding_rows)
      : header_(header), embedding_rows_(embedding_rows) {}

  base::Result<text::TokenizerSpec> run() {
    ASSIGN(const auto model, header_.text("tokenizer.ggml.model"));
    if (!model) return bad("tokenizer.ggml.model", "is missing");
    if (*model != "gpt2") {
      return bad("tokenizer.ggml.model",
                 base::shown_name(*model) + " is not supported; byte-level BPE (\"gpt2\") is",
                 ErrorKind::unsupported);
    }
    spec_.source = header_.file();
    TRY(read_tokens());
    TRY(read_kinds());
    TRY(read_merges());
    TRY(read_ids());
    TRY(read_pre_tokenizer());
    TRY(read_template());
    add_tokens_of_kind();
    add_known_ends(spec_);
    return std::move(spec_);
  }

 private:
  tl::unexpected<base::Error> bad(std::string_view key, std::string why,
                                  ErrorKind kind = ErrorKind::invalid_input) const {
    return fail(kind, fmt::format("{}: key \"{}\"", header_.file(), key), std::move(why));
  }

  base::Result<void> read_tokens() {
    const std::string_view key = "tokenizer.ggml.tokens";
    ASSIGN(const auto tokens, header_.texts(key));
    if (!tokens || tokens->empty()) return bad(key, "is missing or empty");
    if (tokens->size() > tokens_max) {
      return bad(key,
                 fmt::format("has {} entries, at most {} are read", tokens->size(), tokens_max),
                 ErrorKind::limit_exceeded);
    }
    if (embedding_rows_ != 0 && tokens->size() > embedding_rows_) {
      return bad(key, fmt::format("has {} entries, the embedding has {} rows", tokens->size(),
                                  embedding_rows_));
    }
    spec_.tokens.reserve(tokens->size());
    for (size_t id = 0; id < tokens->size(); ++id) {
      const std::string_view token = (*tokens)[id];
      if (token.size() > token_bytes_max || !base::is_utf8(token)) {
        return bad(
            key, fmt::format("token {} is not UTF-8 or longer than {} bytes", id, token_bytes_max));
      }
      spec_.tokens.emplace_back(token);
    }
    return {};
  }

  base::Result<void> read_kinds() {
    const std::string_view key = "tokenizer.ggml.token_type";
    ASSIGN(const auto kinds, header_.integers(key));
    spec_.kinds.assign(spec_.tokens.size(), TokenKind::normal);
    if (!kinds) return {};
    if (kinds->size() != spec_.tokens.size()) {
      return bad(key,
                 fmt::format("has {} entries for {} tokens", kinds->size(), spec_.tokens.size()));
    }
    for (size_t id = 0; id < kinds->size(); ++id) {
      const int64_t kind = (*kinds)[id];
      if (kind < 1 || kind > 6) {
        return bad(key, fmt::format("entry {} is {}; 1 to 6 are known", id, kind));
      }
      spec_.kinds[id] = static_cast<TokenKind>(kind);
    }
    return {};
  }

  base::Result<void> read_merges() {
    const std::string_view key = "tokenizer.ggml.merges";
    ASSIGN(const auto merges, header_.texts(key));
    if (!merges) return bad(key, "is missing");
    if (merges->size() > merges_max) {
      return bad(key, fmt::format("has more than {} entries", merges_max),
                 ErrorKind::limit_exceeded);
    }
    spec_.merges.reserve(merges->size());
    for (size_t rank = 0; rank < merges->size(); ++rank) {
      const std::string_view merge = (*merges)[rank];
      const size_t space = merge.find(' ');
      if (space == std::string_view::npos || space == 0 || space + 1 == merge.size() ||
          merge.find(' ', space + 1) != std::string_view::npos || merge.size() > token_bytes_max ||
          !base::is_utf8(merge)) {
        return bad(key, fmt::format("entry {} is not two parts around one space", rank));
      }
      spec_.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
    return {};
  }

  // -1 in any width means that there is none.
  base::Result<int32_t> read_id(std::string_view name) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
    ASSIGN(const auto id, header_.integer(key));
    if (!id || *id == -1 || *id == 0xffffffff) return -1;
    if (*id < 0 || *id >= static_cast<int64_t>(spec_.tokens.size())) {
      return bad(key, fmt::format("is {}, there are {} tokens", *id, spec_.tokens.size()));
    }
    return static_cast<int32_t>(*id);
  }

  base::Result<void> read_ids() {
    ASSIGN(spec_.bos_id, read_id("bos"));
    ASSIGN(spec_.eos_id, read_id("eos"));
    ASSIGN(spec_.unknown_id, read_id("unknown"));
    ASSIGN(spec_.pad_id, read_id("padding"));
    add_end(spec_, spec_.eos_id);
    for (const std::string_view name : {"eot", "eom"}) {
      ASSIGN(const int32_t id, read_id(name));
      add_end(spec_, id);
    }
    return {};
  }

  base::Result<void> read_pre_tokenizer() {
    ASSIGN(const auto name, header_.text("tokenizer.ggml.pre"));
    if (!name || name->empty() || *name == "default") {
      guess_pre_tokenizer(spec_);
    } else {
      spec_.pre_tokenizer_name = *name;
      if (*name == "llama3" || *name == "llama-v3") spec_.pre_tokenizer_name = "llama-bpe";
    }
    const bool llama3 = spec_.pre_tokenizer_name == "llama-bpe";
    // Not stated by any key: Llama 3 takes a piece that is a token whole, without its merges.
    spec_.ignore_merges = llama3;
    ASSIGN(const auto add_bos, header_.boolean("tokenizer.ggml.add_bos_token"));
    ASSIGN(const auto add_eos, header_.boolean("tokenizer.ggml.add_eos_token"));
    spec_.add_bos = add_bos.value_or(llama3) && spec_.bos_id >= 0;
    spec_.add_eos = add_eos.value_or(false) && spec_.eos_id >= 0;
    return {};
  }

  base::Result<void> read_template() {
    const std::string_view key = "tokenizer.chat_template";
    ASSIGN(auto source, header_.text(key));
    if (!source) return {};
    if (source->size() > chat_template_bytes_max) {
      return bad(
          key,
          fmt::format("has {} bytes, at most {} are read", source->size(), chat_template_bytes_max),
          ErrorKind::limit_exceeded);
    }
    if (!base::is_utf8(*source)) return bad(key, "is not UTF-8");
    spec_.chat_template = std::move(*source);
    return {};
  }

  // Control and user-defined tokens are literal text and are matched before the pre-tokenizer.
  void add_tokens_of_kind() {
    for (size_t id = 0; id < spec_.tokens.size(); ++id) {
      const TokenKind kind = spec_.kinds[id];
      if (kind != TokenKind::control && kind != TokenKind::user_defined) continue;
      if (spec_.tokens[id].empty()) continue;
      text::AddedToken added;
      added.id = static_cast<int32_t>(id);
      added.content = spec_.tokens[id];
      added.special = kind == TokenKind::control;
      spec_.added.push_back(std::move(added));
    }
  }

  const GgufHeader& header_;
  uint64_t embedding_rows_;
  text::TokenizerSpec spec_;
};

}  // namespace

base::Result<text::TokenizerSpec> read_gguf_tokenizer(const GgufHeader& header,
                                                      uint64_t embedding_rows) {
  return Reader(header, embedding_rows).run();
}

}  // namespace format
