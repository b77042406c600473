"""Tool calls end to end: the real program with models that say a fixed text (scripted_model.py),
one for each markup, and the public clients, unchanged: two tools, called in parallel, their results
given back, and the answer, streaming and not."""
import contextlib
import json
import pathlib
import subprocess

import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_deepseek import ChatDeepSeek

import scripted_model
import servers

pytestmark = pytest.mark.real_engine
FOLDER = pathlib.Path(__file__).resolve().parent
TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                       "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "add", "description": "Adds two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"},
                                                        "b": {"type": "number"}}}}},
]
QUESTION = "How warm is it in Paris, and what is 2 + 40?"
EXPECTED = [("get_weather", {"city": "Paris"}), ("add", {"a": 2, "b": 40})]
FAMILIES = scripted_model.families()
# Llama's calls are all of an answer; the others say something first.
SAYS = {name: "" if name == "llama" else scripted_model.BEFORE for name in FAMILIES}
THINKS = {"r1", "r1-distill"}


def result_of(name):
    return scripted_model.RESULT + (" 18 degrees" if name == "get_weather" else " 42")


@contextlib.contextmanager
def serving(model):
    with servers.temporary_folder() as folder:
        path = pathlib.Path(folder) / "scripted.gguf"
        model.write(path)
        running = servers.start_nautile(pathlib.Path(folder) / "home", model=str(path))
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request):
    with serving(FAMILIES[request.param]) as running:
        running.family = request.param
        yield running


@pytest.fixture(scope="module")
def client(family):
    return openai.OpenAI(api_key=family.key, base_url=family.url + "/v1", max_retries=0,
                         timeout=60)


def called(calls):
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls or []]


def with_results(messages, message):
    results = [{"role": "tool", "tool_call_id": call.id, "content": result_of(call.function.name)}
               for call in message.tool_calls]
    return [*messages, message.model_dump(exclude_none=True), *results]


def test_openai(client, family):
    fields = {"model": family.model, "tools": TOOLS, "temperature": 0, "max_tokens": 200}
    messages = [{"role": "user", "content": QUESTION}]
    answer = client.chat.completions.create(messages=messages, **fields).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert called(answer.message.tool_calls) == EXPECTED
    assert (answer.message.content or "") == SAYS[family.family]
    thought = getattr(answer.message, "reasoning_content", None)
    assert thought == (scripted_model.THOUGHT if family.family in THINKS else None)
    last = client.chat.completions.create(messages=with_results(messages, answer.message), **fields)
    assert last.choices[0].message.content == scripted_model.SAID
    assert last.choices[0].message.tool_calls is None
    assert last.choices[0].finish_reason == "stop"


def streamed(client, **fields):
    """The answer that the chunks of a stream make, and why it ended."""
    content, calls, finish = "", {}, None
    for chunk in client.chat.completions.create(stream=True, **fields):
        choice = chunk.choices[0]
        content += choice.delta.content or ""
        finish = choice.finish_reason or finish
        for call in choice.delta.tool_calls or []:
            known = calls.setdefault(call.index, {"id": call.id, "type": "function", "function": {
                "name": call.function.name, "arguments": ""}})
            known["function"]["arguments"] += call.function.arguments
    return {"role": "assistant", "content": content, "tool_calls": list(calls.values())}, finish


