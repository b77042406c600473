// The npm clients, unchanged: one process runs all their cases and prints a JSON line for each:
// {"case", "value"} or {"case", "error": {"status", "param", "message"}}. Judged by
// test_node_clients.py. usage: node node_clients.mjs URL KEY MODEL SCRIPTED_URL SCRIPTED_KEY
import { createDeepSeek } from "@ai-sdk/deepseek";
import { ChatDeepSeek } from "@langchain/deepseek";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const [url, key, model, scriptedUrl, scriptedKey] = process.argv.slice(2);
const question = [
  { role: "system", content: "You are brief." },
  { role: "user", content: "Name a colour." },
];
const thinking = "/script think 5 at 500/s; stream 5 at 500/s";
const cases = {};

const openai = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const fixed = { model, messages: question, max_tokens: 12, temperature: 0 };
cases["openai chat"] = () => openai.chat.completions.create(fixed);
cases["openai stream"] = async () => {
  const stream = await openai.chat.completions.create({
    ...fixed, stream: true, stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return {
    text: chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""),
    usage: chunks.at(-1).usage,
    finish: chunks.at(-2).choices[0].finish_reason,
  };
};
cases["openai seed"] = async () => {
  const answers = [];
  for (let i = 0; i < 2; i++) {
    const answer = await openai.chat.completions.create({ ...fixed, temperature: 1.5, seed: 5 });
    answers.push(answer.choices[0].message.content);
  }
  return answers;
};
cases["openai logprobs"] = async () => {
  const answer = await openai.chat.completions.create({
    ...fixed, logprobs: true, top_logprobs: 2,
  });
  return answer.choices[0].logprobs.content;
};
cases["openai completion"] = () => openai.completions.create({
  model, prompt: "One two", max_tokens: 2, temperature: 0, echo: true, logprobs: 1,
});
cases["openai models"] = async () => {
  const ids = [];
  for await (const one of openai.models.list()) ids.push(one.id);
  return ids;
};
cases["openai stop"] = async () => {
  const whole = (await openai.chat.completions.create(fixed)).choices[0].message.content;
  const stop = whole.slice(2, 4);
  const cut = await openai.chat.completions.create({ ...fixed, stop: [stop] });
  return { expected: whole.slice(0, whole.indexOf(stop)), got: cut.choices[0].message.content };
};
cases["openai aborted"] = async () => {
  const slow = new OpenAI({ apiKey: scriptedKey, baseURL: `${scriptedUrl}/v1`, maxRetries: 0 });
  const stream = await slow.chat.completions.create({
    model: "scripted", stream: true,
    messages: [{ role: "user", content: "/script stream 2000 at 50/s" }],
  });
  let seen = 0;
  for await (const chunk of stream) {
    seen += chunk.choices[0]?.delta?.content ? 1 : 0;
    if (seen === 5) break;
  }
  return seen;
};
cases["openai bad key"] = () =>
  new OpenAI({ apiKey: "sk-wrong", baseURL: `${url}/v1`, maxRetries: 0 }).models.list();
cases["openai bad value"] = () => openai.chat.completions.create({ ...fixed, temperature: 3 });
cases["openai tools"] = () => openai.chat.completions.create({
  ...fixed, tools: [{ type: "function", function: { name: "f", parameters: {} } }],
});
cases["openai lost"] = async () => {
  const dying = new OpenAI({ apiKey: scriptedKey, baseURL: `${scriptedUrl}/v1`, maxRetries: 0 });
  const stream = await dying.chat.completions.create({
    model: "scripted", stream: true,
    messages: [{ role: "user", content: "/script stream 3 at 500/s; fail" }],
  });
  for await (const chunk of stream) void chunk;
  return "ended as if nothing had happened";
};

const deepseek = createDeepSeek({ apiKey: key, baseURL: `${url}/v1` });
const sdk = { model: deepseek("deepseek-chat"), maxRetries: 0, temperature: 0,
              maxOutputTokens: 12, messages: question, allowSystemInMessages: true };
cases["ai-sdk generate"] = async () => {
  const answer = await generateText(sdk);
  return { text: answer.text, usage: answer.usage, finish: answer.finishReason };
};
cases["ai-sdk stream"] = async () => {
  const result = streamText(sdk);
  let text = "";
  for await (const part of result.textStream) text += part;
  return { text, usage: await result.usage, finish: await result.finishReason };
};
cases["ai-sdk reasoning"] = async () => {
  const thinker = createDeepSeek({ apiKey: scriptedKey, baseURL: `${scriptedUrl}/v1` });
  const answer = await generateText({
    model: thinker("deepseek-reasoner"), prompt: thinking, maxRetries: 0,
  });
  return { text: answer.text, reasoning: answer.reasoningText };
};
cases["ai-sdk bad key"] = () => generateText({
  ...sdk, model: createDeepSeek({ apiKey: "sk-wrong", baseURL: `${url}/v1` })("deepseek-chat"),
});

const langchain = (fields) => new ChatDeepSeek({
  model: "deepseek-chat", apiKey: key, temperature: 0, maxTokens: 12, maxRetries: 0,
  configuration: { baseURL: `${url}/v1` }, ...fields,
});
cases["langchain invoke"] = async () => {
  const answer = await langchain().invoke([["system", "You are brief."],
                                           ["human", "Name a colour."]]);
  return { text: answer.content, usage: answer.usage_metadata };
};
cases["langchain stream"] = async () => {
  let text = "";
  for await (const chunk of await langchain().stream("Name a colour.")) text += chunk.content;
  return { text, plain: (await langchain().invoke("Name a colour.")).content };
};
cases["langchain reasoning"] = async () => {
  const thinker = langchain({
    model: "deepseek-reasoner", apiKey: scriptedKey, maxTokens: 50,
    configuration: { baseURL: `${scriptedUrl}/v1` },
  });
  const answer = await thinker.invoke(thinking);
  return { text: answer.content, reasoning: answer.additional_kwargs.reasoning_content };
};
cases["langchain bad key"] = () => langchain({ apiKey: "sk-wrong" }).invoke("x");

for (const [name, run] of Object.entries(cases)) {
  let line;
  try {
    line = { case: name, value: await run() };
  } catch (error) {
    const status = error.status ?? error.statusCode ?? null;
    line = { case: name, error: { status, param: error.param ?? null,
                                  message: String(error.message).slice(0, 500) } };
  }
  console.log(JSON.stringify(line));
}
