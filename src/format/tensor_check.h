// Judges the tensors of a model one by one against what its numbers imply, and counts what it has
// judged. decoder_check.cc and deepseek_check.cc say which tensors there must be.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "format/model_files.h"

namespace format {

class TensorCheck {
 public:
  // `file` stands in errors: where the numbers come from.
  TensorCheck(const ModelFiles& files, std::string_view file, std::string_view architecture)
      : files_(files), file_(file), architecture_(architecture) {}

  static std::string layer_name(int layer, std::string_view rest);

  // A weight of a linear map (rows, columns), of any type that can be decoded.
  base::Result<void> matrix(const std::string& name, int64_t rows, int64_t columns);
  // `count` of them, stacked; a token is multiplied with `used`.
  base::Result<void> stacked(const std::string& name, int64_t count, int64_t rows, int64_t columns,
                             int64_t used);
  // Norms, biases, routers: small and kept in f32, so only plain floats are taken.
  base::Result<void> vector(const std::string& name, int64_t length);
  base::Result<void> small_matrix(const std::string& name, int64_t rows, int64_t columns);
  // Of a part that ids are not multiplied with (pictures): any number of dimensions.
  enum class Types : uint8_t { decodable, plain };
  base::Result<void> aside(const std::string& name, const std::vector<int64_t>& shape, Types types);
  // An error if it is there: it would change what the decoder computes.
  base::Result<void> refuse(const std::string& name) const;

  bool has(const std::string& name) const { return files_.find(name) != nullptr; }
  tl::unexpected<base::Error> bad(std::string what, std::string why,
                                  base::ErrorKind kind = base::ErrorKind::invalid_input) const;

  // What is judged while one of these lives does not count (MTP layers, second forms of the same
  // weights).
  class Pause {
   public:
    explicit Pause(TensorCheck& check) : check_(check), before_(check.counting_) {
      check_.counting_ = false;
    }
    ~Pause() { check_.counting_ = before_; }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;

   private:
    TensorCheck& check_;
    bool before_;
  };
  uint64_t parameters() const { return parameters_; }
  uint64_t parameters_active() const { return parameters_active_; }
  // The type that most weights of matrices are stored in, as people call it.
  std::string commonest_type() const;

 private:
  base::Result<const TensorInfo*> required(const std::string& name,
                                           const std::vector<int64_t>& shape);
  base::Result<void> decodable(const TensorInfo& tensor) const;
  base::Result<void> plain(const TensorInfo& tensor) const;
  void count(const TensorInfo& tensor, bool in_type, int64_t of = 1, int64_t used = 1);

  const ModelFiles& files_;
  std::string_view file_, architecture_;
  bool counting_ = true;
  uint64_t parameters_ = 0, parameters_active_ = 0;
  std::map<tensor::Dtype, uint64_t> elements_by_type_;
};

}  // namespace format
