"""langchain-deepseek for Python, unchanged."""
import openai
import pytest
from langchain_deepseek import ChatDeepSeek


@pytest.fixture(scope="module")
def model(server):
    return ChatDeepSeek(model="deepseek-chat", api_key=server.key, api_base=server.url + "/v1",
                        temperature=0, max_tokens=16, max_retries=0)


def test_invoke(model):
    answer = model.invoke([("system", "You are brief."), ("human", "Name a colour.")])
    assert answer.content and answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def test_stream_equals_invoke(model):
    question = "Name a colour."
    text = "".join(chunk.content for chunk in model.stream(question))
    assert text == model.invoke(question).content != ""


def test_batch(model):
    answers = model.batch(["Name a colour.", "Name a fish."])
    assert len(answers) == 2 and all(a.content for a in answers)


def test_logprobs_and_stop(model):
    answer = model.bind(logprobs=True, top_logprobs=2).invoke("Name a colour.")
    assert answer.response_metadata["logprobs"]["content"]
    whole = model.invoke("Name a colour.").content
    cut = model.invoke("Name a colour.", stop=[whole[2:4]]).content
    assert cut == whole[:whole.index(whole[2:4])]


def test_reasoning_of_a_model_that_thinks(scripted):
    model = ChatDeepSeek(model="deepseek-reasoner", api_key=scripted.key,
                         api_base=scripted.url + "/v1", max_retries=0)
    question = "/script think 5 at 500/s; stream 5 at 500/s"
    answer = model.invoke(question)
    assert answer.additional_kwargs["reasoning_content"] and answer.content
    chunks = list(model.stream(question))
    reasoning = "".join(c.additional_kwargs.get("reasoning_content", "") for c in chunks)
    assert reasoning and "".join(c.content for c in chunks)


def test_errors(server):
    wrong = ChatDeepSeek(model="deepseek-chat", api_key="sk-wrong", api_base=server.url + "/v1",
                         max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        wrong.invoke("x")
