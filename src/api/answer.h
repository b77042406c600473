// Answer: one public request (chat or completion) from the queue to its last byte. It owns the
// sequences that the request asked for, and streams or collects them (patient_answer.h).
//
// Threads: loop thread only.
#pragma once

#include <memory>
#include <vector>

#include "api/patient_answer.h"
#include "api/requests.h"
#include "api/wire.h"

namespace api {

// How the events of one request look on the wire: chat (chat_form.cc) or text completion.
class AnswerForm {
 public:
  virtual ~AnswerForm() = default;
  // Frames for a stream, ready to be written; empty: nothing to say.
  virtual std::string opening(int index) = 0;
  virtual std::string prompt(int index, const engine::PromptToken& token) = 0;
  virtual std::string delta(int index, const engine::Delta& delta) = 0;
  virtual std::string ending(int index, const engine::End& end) = 0;
  virtual std::string usage(const UsageTotals& usage) = 0;
  virtual base::Json whole(const std::vector<SequenceResult>& sequences,
                           const UsageTotals& usage) = 0;
};

std::unique_ptr<AnswerForm> make_chat_form(AnswerIdentity identity, const CommonFields& common);
std::unique_ptr<AnswerForm> make_completion_form(AnswerIdentity identity,
                                                 const CompletionRequest& request);

class Answer final : public PatientAnswer {
 public:
  // `requests`: one for each sequence, `per_prompt` neighbours share a prompt.
  Answer(Context& context, std::shared_ptr<net::Exchange> exchange,
         std::unique_ptr<AnswerForm> form, const CommonFields& common, std::string model);
  void start(std::vector<engine::Request> requests, int per_prompt);

 private:
  struct Sequence {
    SequenceResult result;
    uint64_t engine_id = 0;
    int tokens_max = -1;
    int64_t first_token_ms = -1, last_token_ms = -1;
    bool opened = false;
  };

  void on_event(int index, const engine::Event& event);
  void on_delta(int index, const engine::Delta& delta);
  void on_end(int index, const engine::End& end);
  void open(int index);
  void finish();
  void cancel_all() override;
  void record(const Sequence& sequence, const engine::End& end);
  UsageTotals totals() const;

  std::unique_ptr<AnswerForm> form_;
  std::string model_;
  bool include_usage_;
  int per_prompt_ = 1;
  std::vector<Sequence> sequences_;
  int ended_ = 0;
};

}  // namespace api
