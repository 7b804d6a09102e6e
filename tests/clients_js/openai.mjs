// Every flow of OpenAI's client for pictures and clips, unmodified, each told as JSON:
// `node openai.mjs` with KINORA_URL, KINORA_KEY and KINORA_OTHER_KEY.
import OpenAI, { toFile } from "openai";
import { large, pixel } from "./pictures.mjs";
import { receiving } from "./receiver.mjs";

const { KINORA_URL, KINORA_KEY, KINORA_OTHER_KEY } = process.env;
const client = (apiKey) => new OpenAI({ apiKey, baseURL: `${KINORA_URL}/v1` });
const openai = client(KINORA_KEY);
const STILL = { model: "rehearsal/still", prompt: "a paper lantern", latency_ms: 0 };
const CLIP = { model: "rehearsal/clip", prompt: "dusk", seconds: "1", latency_ms: 0 };
const SHORT = { ...CLIP, fps: 8, size: "320x180" };
const NOBODYS = "run_01m7x3yvyte9sagyvwwf6hge6p";

const caught = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    const { name, message, status, code, param, type } = error;
    return { name: error.constructor.name ?? name, message, status, code, param, type };
  }
};
const png = () => toFile(pixel, "pixel.png", { type: "image/png" });
const magic = (encoded) => Buffer.from(encoded, "base64").subarray(1, 4).toString();
const ended = async (video) => {
  video = await openai.videos.retrieve(video.id);
  while (!["completed", "failed"].includes(video.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    video = await openai.videos.retrieve(video.id);
  }
  return video;
};

const flows = {
  async base64() {
    const made = await openai.images.generate({ ...STILL, n: 2, size: "256x256" });
    return { count: made.data.length, magic: magic(made.data[0].b64_json), size: made.size };
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
    const listed = await openai.videos.list({ limit: 100 });
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
  async pages() {
    const made = [];
    for (const prompt of ["one", "two", "three"]) {
      made.push((await ended(await openai.videos.create({ ...SHORT, prompt }))).id);
    }
    const ids = async (query) => {
      const found = [];
      for await (const video of openai.videos.list(query)) found.push(video.id);
      return found;
    };
    const falling = await ids({ limit: 2 });
    const rising = await ids({ limit: 2, order: "asc", after: made[0] });
    const sorted = (list) => list.every((id, place) => place === 0 || list[place - 1] < id);
    const wrong = await caught(openai.videos.list({ order: "up" }));
    return {
      falling: made.every((id) => falling.includes(id)) && sorted(falling.toReversed()),
      rising: rising.includes(made[2]) && !rising.includes(made[0]) && sorted(rising),
      wrong: [wrong.name, wrong.param],
    };
  },
  async variants() {
    const { id } = await ended(await openai.videos.create(SHORT));
    const kinds = {};
    for (const variant of ["thumbnail", "spritesheet"]) {
      const answer = await openai.videos.downloadContent(id, { variant });
      const bytes = Buffer.from(await answer.arrayBuffer());
      kinds[variant] = [answer.headers.get("content-type"), bytes.length > 500];
    }
    return kinds;
  },
  async edits() {
    const image = [await png(), await png()];
    const edit = { ...STILL, model: "rehearsal/blend", image, size: "256x256" };
    const { data } = await openai.images.edit({ ...edit, mask: await png() });
    const stream = await openai.images.edit({ ...edit, stream: true, partial_images: 1 });
    const kinds = [];
    for await (const event of stream) kinds.push(event.type);
    const varied = await openai.images.createVariation({
      image: await png(), model: "rehearsal/blend", response_format: "url", latency_ms: 0,
    });
    return { magic: magic(data[0].b64_json), kinds, varied: varied.data.length };
  },
  async largeEdit() {
    const image = await toFile(large(), "large.png", { type: "image/png" });
    const wish = { ...STILL, model: "rehearsal/blend", image, response_format: "url" };
    return (await openai.images.edit(wish)).data[0].url;
  },
  async videoEdits() {
    const { id } = await ended(await openai.videos.create(SHORT));
    const wish = { prompt: "in blue", model: "rehearsal/tint", latency_ms: 0 };
    const byId = await ended(await openai.videos.edit({ ...wish, video: { id } }));
    const content = await openai.videos.downloadContent(id);
    const video = await toFile(await content.arrayBuffer(), "own.mp4", { type: "video/mp4" });
    const byFile = await ended(await openai.videos.edit({ ...wish, video }));
    const longer = await caught(openai.videos.extend({ prompt: "on", seconds: "1", video: { id } }));
    return { byId: byId.status, byFile: byFile.status, longer: longer.status };
  },
  async pictured() {
    const { id } = await openai.videos.create({
      ...SHORT, model: "rehearsal/animate", input_reference: await png(),
    });
    return (await ended({ id })).status;
  },
  // There is no verb for it: a clip that goes on and is deleted ends, at no cost.
  async cancelled() {
    const { id } = await openai.videos.create({ ...CLIP, latency_ms: 20_000 });
    const deleted = [(await openai.videos.delete(id)).deleted, (await openai.videos.delete(id)).deleted];
    return { deleted, gone: (await caught(openai.videos.downloadContent(id))).name };
  },
  async timeout() {
    const slow = { ...STILL, latency_ms: 5_000 };
    return (await caught(openai.images.generate(slow, { timeout: 700, maxRetries: 0 }))).name;
  },
  failedStream: async () => {
    const stream = await openai.images.generate({ ...STILL, behaviour: "fail", stream: true });
    const all = async () => {
      for await (const event of stream) void event;
    };
    return (await caught(all())).message;
  },
  async webhook() {
    const hooks = await receiving();
    const body = { name: "Shop", url: hooks.url, event_types: ["video.completed"] };
    const endpoint = await openai.post("/webhook_endpoints", { body });
    const { id } = await openai.videos.create(SHORT);
    const mine = (one) => JSON.parse(one.body).data.id === id;
    let told;
    for (let count = 1; !told; count += 1) told = (await hooks.wait(count)).find(mine);
    const { signing_secret: secret } = endpoint;
    const event = await openai.webhooks.unwrap(told.body, told.headers, secret);
    const forged = await caught(openai.webhooks.unwrap(`${told.body} `, told.headers, secret));
    await openai.delete(`/webhook_endpoints/${endpoint.id}`);
    return { type: event.type, same: event.data.id === id, forged: forged.name };
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
