// Clients whose replies get lost: `node lost.mjs '[{"client", "url", "prompt"}, …]'` with
// KINORA_KEY. Tells for each what its caller got: `done`, or the error.
import { createFalClient } from "@fal-ai/client";
import OpenAI from "openai";
import Replicate from "replicate";

const { KINORA_KEY: key } = process.env;
const MODEL = "rehearsal/still";
const fal = (url) =>
  createFalClient({ credentials: key, proxyUrl: { url: `${url}/fal/proxy`, when: "always" } });
const replicate = (url) => new Replicate({ auth: key, baseUrl: `${url}/replicate/v1` });

const ways = {
  run: (url, input) => fal(url).run(MODEL, { input }),
  submit: (url, input) => fal(url).queue.submit(MODEL, { input }),
  predict: (url, input) => replicate(url).predictions.create({ model: MODEL, input }),
  generate: (url, input) =>
    new OpenAI({ apiKey: key, baseURL: `${url}/v1` }).images.generate({
      model: MODEL,
      response_format: "url",
      ...input,
    }),
};
const told = async ({ client, url, prompt }) => {
  try {
    await ways[client](url, { prompt, latency_ms: 0 });
    return "done";
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};

console.log(JSON.stringify(await Promise.all(JSON.parse(process.argv[2]).map(told))));
process.exit(0);