def test_openai_streaming(client, family):
    fields = {"model": family.model, "tools": TOOLS, "temperature": 0, "max_tokens": 200}
    messages = [{"role": "user", "content": QUESTION}]
    answer, finish = streamed(client, messages=messages, **fields)
    calls = answer["tool_calls"]
    assert [(call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in calls] == EXPECTED
    assert finish == "tool_calls" and answer["content"] == SAYS[family.family]
    # Given back in the other order: the template still gets them in the order of the calls.
    results = [{"role": "tool", "tool_call_id": call["id"],
                "content": result_of(call["function"]["name"])} for call in reversed(calls)]
    last, finish = streamed(client, messages=[*messages, answer, *results], **fields)
    assert last["content"] == scripted_model.SAID and not last["tool_calls"]
    assert finish == "stop"


@pytest.mark.parametrize("streaming", [False, True])
def test_langchain(family, streaming):
    model = ChatDeepSeek(model=family.model, api_key=family.key, api_base=family.url + "/v1",
                         temperature=0, max_tokens=200, max_retries=0).bind_tools(TOOLS)

    def ask(messages):
        if not streaming:
            return model.invoke(messages)
        chunks = list(model.stream(messages))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole = whole + chunk
        return whole

    messages = [HumanMessage(QUESTION)]
    answer = ask(messages)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == EXPECTED
    assert answer.content == SAYS[family.family] and not answer.invalid_tool_calls
    results = [ToolMessage(result_of(call["name"]), tool_call_id=call["id"])
               for call in answer.tool_calls]
    last = ask([*messages, answer, *results])
    assert last.content == scripted_model.SAID and not last.tool_calls


def test_node_clients(family):
    """openai with its runTools, @ai-sdk/deepseek with ai, @langchain/deepseek; both ways each."""
    done = subprocess.run(
        ["node", "node_tools.mjs", family.url, family.key, family.model, QUESTION,
         json.dumps({name: result_of(name) for name, _ in EXPECTED})],
        cwd=FOLDER, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    cases = list(map(json.loads, done.stdout.splitlines()))
    assert len(cases) == 6
    for case in cases:
        assert "error" not in case, case
        assert [(call["name"], call["args"]) for call in case["calls"]] == EXPECTED, case
        assert case["text"] == scripted_model.SAID, case


def test_one_call_at_a_time(client, family):
    answer = client.chat.completions.create(
        model=family.model, tools=TOOLS, parallel_tool_calls=False, temperature=0, max_tokens=200,
        messages=[{"role": "user", "content": QUESTION}]).choices[0]
    assert called(answer.message.tool_calls) == EXPECTED[:1]
    assert answer.finish_reason == "tool_calls"


def test_no_tool_is_called_when_none_may_be(client, family):
    answer = client.chat.completions.create(
        model=family.model, tools=TOOLS, tool_choice="none", temperature=0, max_tokens=200,
        messages=[{"role": "user", "content": QUESTION}]).choices[0]
    assert answer.message.tool_calls is None and answer.finish_reason == "stop"
    if family.family == "llama":  # without marks and names it is a JSON text like any other
        assert answer.message.content.startswith('{"name": "get_weather"')
    else:
        assert (answer.message.content or "") == SAYS[family.family]


def test_a_call_can_be_asked_for():
    with serving(FAMILIES["qwen"]) as running:
        client = openai.OpenAI(api_key=running.key, base_url=running.url + "/v1", max_retries=0)
        for choice in ({"type": "function", "function": {"name": "add"}}, "required"):
            tools = TOOLS if choice != "required" else TOOLS[1:]
            answer = client.chat.completions.create(
                model=running.model, tools=tools, tool_choice=choice, temperature=0,
                max_tokens=200, messages=[{"role": "user", "content": "hello"}]).choices[0]
            assert called(answer.message.tool_calls) == EXPECTED[1:]
            assert answer.finish_reason == "tool_calls" and not answer.message.content
        # The name is one of the declared ones even where the model is free to choose it.
        answer = client.chat.completions.create(
            model=running.model, tools=TOOLS, tool_choice="required", temperature=0,
            max_tokens=200, messages=[{"role": "user", "content": "hello"}]).choices[0]
        assert [name for name, _ in called(answer.message.tool_calls)] in (["add"], ["get_weather"])


@pytest.mark.parametrize("name", list(scripted_model.broken()))
def test_broken_markup_is_no_content(name):
    model, said, names = scripted_model.broken()[name]
    with serving(model) as running:
        body = {"model": running.model, "tools": TOOLS, "temperature": 0, "max_tokens": 200,
                "messages": [{"role": "user", "content": "hello"}]}
        answer = running.post("/v1/chat/completions", body).json()["choices"][0]
        assert (answer["message"]["content"] or "") == said
        calls = answer["message"].get("tool_calls", [])
        assert [call["function"]["name"] for call in calls] == names
        assert answer["finish_reason"] == ("tool_calls" if names else "stop")


def test_a_model_without_a_form_for_tools_says_so(server):
    answer = server.post("/v1/chat/completions", {
        "model": server.model, "tools": TOOLS, "messages": [{"role": "user", "content": "x"}]})
    assert answer.status == 400 and answer.json()["error"]["param"] == "tools"
