// Every flow of fal's client, unmodified, each told as JSON: `node fal.mjs` with KINORA_URL,
// KINORA_KEY and KINORA_OTHER_KEY. A flow that throws tells what its caller would catch.
import { createHash, createPublicKey, verify } from "node:crypto";
import { createFalClient } from "@fal-ai/client";
import { WebSocket } from "ws";
import { large, pixel } from "./pictures.mjs";
import { receiving } from "./receiver.mjs";

const { KINORA_URL, KINORA_KEY, KINORA_OTHER_KEY } = process.env;
const STILL = "rehearsal/still";
const QUICK = { prompt: "a paper lantern", latency_ms: 0 };
const SMALL = { prompt: "tomato", num_inference_steps: 4, image_size: 64 };
const NOBODYS = "run_01m7x3yvyte9sagyvwwf6hge6p";

const client = (credentials, retry) =>
  createFalClient({
    credentials,
    proxyUrl: { url: `${KINORA_URL}/fal/proxy`, when: "always" },
    retry,
  });
const fal = client(KINORA_KEY);

const caught = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    const { name, message, status, requestId, body, isUserTimeout } = error;
    const fields = error.getFieldErrors?.("num_images");
    return { name, message, status, requestId, body, isUserTimeout, fields };
  }
};
const completed = async (requestId) => {
  for (;;) {
    const status = await fal.queue.status(STILL, { requestId });
    if (status.status === "COMPLETED") return status;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

const flows = {
  run: () => fal.run(STILL, { input: { ...QUICK, num_images: 2, image_size: "square" } }),
  get: () => fal.run(STILL, { input: QUICK, method: "get" }),
  async subscribe() {
    const seen = [];
    const result = await fal.subscribe("rehearsal/clip", {
      input: { prompt: "dusk", duration: "1", fps: 8, resolution: "180p", latency_ms: 700 },
      logs: true,
      pollInterval: 100,
      onQueueUpdate: (update) => seen.push(update.status),
    });
    return { ...result, seen: [...new Set(seen)] };
  },
  async followed() {
    const logs = [];
    const result = await fal.subscribe(STILL, {
      input: { ...QUICK, latency_ms: 500 },
      mode: "streaming",
      logs: true,
      onQueueUpdate: (update) => logs.push((update.logs ?? []).map((line) => line.message)),
    });
    return { ...result, logs };
  },
  async stream() {
    const stream = await fal.stream("kinora/glyph", { input: { ...SMALL, steps: undefined } });
    const events = [];
    for await (const event of stream) events.push(event);
    return { last: await stream.done(), events: events.length, requestId: stream.requestId };
  },
  failure: () => caught(fal.subscribe(STILL, { input: { ...QUICK, behaviour: "fail" } })),
  refusal: () => caught(fal.subscribe(STILL, { input: { ...QUICK, behaviour: "refuse" } })),
  failedStream: async () =>
    caught((await fal.stream(STILL, { input: { ...QUICK, behaviour: "fail" } })).done()),
  validation: () => caught(fal.run(STILL, { input: { ...QUICK, num_images: 9 } })),
  async cancelled() {
    const input = { ...QUICK, latency_ms: 20_000 };
    const { request_id: requestId } = await fal.queue.submit(STILL, { input });
    await fal.queue.cancel(STILL, { requestId });
    const status = await completed(requestId);
    const again = await caught(fal.queue.cancel(STILL, { requestId }));
    return { status, again, result: await caught(fal.queue.result(STILL, { requestId })) };
  },
  async timeout() {
    let id;
    const input = { ...QUICK, latency_ms: 20_000 };
    const options = { input, timeout: 600, onEnqueue: (requestId) => (id = requestId) };
    const error = await caught(fal.subscribe(STILL, options));
    return { error, status: await completed(id) };
  },
  async proxied() {
    const told = [];
    for (const target of ["https://queue.fal.run.example/", "http://fal.run/", ""]) {
      const headers = { authorization: `Key ${KINORA_KEY}`, "x-fal-target-url": target };
      const answer = await fetch(`${KINORA_URL}/fal/proxy`, { method: "POST", headers });
      told.push(answer.status);
    }
    return told;
  },
  // The client has no verifier; this is what fal's documentation has receivers do.
  async webhook() {
    const hooks = await receiving();
    const wish = { input: QUICK, webhookUrl: hooks.url };
    const { request_id: requestId } = await fal.queue.submit(STILL, wish);
    const [{ headers, body }] = await hooks.wait(1);
    const listed = await fetch(`${KINORA_URL}/fal/rest/.well-known/jwks.json`);
    const [key] = (await listed.json()).keys;
    const lines = ["request-id", "user-id", "timestamp"].map((name) => headers[`x-fal-webhook-${name}`]);
    const signature = Buffer.from(headers["x-fal-webhook-signature"], "hex");
    const signed = (text) => {
      const message = [...lines, createHash("sha256").update(text).digest("hex")].join("\n");
      const known = createPublicKey({ key, format: "jwk" });
      return verify(null, Buffer.from(message), known, signature);
    };
    const { status, request_id: told } = JSON.parse(body);
    return { status, same: told === requestId, signed: signed(body), forged: signed(`${body} `) };
  },
  wrongKey: () => caught(client("kin_live_wrong").run(STILL, { input: QUICK })),
  async stranger() {
    const { request_id: requestId } = await fal.queue.submit(STILL, { input: QUICK });
    const other = client(KINORA_OTHER_KEY);
    const told = [];
    for (const id of [requestId, NOBODYS]) {
      const { body, status } = await caught(other.queue.status(STILL, { requestId: id }));
      told.push([status, JSON.stringify(body).replaceAll(id, "")]);
    }
    return told;
  },
  async noMoney() {
    const input = QUICK;
    const options = { input, headers: { "x-kinora-max-cost": "0.001" } };
    return caught(fal.queue.submit(STILL, options));
  },
  // Its websocket goes to fal's own host, whatever it is told; a global WebSocket moves it.
  async realtime() {
    globalThis.WebSocket = class extends WebSocket {
      constructor(url) {
        super(url.replace("wss://fal.run", `${KINORA_URL.replace("http", "ws")}/fal/run`));
        this.binaryType = "arraybuffer";
      }
    };
    const results = [];
    const errors = [];
    const connection = fal.realtime.connect("kinora/glyph", {
      throttleInterval: 0,
      onResult: (result) => results.push(result),
      onError: (error) => errors.push(error.message),
    });
    const until = async (done) => {
      while (!done()) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    connection.send(SMALL);
    await until(() => results.length === 1);
    connection.send({ ...SMALL, num_inference_steps: 999 });
    await until(() => errors.length === 1);
    connection.close();
    const [{ content, width }] = results[0].images;
    const { seconds, run } = results[0].session;
    const told = { width, bytes: content.length, prompt: results[0].prompt, error: errors[0] };
    return { ...told, seconds, run };
  },
  async upload() {
    const file = new File([pixel], "pixel.png", { type: "image/png" });
    const url = await fal.storage.upload(file, { lifecycle: { expiresIn: "1h" } });
    const answer = await fetch(url);
    return { url, type: answer.headers.get("content-type"), size: (await answer.blob()).size };
  },
  async largeUpload() {
    const file = new File([large()], "large.png", { type: "image/png" });
    const url = await fal.storage.upload(file);
    const answer = await fetch(url, { method: "HEAD" });
    return Number(answer.headers.get("content-length"));
  },
};

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(flows);
const told = wanted.map(async (name) => [name, await caught(flows[name]())]);
console.log(JSON.stringify(Object.fromEntries(await Promise.all(told))));
process.exit(0);
