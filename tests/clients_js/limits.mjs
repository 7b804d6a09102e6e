// Clients under a limit of two requests at once and one a second, one after the other, each told as
// JSON: `node limits.mjs` with KINORA_URL and KINORA_KEY.
import { createFalClient } from "@fal-ai/client";
import OpenAI from "openai";
import Replicate from "replicate";

const { KINORA_URL, KINORA_KEY: key } = process.env;
const MODEL = "rehearsal/still";
const INPUT = { prompt: "a paper lantern", latency_ms: 0 };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let statuses = [];
const counting = async (...asked) => {
  const answer = await fetch(...asked);
  statuses.push(answer.status);
  return answer;
};
const caught = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    return { name: error.name, status: error.status ?? error.response?.status };
  }
};
const times = (count, call) =>
  Promise.all(Array.from({ length: count }, (_, n) => caught(call(n))));

const flows = {
  async fal() {
    const proxyUrl = { url: `${KINORA_URL}/fal/proxy`, when: "always" };
    const fal = createFalClient({ credentials: key, proxyUrl, fetch: counting });
    const submit = async (seed) =>
      (await fal.queue.submit(MODEL, { input: { ...INPUT, seed } })).request_id;
    return times(4, submit);
  },
  async openai() {
    const openai = new OpenAI({ apiKey: key, baseURL: `${KINORA_URL}/v1`, fetch: counting });
    const asked = { model: MODEL, response_format: "url", ...INPUT };
    return times(4, async () => (await openai.images.generate(asked)).data.length);
  },
  // It knocks six times at once, whatever it is told, and then gives up.
  async replicate() {
    const baseUrl = `${KINORA_URL}/replicate/v1`;
    const replicate = new Replicate({ auth: key, baseUrl, fetch: counting });
    const create = async () => (await replicate.predictions.create({ model: MODEL, input: INPUT })).id;
    const found = await times(3, create);
    await sleep(1100);
    return [...found, ...(await times(1, create))];
  },
};

const told = {};
for (const name of Object.keys(flows)) {
  await sleep(2500); // that the buckets are full
  statuses = [];
  const found = await flows[name]();
  told[name] = { found, statuses };
}
console.log(JSON.stringify(told));
process.exit(0);
