// Two tools called in parallel through the npm clients, unchanged. Prints a JSON line for each way:
// {"case", "calls": [{"name", "args"}], "text"} or {"case", "error"}. Judged by test_tools.py.
// usage: node node_tools.mjs URL KEY MODEL QUESTION RESULTS
import { createDeepSeek } from "@ai-sdk/deepseek";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatDeepSeek } from "@langchain/deepseek";
import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";

const [url, key, model, question, resultsJson] = process.argv.slice(2);
const results = JSON.parse(resultsJson);
const schemas = {
  get_weather: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  add: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } },
};
const messages = [{ role: "user", content: question }];
const cases = {};

const openai = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const openaiWay = (stream) => async () => {
  const calls = [];
  const tools = Object.entries(schemas).map(([name, parameters]) => ({
    type: "function",
    function: {
      name, parameters, description: name, parse: JSON.parse,
      function: (args) => { calls.push({ name, args }); return results[name]; },
    },
  }));
  const runner = openai.chat.completions.runTools({
    model, messages, tools, temperature: 0, max_tokens: 200, stream,
  });
  return { calls, text: await runner.finalContent() };
};
cases["openai"] = openaiWay(false);
cases["openai stream"] = openaiWay(true);

const deepseek = createDeepSeek({ apiKey: key, baseURL: `${url}/v1` });
const sdkTools = (calls) => Object.fromEntries(
  Object.entries(schemas).map(([name, schema]) => [name, tool({
    description: name, inputSchema: jsonSchema(schema),
    execute: (args) => { calls.push({ name, args }); return results[name]; },
  })]));
const sdk = (calls) => ({
  model: deepseek(model), maxRetries: 0, temperature: 0, maxOutputTokens: 200, prompt: question,
  tools: sdkTools(calls), stopWhen: stepCountIs(4),
});
cases["ai-sdk"] = async () => {
  const calls = [];
  return { calls, text: (await generateText(sdk(calls))).text };
};
cases["ai-sdk stream"] = async () => {
  const calls = [];
  const result = streamText(sdk(calls));
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
  }
  return { calls, text: await result.text };
};

const langchain = new ChatDeepSeek({
  model, apiKey: key, temperature: 0, maxTokens: 200, maxRetries: 0,
  configuration: { baseURL: `${url}/v1` },
}).bindTools(Object.entries(schemas).map(([name, parameters]) => ({
  type: "function", function: { name, description: name, parameters },
})));
const langchainWay = (ask) => async () => {
  const asked = [new HumanMessage(question)];
  const answer = await ask(asked);
  const given = answer.tool_calls.map(
    (call) => new ToolMessage({ content: results[call.name], tool_call_id: call.id }));
  const last = await ask([...asked, answer, ...given]);
  return { calls: answer.tool_calls.map(({ name, args }) => ({ name, args })), text: last.content };
};
cases["langchain"] = langchainWay((list) => langchain.invoke(list));
cases["langchain stream"] = langchainWay(async (list) => {
  let whole;
  for await (const chunk of await langchain.stream(list)) {
    whole = whole === undefined ? chunk : whole.concat(chunk);
  }
  return whole;
});

for (const [name, run] of Object.entries(cases)) {
  let line;
  try {
    line = { case: name, ...(await run()) };
  } catch (error) {
    line = { case: name, error: String(error?.stack ?? error).slice(0, 800) };
  }
  console.log(JSON.stringify(line));
}
