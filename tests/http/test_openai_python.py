"""The openai client for Python, unchanged."""
import openai
import pytest


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(api_key=server.key, base_url=server.url + "/v1", max_retries=0,
                         timeout=60)


QUESTION = [{"role": "system", "content": "You are brief."},
            {"role": "user", "content": "Name a colour."}]


def test_chat(client, server):
    answer = client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=12,
                                            temperature=0)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens == usage.prompt_tokens
    assert answer.model == server.model and answer.system_fingerprint
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion"


def test_both_bases_are_the_same(server):
    texts = []
    for base in ("", "/v1"):
        client = openai.OpenAI(api_key=server.key, base_url=server.url + base, max_retries=0)
        texts.append(client.chat.completions.create(
            model=server.model, messages=QUESTION, max_tokens=8, temperature=0
        ).choices[0].message.content)
    assert texts[0] == texts[1] != ""


def test_stream_equals_the_plain_answer(client, server):
    fields = {"model": server.model, "messages": QUESTION, "max_tokens": 16, "temperature": 0}
    plain = client.chat.completions.create(**fields)
    chunks = list(client.chat.completions.create(stream=True,
                                                 stream_options={"include_usage": True}, **fields))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == plain.usage.completion_tokens
    assert chunks[-2].choices[0].finish_reason == plain.choices[0].finish_reason
    assert len({c.id for c in chunks}) == 1


def test_the_same_seed_gives_the_same_answer(client, server):
    def answer(seed):
        return client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=24,
                                              temperature=1.5, seed=seed
                                              ).choices[0].message.content
    assert answer(7) == answer(7)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_logprobs(client, server):
    answer = client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=6,
                                            temperature=0, logprobs=True, top_logprobs=3)
    content = answer.choices[0].logprobs.content
    assert 0 < len(content) <= 6
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        assert token.logprob == pytest.approx(max(t.logprob for t in token.top_logprobs))
        assert bytes(token.bytes).decode(errors="replace") == token.token
    assert b"".join(bytes(t.bytes) for t in content).decode().startswith(
        answer.choices[0].message.content)


