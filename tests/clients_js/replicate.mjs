// Every flow of Replicate's client, unmodified, each told as JSON: `node replicate.mjs` with
// KINORA_URL, KINORA_KEY and KINORA_OTHER_KEY. A flow that throws tells what its caller catches.
import Replicate, { validateWebhook } from "replicate";
import { large, pixel } from "./pictures.mjs";
import { receiving } from "./receiver.mjs";

const { KINORA_URL, KINORA_KEY, KINORA_OTHER_KEY } = process.env;
const STILL = "rehearsal/still";
const QUICK = { prompt: "a paper lantern", latency_ms: 0 };
const NOBODYS = "run_01m7x3yvyte9sagyvwwf6hge6p";

const client = (auth) => new Replicate({ auth, baseUrl: `${KINORA_URL}/replicate/v1` });
const replicate = client(KINORA_KEY);

const caught = async (promise) => {
  try {
    return { value: await promise };
  } catch (error) {
    return { name: error.name, message: error.message, status: error.response?.status };
  }
};
const started = (input) => replicate.predictions.create({ model: STILL, input });

const flows = {
  run: () => replicate.run(STILL, { input: { ...QUICK, num_outputs: 2 } }).then(String),
  block: () => replicate.run(STILL, { input: QUICK, wait: { mode: "block", timeout: 5 } }).then(String),
  async progress() {
    const seen = [];
    const input = { ...QUICK, latency_ms: 700 };
    await replicate.run(STILL, { input }, (prediction) => seen.push(prediction.status));
    return [...new Set(seen)];
  },
  async version() {
    const { latest_version: latest } = await replicate.models.get("rehearsal", "still");
    const versions = await replicate.models.versions.list("rehearsal", "still");
    const output = await replicate.run(`${STILL}:${latest.id}`, { input: QUICK });
    return { same: versions.results[0].id === latest.id, outputs: output.length };
  },
  async deployment() {
    const made = await replicate.deployments.predictions.create("rehearsal", "still", { input: QUICK });
    return (await replicate.wait(made)).status;
  },
  failure: () => caught(replicate.run(STILL, { input: { ...QUICK, behaviour: "fail" } })),
  validation: () => caught(replicate.run(STILL, { input: { ...QUICK, num_outputs: 9 } })),
  async cancelled() {
    const made = await started({ ...QUICK, latency_ms: 20_000 });
    await replicate.predictions.cancel(made.id);
    const ended = await replicate.wait(await replicate.predictions.get(made.id));
    const again = await replicate.predictions.cancel(made.id);
    return [ended.status, again.status];
  },
  // A wait of a second runs out: `starting`, and `run` polls on to the end.
  async patience() {
    const input = { ...QUICK, latency_ms: 2_500 };
    const made = await replicate.predictions.create({ model: STILL, input, wait: 1 });
    const seen = [];
    const wait = { mode: "block", timeout: 1 };
    const output = await replicate.run(STILL, { input, wait }, ({ status }) => seen.push(status));
    return { status: made.status, outputs: output.length, seen: [...new Set(seen)] };
  },
  async aborted() {
    const gone = new AbortController();
    const input = { ...QUICK, latency_ms: 20_000 };
    const wait = { mode: "poll" };
    let id;
    const seen = ({ id: made }) => {
      id = made;
      gone.abort();
    };
    const output = await replicate.run(STILL, { input, wait, signal: gone.signal }, seen);
    const ended = await replicate.wait(await replicate.predictions.get(id));
    return { output: output ?? null, status: ended.status };
  },
  async stream() {
    const events = [];
    for await (const event of replicate.stream(STILL, { input: QUICK })) events.push(event.event);
    return events.filter((event) => event !== "logs");
  },
  async pages() {
    const made = [];
    for (let count = 0; count < 101; count += 1) made.push((await started(QUICK)).id);
    const found = [];
    const sizes = [];
    for await (const page of replicate.paginate(replicate.predictions.list)) {
      sizes.push(page.length);
      found.push(...page.map((prediction) => prediction.id));
    }
    return {
      full: sizes.slice(0, -1).every((size) => size === 100) && sizes.length > 1,
      once: new Set(found).size === found.length,
      all: made.every((id) => found.includes(id)),
    };
  },
  async files() {
    const file = new File([pixel], "pixel.png", { type: "image/png" });
    const kept = await replicate.files.create(file, { shelf: 3 });
    const again = await replicate.files.get(kept.id);
    const listed = (await replicate.files.list()).results.map((found) => found.id);
    const opened = await fetch(kept.urls.get);
    const deleted = await replicate.files.delete(kept.id);
    const gone = await caught(replicate.files.get(kept.id));
    const { name, content_type, size } = kept;
    return {
      kept: [name, content_type, size],
      same: again.checksums.sha256 === kept.checksums.sha256 && listed.includes(kept.id),
      read: (await opened.arrayBuffer()).byteLength,
      deleted,
      gone: gone.status,
    };
  },
  // A file among the inputs is uploaded by the client itself.
  async fileInput() {
    const image = new Blob([pixel], { type: "image/png" });
    const input = { image, seconds: 1, fps: 8, resolution: "180p", latency_ms: 0 };
    return String(await replicate.run("rehearsal/animate", { input }));
  },
  async largeFile() {
    const file = new File([large()], "large.png", { type: "image/png" });
    const kept = await replicate.files.create(file);
    return [kept.content_type, kept.size];
  },
  async webhook() {
    const hooks = await receiving();
    const webhook_events_filter = ["start", "completed"];
    const wish = { model: STILL, input: QUICK, webhook: hooks.url, webhook_events_filter };
    const made = await replicate.predictions.create(wish);
    const told = await hooks.wait(2);
    const { key } = await replicate.webhooks.default.secret.get();
    const [first] = told;
    const forged = { ...first, body: `${first.body} ` };
    const bodies = told.map((one) => JSON.parse(one.body));
    return {
      valid: await Promise.all(told.map((one) => validateWebhook(one, key))),
      forged: await validateWebhook(forged, key),
      same: bodies.every((body) => body.id === made.id),
      last: bodies.at(-1).status,
    };
  },
  async trainings() {
    const { latest_version: latest } = await replicate.models.get("rehearsal", "still");
    const wish = { destination: "ada/own", input: { train_data: "https://example.com/a.zip" } };
    const { message, status } = await caught(
      replicate.trainings.create("rehearsal", "still", latest.id, wish),
    );
    const lost = await caught(replicate.trainings.get("zz4ibbonubfz7carwiefibzgga"));
    const { results } = await replicate.trainings.list();
    return { results, lost: lost.status, status, told: message.includes("trains no models") };
  },
  async search() {
    const found = await replicate.models.search("glyph");
    return found.results.map((model) => `${model.owner}/${model.name}`);
  },
  async catalog() {
    const models = await replicate.models.list();
    const collections = await replicate.collections.list();
    const hardware = await replicate.hardware.list();
    const account = await replicate.accounts.current();
    return {
      models: models.results.length,
      collections: collections.results.map((found) => found.slug),
      hardware: hardware.map((found) => found.sku),
      account: account.name,
    };
  },
  wrongKey: () => caught(client("r8_wrong").models.list()),
  async stranger() {
    const { id } = await started(QUICK);
    const told = [];
    for (const wanted of [id, NOBODYS]) {
      const { status, message } = await caught(client(KINORA_OTHER_KEY).predictions.get(wanted));
      told.push([status, message.replaceAll(wanted, "")]);
    }
    return told;
  },
};

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(flows);
const told = wanted.map(async (name) => [name, await caught(flows[name]())]);
console.log(JSON.stringify(Object.fromEntries(await Promise.all(told))));
process.exit(0);
