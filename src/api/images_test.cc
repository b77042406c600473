// Pictures in and out of the public API, with an engine that does what the test says.
#include "api/images.h"

#include "api/bench_for_test.h"
#include "api/images_request.h"
#include "api/picture_parts.h"
#include "api/requests.h"
#include "api/site.h"
#include "api/sketch_png.h"
#include "base/base64.h"

namespace api {
namespace {

class ImagesTest : public Bench {
 protected:
  void SetUp() override {
    Bench::SetUp();
    engine::ModelStatus janus;
    janus.id = "janus";
    janus.context_tokens = 4096;
    janus.loaded = true;
    janus.sees = true;
    janus.picture_tokens = 576;
    janus.drawn_side = 384;
    engine_.models_.push_back(janus);
  }
  std::shared_ptr<FakeExchange> draw(const std::string& fields = "") {
    return send("POST", "/v1/images/generations",
                R"({"prompt":"a lighthouse")" + (fields.empty() ? "" : "," + fields) + "}");
  }
  void refused(const std::string& fields, const std::string& param, const std::string& part) {
    auto exchange = draw(fields);
    ASSERT_EQ(exchange->status, 400) << fields << exchange->body;
    const base::Json error = *exchange->json().find("error");
    EXPECT_EQ(error.find("param")->as_string(), param) << fields;
    EXPECT_NE(error.find("message")->as_string().find(part), std::string::npos) << exchange->body;
  }
  static engine::SketchRow row(int picture, int row, int rows = 24) {
    engine::SketchRow out;
    out.picture = picture;
    out.row = row;
    out.rows = rows;
    out.colours.assign(static_cast<size_t>(rows) * 3, static_cast<char>(row));
    return out;
  }
  static engine::Drawn drawn(int picture, uint64_t seed) {
    engine::Drawn out;
    out.picture = picture;
    out.seed = seed;
    out.png = "PNG" + std::to_string(picture);
    out.codes.assign(576, 1);
    return out;
  }
  static engine::End drawn_end(int pictures) {
    engine::End out;
    out.usage.prompt_tokens = 12;
    out.usage.completion_tokens = 576 * pictures;
    return out;
  }
  static std::string text(const base::Json& json, const char* key) {
    return json.find(key)->as_string();
  }
  // A chat with one picture between two texts.
  std::shared_ptr<FakeExchange> ask(const std::string& model, const std::string& url,
                                    const std::string& more = "") {
    return send("POST", "/v1/chat/completions",
                R"({"model":")" + model + R"(","messages":[{"role":"user","content":[)" +
                    R"({"type":"text","text":"é"},{"type":"image_url","image_url":{"url":")" + url +
                    R"("}},{"type":"text","text":"What is it?"}]}])" + more + "}");
  }
};

TEST_F(ImagesTest, PicturesInOneAnswer) {
  auto exchange = draw(R"("n":2,"size":"384x384","seed":7,"guidance":3.5,"temperature":0.5)");
  until_started(1);
  const engine::Request request = engine_.started(0).request;
  EXPECT_EQ(request.model, "janus") << "the first that draws, though another comes first";
  const auto& prompt = std::get<engine::DrawPrompt>(request.prompt);
  EXPECT_EQ(prompt.text, "a lighthouse");
  EXPECT_EQ(prompt.pictures, 2);
  EXPECT_EQ(prompt.guidance, 3.5);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.seed, 7u);
  emit(0, engine::Queued{1, 0, 0});
  emit(0, engine::Reading{12, 12, 0});
  emit(0, row(0, 0));
  emit(0, drawn(1, 8));
  emit(0, drawn(0, 7));
  EXPECT_FALSE(exchange->answered());
  emit(0, drawn_end(2));
  ASSERT_EQ(exchange->status, 200);
  const base::Json body = exchange->json();
  EXPECT_EQ(text(body, "size"), "384x384");
  EXPECT_EQ(text(body, "output_format"), "png");
  const auto& data = body.find("data")->as_array();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(base::from_base64(text(data[0], "b64_json")), "PNG0");
  EXPECT_EQ(data[1].find("seed")->as_integer(), 8);
  const base::Json* usage = body.find("usage");
  EXPECT_EQ(usage->find("input_tokens")->as_integer(), 12);
  EXPECT_EQ(usage->find("output_tokens")->as_integer(), 1152);
  EXPECT_EQ(usage->find("total_tokens")->as_integer(), 1164);
}

