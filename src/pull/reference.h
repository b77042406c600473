// What a person asks `nautile pull` for. Text in, parts out; nothing is looked up here.
//
//   hf:ORG/REPO[@REVISION][:FILE or QUANT]    hf:org/R1-GGUF:Q4_K_M
//   ollama:[NAMESPACE/]MODEL[:TAG]            ollama:deepseek-r1:7b
//   file:PATH                                 file:./model.gguf, file:/media/usb/Folder
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace pull {

struct Reference {
  enum class Kind : uint8_t { hugging_face, ollama, file };
  Kind kind = Kind::file;
  std::string owner;     // ORG or NAMESPACE
  std::string name;      // REPO or MODEL
  std::string revision;  // "main", or the tag: "latest"
  std::string selector;  // a file of the repository, or a quantisation; may be empty
  std::string path;      // of file:

  std::string text() const;  // as it could be typed
  std::string repository() const { return owner + "/" + name; }
};

// wrong_usage with the forms above when it is none of them.
base::Result<Reference> parse_reference(std::string_view text);

}  // namespace pull
