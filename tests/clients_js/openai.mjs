// Every flow of OpenAI's client for pictures and clips, unmodified, each told as JSON:
// `node openai.mjs` with KINORA_URL, KINORA_KEY and KINORA_OTHER_KEY.
import OpenAI, { toFile } from "openai";

const { KINORA_URL, KINORA_KEY, KINORA_OTHER_KEY } = process.env;
const client = (apiKey) => new OpenAI({ apiKey, baseURL: `${KINORA_URL}/v1` });
const openai = client(KINORA_KEY);
const STILL = { model: "rehearsal/still", prompt: "a paper lantern", latency_ms: 0 };
const CLIP = { model: "rehearsal/clip", prompt: "dusk", seconds: "1", latency_ms: 0 };
const NOBODYS = "run_01m7x3yvyte9sagyvwwf6hge6p";

const caught = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    const { name, message, status, code, param, type } = error;
    return { name: error.constructor.name ?? name, message, status, code, param, type };
  }
};
const ended = async (video) => {
  while (!["completed", "failed"].includes(video.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    video = await openai.videos.retrieve(video.id);
  }
  return video;
};

const flows = {
  async base64() {
    const made = await openai.images.generate({ ...STILL, n: 2, size: "256x256" });
    const bytes = Buffer.from(made.data[0].b64_json, "base64");
    return { count: made.data.length, magic: bytes.subarray(1, 4).toString(), size: made.size };
  },
  url: async () => (await openai.images.generate({ ...STILL, response_format: "url" })).data[0].url,
  async stream() {
    const options = { model: "kinora/glyph", prompt: "tomato", stream: true, partial_images: 1 };
    const kinds = [];
    for await (const event of await openai.images.generate(options)) kinds.push(event.type);
    return kinds;
  },
  validation: () => caught(openai.images.generate({ ...STILL, size: "300x300" })),
  failure: () => caught(openai.images.generate({ ...STILL, behaviour: "fail" })),
  refusal: () => caught(openai.images.generate({ ...STILL, behaviour: "refuse" })),
  async video() {
    const video = await ended(await openai.videos.create({ ...CLIP, size: "640x360" }));
    const content = await openai.videos.downloadContent(video.id);
    const bytes = Buffer.from(await content.arrayBuffer());
    const listed = await openai.videos.list({ limit: 5 });
    const known = listed.data.some((found) => found.id === video.id);
    const { deleted } = await openai.videos.delete(video.id);
    const { status, seconds, size } = video;
    return { status, seconds, size, magic: bytes.subarray(4, 8).toString(), known, deleted };
  },
  async remix() {
    const first = await openai.videos.create(CLIP);
    const again = await openai.videos.remix(first.id, { prompt: "dawn" });
    return { prompt: again.prompt, from: again.remixed_from_video_id === first.id };
  },
  failedVideo: async () => (await ended(await openai.videos.create({ ...CLIP, behaviour: "fail" }))).error,
  async models() {
    const found = [];
    for await (const model of openai.models.list()) found.push(model.id);
    return { found, one: (await openai.models.retrieve("kinora/glyph")).owned_by };
  },
  unknownModel: () => caught(openai.models.retrieve("kinora/none")),
  async notAPicture() {
    const image = await toFile(Buffer.from("<html></html>"), "a.png", { type: "image/png" });
    return caught(openai.images.edit({ ...STILL, image }));
  },
  wrongKey: () => caught(client("sk-wrong").models.list()),
  async stranger() {
    const { id } = await openai.videos.create(CLIP);
    const told = [];
    for (const wanted of [id, NOBODYS]) {
      const { status, message } = await caught(client(KINORA_OTHER_KEY).videos.retrieve(wanted));
      told.push([status, message.replaceAll(wanted, "")]);
    }
    return told;
  },
};

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(flows);
const told = wanted.map(async (name) => [name, await caught(flows[name]())]);
console.log(JSON.stringify(Object.fromEntries(await Promise.all(told))));
process.exit(0);