TEST_F(ImagesTest, AStreamOfSketchesAndPictures) {
  auto exchange = draw(R"("n":2,"stream":true,"partial_images":3)");
  until_started(1);
  ASSERT_TRUE(engine_.started(0).request.sampling.seed) << "a small one is chosen";
  EXPECT_LT(*engine_.started(0).request.sampling.seed, uint64_t{1} << 31);
  emit(0, engine::Queued{2, 100, 200});
  EXPECT_EQ(exchange->header("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(exchange->header("x-queue-position"), "2");
  for (int i = 0; i < 24; ++i) emit(0, row(0, i));
  std::vector<base::Json> events = exchange->events();
  ASSERT_EQ(events.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(text(events[i], "type"), "image_generation.partial_image");
    EXPECT_EQ(events[i].find("partial_image_index")->as_integer(), static_cast<int64_t>(i));
    EXPECT_EQ(events[i].find("index")->as_integer(), 0);
    std::string colours;
    for (size_t k = 0; k < (i + 1) * 6; ++k) colours += row(0, static_cast<int>(k)).colours;
    EXPECT_EQ(base::from_base64(text(events[i], "b64_json")), sketch_png(24, colours, 384));
  }
  emit(0, drawn(1, 4));
  emit(0, drawn(0, 3));
  emit(0, drawn_end(2));
  events = exchange->events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(text(events[3], "type"), "image_generation.completed");
  EXPECT_EQ(events[3].find("index")->as_integer(), 1);
  EXPECT_EQ(base::from_base64(text(events[4], "b64_json")), "PNG0");
  EXPECT_EQ(events[4].find("seed")->as_integer(), 3);
  const auto tokens = [&](size_t i) { return events[i].find("usage"); };
  EXPECT_EQ(tokens(3)->find("total_tokens")->as_integer(), 576);
  EXPECT_EQ(tokens(4)->find("total_tokens")->as_integer(), 588) << "with the prompt's";
  EXPECT_NE(exchange->body.find("event: image_generation.completed\ndata: "), std::string::npos);
  EXPECT_TRUE(exchange->ended);
}

TEST_F(ImagesTest, WhatCannotBeDrawnIsRefusedWithTheReason) {
  refused(R"("size":"1024x1024")", "size", "384x384 or auto");
  refused(R"("n":9)", "n", "from 1 to 8");
  refused(R"("n":0)", "n", "from 1 to 8");
  refused(R"("response_format":"url")", "response_format", "b64_json");
  refused(R"("model":"tiny")", "model", "ask \"janus\", which can");
  refused(R"("partial_images":2)", "partial_images", "stream");
  refused(R"("stream":true,"partial_images":4)", "partial_images", "from 0 to 3");
  refused(R"("output_format":"webp")", "output_format", "png");
  refused(R"("background":"transparent")", "background", "opaque");
  refused(R"("quality":"hd")", "quality", "auto");
  refused(R"("guidance":51)", "guidance", "from 0 to 50");
  refused(R"("style":"vivid")", "style", "not supported");
  refused(R"("colour":"red")", "colour", "no field");
  EXPECT_EQ(send("POST", "/v1/images/generations", R"({"prompt":" \n"})")->status, 400);
  EXPECT_EQ(send("POST", "/v1/images/generations", R"({"n":1})")->status, 400);
  EXPECT_EQ(
      send("POST", "/v1/images/generations", R"({"prompt":")" + std::string(32'001, 'x') + "\"}")
          ->status,
      400);
  EXPECT_EQ(draw(R"("model":"dall-e-3")")->status, 404);
  engine_.models_.pop_back();
  refused("", "model", "no model of this server can");
  EXPECT_EQ(engine_.started_count(), 0u);
  EXPECT_TRUE(parse_images_request(*base::parse_json(
      R"({"prompt":"x","n":null,"size":"auto","quality":"standard","moderation":"low",
          "response_format":"b64_json","user":"u","style":null})",
      "")));
}