def test_stop_strings_end_the_answer_and_stay_out_of_it(client, server):
    whole = client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=24,
                                           temperature=0).choices[0].message.content
    assert len(whole) > 4
    stop = whole[2:4]
    cut = client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=24,
                                         temperature=0, stop=[stop, "never said"])
    assert cut.choices[0].message.content == whole[:whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_several_versions(client, server):
    answer = client.chat.completions.create(model=server.model, messages=QUESTION, max_tokens=12,
                                            temperature=1.2, seed=3, n=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    assert len({c.message.content for c in answer.choices}) > 1


@pytest.mark.real_engine
def test_the_prefix_cache_is_shown(client, server):
    messages = [{"role": "user", "content": "The sea is wide and old. " * 40 + "Why?"}]
    first, second = (client.chat.completions.create(model=server.model, messages=messages,
                                                    max_tokens=4, temperature=0)
                     for _ in range(2))
    assert second.usage.prompt_cache_hit_tokens > first.usage.prompt_tokens // 2
    assert second.choices[0].message.content == first.choices[0].message.content
    other = client.chat.completions.create(model=server.model, messages=messages, max_tokens=4,
                                           temperature=0, extra_body={"user_id": "somebody else"})
    assert other.usage.prompt_cache_hit_tokens == 0


def test_errors_are_raised_by_their_kind(client, server):
    def ask(**fields):
        fields.setdefault("model", server.model)
        fields.setdefault("messages", QUESTION)
        return client.chat.completions.create(**fields)
    wrong = openai.OpenAI(api_key="sk-wrong", base_url=server.url + "/v1", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.models.list()
    with pytest.raises(openai.NotFoundError) as error:
        ask(model="gpt-4o")
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.UnprocessableEntityError) as error:
        ask(temperature=3)
    assert error.value.param == "temperature"
    for field, value in (("tools", [{"type": "function", "function": {"name": "f"}}]),
                         ("response_format", {"type": "json_object"}),
                         ("logit_bias", {"1": -100})):
        with pytest.raises(openai.BadRequestError) as error:
            ask(**{field: value})
        assert error.value.param == field and field in error.value.message
    with pytest.raises(openai.BadRequestError) as error:
        ask(messages=[{"role": "user", "content": "word " * 60_000}])
    assert error.value.code == "context_length_exceeded"


def test_models(client, server):
    ids = [model.id for model in client.models.list()]
    assert server.model in ids
    assert client.models.retrieve(server.model).id == server.model


@pytest.mark.parametrize("name", ["deepseek-chat", "deepseek-reasoner", "deepseek-flash",
                                  "deepseek-v4-pro"])
def test_names_of_both_eras(client, server, name):
    answer = client.chat.completions.create(
        model=name, messages=QUESTION, max_tokens=4,
        extra_body={"thinking": {"type": "disabled"}}, reasoning_effort="low")
    assert answer.model == server.model and answer.choices[0].finish_reason


def test_a_prefix_is_continued(server):
    beta = openai.OpenAI(api_key=server.key, base_url=server.url + "/beta", max_retries=0)
    messages = [{"role": "user", "content": "Count: one, two, three, four, five."},
                {"role": "assistant", "content": "One, two, three,", "prefix": True}]
    answer = beta.chat.completions.create(model=server.model, messages=messages, max_tokens=6,
                                          temperature=0)
    assert not answer.choices[0].message.content.startswith("One, two, three,")
    usual = openai.OpenAI(api_key=server.key, base_url=server.url, max_retries=0)
    with pytest.raises(openai.BadRequestError) as error:
        usual.chat.completions.create(model=server.model, messages=messages)
    assert error.value.param == "messages[1].prefix"


def test_completion_with_echo_and_logprobs(client, server):
    prompt = "The capital of France is"
    answer = client.completions.create(model=server.model, prompt=prompt, max_tokens=3,
                                       temperature=0, echo=True, logprobs=2)
    choice = answer.choices[0]
    assert choice.text.startswith(prompt)
    logprobs = choice.logprobs
    lengths = {len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs),
               len(logprobs.text_offset)}
    assert len(lengths) == 1
    assert logprobs.token_logprobs[0] is None and all(x <= 0 for x in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == answer.usage.prompt_tokens + 3
    plain = client.completions.create(model=server.model, prompt=prompt, max_tokens=3,
                                      temperature=0)
    assert prompt + plain.choices[0].text == choice.text
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=server.model, prompt=prompt, max_tokens=3, temperature=0, stream=True))
    assert text == plain.choices[0].text


def test_prompts_as_list_and_as_ids(client, server):
    prompts = ["One two three", "Red green blue"]
    ids = [server.post("/v1/tokenize", {"model": server.model, "prompt": text}).json()["tokens"]
           for text in prompts]
    by_text = client.completions.create(model=server.model, prompt=prompts, max_tokens=4,
                                        temperature=0)
    by_ids = client.completions.create(model=server.model, prompt=ids, max_tokens=4, temperature=0)
    one = client.completions.create(model=server.model, prompt=ids[1], max_tokens=4, temperature=0)
    assert [c.index for c in by_text.choices] == [0, 1]
    assert [c.text for c in by_text.choices] == [c.text for c in by_ids.choices]
    assert one.choices[0].text == by_ids.choices[1].text


def test_as_the_evaluation_harness_asks(server):
    """lm-eval's loglikelihood: ids of context and continuation, echo, one more token that is
    thrown away; greedy is judged by the keys of top_logprobs."""
    context = server.post("/v1/tokenize", {"prompt": "The sky is"}).json()["tokens"]
    continuation = server.post("/v1/tokenize", {"prompt": " blue",
                                                "add_special_tokens": False}).json()["tokens"]
    answer = server.post("/v1/completions",
                         {"model": server.model, "prompt": [context + continuation],
                          "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234,
                          "echo": True})
    assert answer.status == 200, answer.body
    choice = answer.json()["choices"][0]
    logprobs = choice["logprobs"]
    scored = logprobs["token_logprobs"][len(context):-1]
    assert len(scored) == len(continuation) and sum(scored) < 0
    for token, top in zip(logprobs["tokens"], logprobs["top_logprobs"]):
        assert top is None or token in top


def test_tokens_round_trip(server):
    text = "Déjà vu, 日本語 and 🙂."
    tokens = server.post("/v1/tokenize", {"prompt": text, "return_token_strs": True}).json()
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["token_strs"])
    back = server.post("/v1/detokenize", {"tokens": tokens["tokens"]}).json()
    assert back["prompt"].endswith(text)
