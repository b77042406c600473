// Which files of a repository make the model that was asked for, and what they are called here.
// A list in, a choice out; nothing is looked up.
//
// A selector is a file ("R1-Q4_K_M.gguf", with its split parts), a quantisation ("Q4_K_M"), the
// word "safetensors", or nothing: then the Hugging Face folder if the repository is one, else its
// only GGUF file, else the one in Q4_K_M.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pull/listing.h"

namespace pull {

struct SelectedFile {
  ListedFile from;
  std::string local;  // below the models directory: "R1.gguf", "R1-Folder/config.json"
};

struct Selection {
  std::string model;  // the name it is run by
  // In the order to fetch: the file by which the model is recognised on the disk comes last, so
  // that a model that is there is whole.
  std::vector<SelectedFile> files;
};

// `repository`: its name without the owner. Errors name what there is to choose from.
base::Result<Selection> select_files(const std::vector<ListedFile>& files,
                                     std::string_view repository, std::string_view selector);

// "R1-00002-of-00003.gguf": stem "R1", number 2, count 3; count 0: not split.
struct SplitName {
  std::string stem;
  int number = 0, count = 0;
};
SplitName split_name(std::string_view file);
// All names of the set that `path` belongs to, in order; only `path` if it is not split.
std::vector<std::string> split_set(const std::string& path);

// The same selection under another name of the model.
void rename_model(Selection& selection, const std::string& model);

}  // namespace pull