TEST_F(ImagesTest, AFailureHasItsStatusAndAHangUpStopsTheCompute) {
  auto exchange = draw();
  until_started(1);
  engine::End failed;
  failed.reason = engine::EndReason::failed;
  failed.error = {base::ErrorKind::unavailable, "the engine is restarting", "", ""};
  emit(0, failed);
  EXPECT_EQ(exchange->status, 503);
  auto cut = draw(R"("stream":true)");
  until_started(2);
  emit(1, row(0, 0));
  emit(1, failed);
  EXPECT_NE(cut->events().back().find("error"), nullptr);
  auto lonely = draw();
  until_started(3);
  emit(2, drawn_end(1));
  EXPECT_EQ(lonely->status, 500) << "an end without its picture";
  auto gone = draw(R"("stream":true)");
  until_started(4);
  emit(3, row(0, 0));
  gone->disconnect();
  until_cancelled(1);
  emit(3, drawn(0, 1));
  engine::End cancelled;
  cancelled.reason = engine::EndReason::cancelled;
  emit(3, cancelled);
}

TEST_F(ImagesTest, APlainAnswerThatWaitsStaysAlive) {
  auto exchange = draw();
  until_started(1);
  emit(0, engine::Reading{1, 1, 0});
  server_->advance_ms(11'000);
  emit(0, drawn(0, 1));
  emit(0, drawn_end(1));
  EXPECT_TRUE(exchange->streaming && exchange->ended);
  EXPECT_EQ(exchange->body.front(), '\n');
  EXPECT_EQ(exchange->json().find("data")->as_array().size(), 1u);
}

TEST_F(ImagesTest, PicturesOfAChatKeepTheirPlaces) {
  auto exchange = ask("janus", "data:image/png;base64,iVBORw==");
  until_started(1);
  const auto prompt = std::get<engine::ChatPrompt>(engine_.started(0).request.prompt);
  ASSERT_EQ(prompt.messages.size(), 1u);
  const engine::Message& message = prompt.messages[0];
  EXPECT_EQ(message.content, "éWhat is it?");
  ASSERT_EQ(message.pictures.size(), 1u);
  EXPECT_EQ(message.pictures[0].at, 2u) << "bytes, not characters";
  EXPECT_EQ(message.pictures[0].bytes, "\x89PNG");
  emit(0, delta("A ship"));
  emit(0, end());
  EXPECT_EQ(exchange->status, 200);
}

TEST_F(ImagesTest, AModelThatCannotSeeNamesOneThatDoes) {
  const std::string url = "data:image/png;base64,iVBORw==";
  auto exchange = ask("tiny", url);
  EXPECT_EQ(exchange->status, 400);
  const base::Json error = *exchange->json().find("error");
  EXPECT_EQ(text(error, "param"), "messages[0].content");
  EXPECT_NE(text(error, "message").find("ask \"janus\", which can"), std::string::npos);
  engine_.models_.pop_back();
  EXPECT_NE(ask("tiny", url)->body.find("no model of this server can"), std::string::npos);
  EXPECT_EQ(engine_.started_count(), 0u);
}

TEST_F(ImagesTest, UrlsThatAreNoPictures) {
  for (const auto& [url, part] : std::vector<std::pair<std::string, std::string>>{
           {"https://example.com/cat.png", "fetches nothing"},
           {"HTTP://10.0.0.1/", "fetches nothing"},
           {"file:///etc/passwd", "must be data:image"},
           {"data:", "must be data:image"},
           {"data:image/png,abc", "must be data:image"},
           {"data:image/gif;base64,AAAA", "PNG, JPEG or WebP"},
           {"data:text/html;base64,AAAA", "PNG, JPEG or WebP"},
           {"data:image/svg+xml;base64,AAAA", "PNG, JPEG or WebP"},
           {"data:image/png;base64,", "empty"},
           {"data:image/png;base64,AAA", "no whole base64"},
           {"data:image/png;base64,AA AA", "no whole base64"}}) {
    auto exchange = ask("janus", url);
    EXPECT_EQ(exchange->status, 400) << url;
    const base::Json error = *exchange->json().find("error");
    EXPECT_EQ(text(error, "param"), "messages[0].content[1].image_url") << url;
    EXPECT_NE(text(error, "message").find(part), std::string::npos) << exchange->body;
    EXPECT_EQ(error.find("message")->as_string().find("10.0.0.1"), std::string::npos);
  }
  EXPECT_TRUE(picture_of_url("DATA:Image/JPEG;name=a.jpg;BASE64,AAAA", "url"));
}

TEST_F(ImagesTest, PicturesHaveLimits) {
  const std::string large = "data:image/png;base64," + std::string((20 << 20) / 3 * 4 + 8, 'A');
  const auto refusal = picture_of_url(large, "url");
  ASSERT_FALSE(refusal);
  EXPECT_EQ(refusal.error().code, "image_too_large");
  const auto request = [&](int pictures, const std::string& url, const std::string& role,
                           const std::string& more = "") {
    std::string parts;
    for (int i = 0; i < pictures; ++i) {
      parts += (i == 0 ? "" : ",") + (R"({"type":"image_url","image_url":{"url":")" + url + "\"}}");
    }
    const std::string body = R"({"model":"m","messages":[{"role":")" + role + R"(","content":[)" +
                             parts + "]}]" + more + "}";
    return parse_chat_request(*base::parse_json(body, ""), false);
  };
  const std::string small = "data:image/png;base64,AAAA";
  EXPECT_TRUE(request(16, small, "user"));
  EXPECT_EQ(request(17, small, "user").error().code, "too_many_images");
  EXPECT_EQ(request(1, small, "system").error().code, "invalid_request");
  EXPECT_EQ(request(1, small, "assistant").error().code, "invalid_request");
  const std::string half = "data:image/png;base64," + std::string((15 << 20) / 3 * 4, 'A');
  EXPECT_TRUE(request(2, half, "user"));
  EXPECT_EQ(request(3, half, "user").error().code, "image_too_large");
  EXPECT_EQ(request(2, half, "user", R"(,"n":2)").error().param, "n");
}

