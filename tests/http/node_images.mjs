// openai for npm, unchanged: pictures in both directions. A data: URL on stdin; a JSON line a case,
// as node_clients.mjs prints them. usage: node node_images.mjs URL KEY
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const picture = readFileSync(0, "utf8");
const openai = new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 });
const prompt = "a lighthouse";
const ask = (model) => openai.chat.completions.create({
  model,
  messages: [{
    role: "user",
    content: [
      { type: "text", text: "What is it?" },
      { type: "image_url", image_url: { url: picture, detail: "auto" } },
    ],
  }],
});

const cases = {
  generate: async () => {
    const answer = await openai.images.generate({ prompt, n: 2, size: "auto", seed: 7 });
    return { data: answer.data.map((image) => image.b64_json), usage: answer.usage };
  },
  stream: async () => {
    const stream = await openai.images.generate({
      prompt, seed: 7, stream: true, partial_images: 2,
    });
    const events = [];
    for await (const event of stream) events.push(event);
    const last = events.at(-1);
    return { types: events.map((event) => event.type), last: last.b64_json, usage: last.usage };
  },
  vision: async () => (await ask("janus")).choices[0].message.content,
  size: () => openai.images.generate({ prompt, size: "1024x1024" }),
  n: () => openai.images.generate({ prompt, n: 9 }),
  "no drawer": () => openai.images.generate({ prompt, model: "scripted" }),
  blind: () => ask("scripted"),
};

for (const [name, run] of Object.entries(cases)) {
  let line;
  try {
    line = { case: name, value: await run() };
  } catch (error) {
    line = { case: name, error: { status: error.status ?? null, param: error.param ?? null,
                                  message: String(error.message).slice(0, 500) } };
  }
  console.log(JSON.stringify(line));
}
