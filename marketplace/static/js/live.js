// A live session: the form is sent as it changes, frames replace one another, and what it has come
// to is counted on. When it ends, the server's own words take the region over.
const ASIDE = new Set(["csrfmiddlewaretoken", "once", "limit-max_cost", "_team"]);
const form = () => document.getElementById("play");

/** What the form says, without what is left empty or as it was where a session has its own way. */
function asked(plain) {
  const said = [...new FormData(form())].filter(([name, value]) => !ASIDE.has(name) && value !== "");
  const found = said.filter(([name, value]) => plain[name] !== value);
  return JSON.stringify(Object.fromEntries(found));
}

/** Seconds and dollars, counted on between two words of the server. */
class Meter {
  constructor(region) {
    this.words = region.querySelector("[data-words]");
    this.cost = region.querySelector("[data-cost]");
    this.frames = 0;
    this.timer = setInterval(() => this.show(), 200);
  }
  hear({ run, seconds, cost }) {
    Object.assign(this, { run, seconds, nano: cost.nano, at: performance.now() });
    this.show();
  }
  show() {
    if (!this.seconds) return;
    const seconds = this.seconds + (performance.now() - this.at) / 1000;
    const dollars = (this.nano / 1e9) * (seconds / this.seconds);
    const pace = (this.frames / seconds).toFixed(1);
    this.words.textContent = `${seconds.toFixed(1)} s · ${this.frames} drawn · ${pace} a second`;
    this.cost.textContent = `$${dollars.toFixed(6)}`;
  }
  stop() {
    clearInterval(this.timer);
  }
}

async function show(stage, { url, width }, prompt) {
  const picture = stage.querySelector("img") ?? new Image(512, 512);
  picture.src = url;
  picture.alt = prompt;
  picture.className = width <= 64 ? "pixels" : "";
  await picture.decode().catch(() => {});
  if (!picture.isConnected) stage.replaceChildren(picture);
}

function live(region) {
  const find = (name) => region.querySelector(`[data-${name}]`);
  const address = new URL(region.dataset.live, location);
  address.protocol = location.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const meter = new Meter(region);
  const plain = JSON.parse(region.dataset.plain);
  let last = "", drawing = false;
  const send = () => {
    if (!region.isConnected) return socket.close();
    const text = asked(plain);
    if (drawing || socket.readyState !== WebSocket.OPEN || text === last) return;
    [last, drawing] = [text, true];
    socket.send(text);
  };
  const hear = (told) => {
    if (told.session) meter.hear(told.session);
    if (told.images?.length) {
      meter.frames += 1;
      show(find("stage"), told.images[0], told.prompt);
      if (meter.frames === 1) find("said").textContent = "The session is live";
    }
    if (told.type === "x-fal-error") find("complaint").textContent = told.reason;
    else if (told.images) find("complaint").textContent = "";
    if (told.type !== "x-fal-message") drawing = false;
    send();
  };
  const end = () => {
    meter.stop();
    form().removeEventListener("input", send);
    if (!region.isConnected) return;
    find("words").textContent = "Ended";
    find("stop").disabled = true;
    if (!meter.run) return;
    const said = find("complaint").textContent;
    htmx.ajax("GET", `/runs/${meter.run}/live`, { target: "#result", swap: "innerHTML show:none" })
      .then(() => { document.getElementById("said").textContent = `The session has ended. ${said}`; });
  };
  socket.addEventListener("open", send);
  socket.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  socket.addEventListener("close", () => setTimeout(end, 300)); // so that it is settled
  form().addEventListener("input", send);
  find("stop").addEventListener("click", () => socket.close());
}

const attach = () => document.querySelectorAll("[data-live]:not([data-begun])").forEach((region) => {
  region.dataset.begun = "";
  live(region);
  const { top, bottom } = region.getBoundingClientRect();
  if (top > innerHeight - 200 || bottom < 200) region.scrollIntoView({ block: "center" });
});

document.addEventListener("htmx:afterSettle", attach);