TEST_F(ImagesTest, OnlyMembersMaySendLargeBodies) {
  const auto large = service_->large_body();
  net::Request head = request("POST", "/v1/chat/completions");
  EXPECT_TRUE(large(head));
  head.path = "/v1/images/generations";
  EXPECT_FALSE(large(head)) << "there is no picture in it";
  head = request("PUT", "/site/attachments/" + std::string(32, 'a'));
  EXPECT_FALSE(large(head));
  sign_in();
  EXPECT_TRUE(large(request("PUT", "/site/attachments/" + std::string(32, 'a'))));
  head = request("POST", "/v1/chat/completions");
  for (auto& [name, value] : head.headers) {
    if (name == "authorization") value = "Bearer sk-guess";
  }
  EXPECT_FALSE(large(head));
  head = request("POST", "/v1/chat/completions");
  head.headers.emplace_back("origin", "https://elsewhere.example");
  EXPECT_FALSE(large(head));
}

TEST_F(ImagesTest, ModelsSayWhatTheySeeAndDraw) {
  const base::Json body = send("GET", "/v1/models")->json();
  const auto& models = body.find("data")->as_array();
  EXPECT_EQ(models[0].find("input_modalities")->as_array().size(), 1u);
  EXPECT_TRUE(models[0].find("image_size")->is_null());
  EXPECT_EQ(models[1].find("output_modalities")->as_array()[1].as_string(), "image");
  EXPECT_EQ(text(models[1], "image_size"), "384x384");
}

// ---- the site's drawings and attachments ----------------------------------------------------

class SitePicturesTest : public ImagesTest {
 protected:
  static constexpr const char* png = "\x89PNG\r\n\x1a\nrest";

  static std::string hex(char c) { return std::string(32, c); }
  std::shared_ptr<FakeExchange> put(const std::string& id, const std::string& bytes,
                                    const std::string& type = "image/png") {
    net::Request out = request("PUT", "/site/attachments/" + id, bytes);
    for (auto& [name, value] : out.headers) {
      if (name == "content-type") value = type;
    }
    return send(out);
  }
  std::shared_ptr<FakeExchange> generate(const std::string& model, const std::string& node,
                                         const std::string& more = "") {
    auto exchange = send("POST", "/site/generations",
                         R"({"key":")" + hex(key_++) + R"(","conversation":")" + hex('c') +
                             R"(","answer":")" + hex(answer_++) + R"(","model":")" + model +
                             R"(","path":[)" + node + "]" + more + "}");
    until([&] { return exchange->answered(); });
    return exchange;
  }
  static std::string question(const std::string& more = "") {
    return R"({"id":")" + hex('a') + R"(","parent":null,"role":"user","content":"a lighthouse")" +
           more + "}";
  }
  base::Json messages() {
    return *send("GET", "/site/conversations/" + hex('c'))->json().find("messages");
  }
  char key_ = '0', answer_ = 'd';
};

TEST_F(SitePicturesTest, ADrawingGoesOutRowByRowAndIsKept) {
  sign_in();
  auto accepted = generate("janus", question(), R"(,"draw":{"pictures":2,"seed":41})");
  ASSERT_EQ(accepted->status, 202) << accepted->body;
  until_started(1);
  const engine::Request request = engine_.started(0).request;
  EXPECT_EQ(std::get<engine::DrawPrompt>(request.prompt).text, "a lighthouse");
  EXPECT_EQ(std::get<engine::DrawPrompt>(request.prompt).pictures, 2);
  EXPECT_EQ(request.sampling.seed, 41u);
  base::Json drawing = *messages().as_array()[1].find("drawing");
  EXPECT_EQ(drawing.find("side")->as_integer(), 384);
  EXPECT_TRUE(drawing.find("pictures")->as_array()[1].find("id")->is_null());
  EXPECT_EQ(drawing.find("pictures")->as_array()[1].find("seed")->as_integer(), 42);
  const std::string id = accepted->json().find("generation")->as_string();
  auto stream = send("GET", "/site/generations/" + id + "/events?after=0");
  emit(0, row(0, 0));
  emit(0, row(1, 0));
  emit(0, drawn(1, 42));
  emit(0, drawn(0, 41));
  emit(0, drawn_end(2));
  const auto frames = stream->events();
  ASSERT_EQ(frames.size(), 6u) << "a ping before them";
  EXPECT_EQ(text(frames[1], "kind"), "sketch");
  EXPECT_EQ(base::from_base64(text(frames[1], "colours")), std::string(72, '\0'));
  EXPECT_EQ(frames[2].find("picture")->as_integer(), 1);
  EXPECT_EQ(text(frames[3], "kind"), "drawn");
  EXPECT_EQ(text(frames[5], "kind"), "end");
  auto picture = send("GET", "/site/attachments/" + text(frames[4], "id"));
  EXPECT_EQ(picture->body, "PNG0");
  EXPECT_EQ(picture->header("cache-control"), "no-store");
  drawing = *messages().as_array()[1].find("drawing");
  EXPECT_EQ(text(drawing.find("pictures")->as_array()[0], "id"), text(frames[4], "id"));
  EXPECT_EQ(send("GET", "/site/generations/" + id + "/events?after=4")->events().size(), 2u)
      << "resumed";
  EXPECT_EQ(send("DELETE", "/site/conversations/" + hex('c'))->status, 204);
  EXPECT_EQ(send("GET", "/site/attachments/" + text(frames[4], "id"))->status, 404)
      << "gone with its conversation";
}

TEST_F(SitePicturesTest, APictureIsSentOnceAndShownToTheModel) {
  sign_in();
  const std::string id = hex('9');
  EXPECT_EQ(put(id, png)->status, 204);
  EXPECT_EQ(put(id, png)->status, 204) << "a retry repeats nothing";
  auto shown = send("GET", "/site/attachments/" + id);
  EXPECT_EQ(shown->header("content-type"), "image/png");
  EXPECT_EQ(shown->body, png);
  const std::string with = R"(,"pictures":[{"id":")" + id + "\"}]";
  ASSERT_EQ(generate("janus", question(with))->status, 202);
  until_started(1);
  const auto prompt = std::get<engine::ChatPrompt>(engine_.started(0).request.prompt);
  ASSERT_EQ(prompt.messages[0].pictures.size(), 1u);
  EXPECT_EQ(prompt.messages[0].pictures[0].bytes, png);
  EXPECT_EQ(prompt.messages[0].pictures[0].at, 0u);
  EXPECT_EQ(text(messages().as_array()[0].find("pictures")->as_array()[0], "id"), id);
}

TEST_F(SitePicturesTest, WhatIsWrongWithAPictureHasItsReason) {
  sign_in();
  const auto reason = [](const std::shared_ptr<FakeExchange>& exchange) {
    return exchange->json().find("reason")->as_string();
  };
  EXPECT_EQ(put("short", png)->status, 404);
  EXPECT_EQ(put(hex('9'), "GIF89a")->status, 400);
  EXPECT_EQ(put(hex('9'), png, "application/json")->status, 415);
  EXPECT_EQ(put(hex('9'), png, "multipart/form-data; boundary=x")->status, 415);
  EXPECT_EQ(put(hex('9'), png + std::string(engine::picture_bytes_max, 'x'))->status, 413);
  EXPECT_EQ(send("GET", "/site/attachments/" + hex('9'))->status, 404);
  const std::string with = R"(,"pictures":[{"id":")" + hex('9') + "\"}]";
  auto gone = generate("janus", question(with));
  EXPECT_EQ(gone->status, 409);
  EXPECT_EQ(reason(gone), "picture");
  EXPECT_EQ(gone->json().find("missing")->as_array()[0].as_string(), hex('9'));
  put(hex('9'), png);
  auto blind = generate("tiny", question(with));
  EXPECT_EQ(blind->status, 400);
  EXPECT_EQ(reason(blind), "sees");
  auto unable = generate("tiny", question(), R"(,"draw":{})");
  EXPECT_EQ(unable->status, 400);
  EXPECT_EQ(reason(unable), "draws");
  EXPECT_EQ(generate("janus", question(with), R"(,"draw":{})")->status, 422);
  EXPECT_EQ(generate("janus", question(), R"(,"draw":{"pictures":9})")->status, 422);
  EXPECT_EQ(send("GET", "/site/conversations/" + hex('c'))->status, 404) << "nothing was kept";
}

TEST_F(SitePicturesTest, DrawingsAloneTakeNoContext) {
  sign_in();
  const std::string drew = R"({"id":")" + hex('d') + R"(","parent":")" + hex('a') +
                           R"(","role":"assistant","content":"","drawing":{"side":384,)" +
                           R"("pictures":[{"id":null,"seed":1}]}})";
  auto measured = send("POST", "/site/measure",
                       R"({"model":"janus","path":[)" + question() + "," + drew + "]}");
  EXPECT_EQ(measured->status, 200) << measured->body;
  EXPECT_EQ(measured->json().find("tokens")->as_integer(), 0);
}

TEST_F(SitePicturesTest, ADrawingIsNotReadAsTalk) {
  chat::Node asked, drew, next;
  asked.from_person = next.from_person = true;
  asked.content = "a lighthouse";
  next.content = "hello";
  drew.drawing.emplace();
  const auto messages = messages_of("be brief", {asked, drew, next}, true);
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].role, "system");
  EXPECT_EQ(messages[1].content, "hello");
}

}  // namespace
}  // namespace api
