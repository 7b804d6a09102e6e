// Follow a run: leaves flick as steps finish, previews replace one another in place, and when it
// has ended the server's own words take the region over. Nothing here moves the layout.
const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

function light(wheel, share) {
  const lit = Math.ceil(share * wheel.children.length);
  [...wheel.children].forEach((leaf, n) => leaf.classList.toggle("lit", n < lit));
}

/** Put a preview over the one before it, and drop that only once the new one is decoded. */
async function preview(stage, source) {
  if (stage.dataset.shown === source) return;
  stage.dataset.shown = source;
  const next = new Image(512, 512);
  next.alt = "The picture so far";
  next.src = source;
  next.className = "arriving";
  await next.decode();
  if (stage.dataset.shown !== source) return;
  const before = [...stage.children];
  stage.append(next);
  if (calm()) await Promise.allSettled(next.getAnimations().map((fade) => fade.finished));
  for (const old of before) old.remove();
}

function words(run) {
  const { progress } = run;
  if (run.state === "queued") return "Waiting for a machine";
  if (ENDED.has(run.state)) return "Settling";
  if (run.session) return "A session is under way";
  if (!progress || !progress.steps) return "Starting";
  return `Step ${progress.step} of ${progress.steps}`;
}

function tell(region, run) {
  const find = (name) => region.querySelector(`[data-${name}]`);
  find("words").textContent = words(run);
  if (find("said").dataset.state !== run.state) {
    find("said").dataset.state = run.state;
    find("said").textContent = { queued: "Waiting for a machine", running: "Running" }[run.state] ?? "";
  }
  if (!run.progress) return;
  const { step, steps, preview: picture } = run.progress;
  const bar = find("bar");
  bar.setAttribute("aria-valuemax", steps);
  bar.setAttribute("aria-valuenow", step);
  light(bar.firstElementChild, steps ? step / steps : 0);
  if (picture) preview(find("stage"), picture).catch(() => {});
}

function follow(region) {
  const source = new EventSource(region.dataset.follow);
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    source.close();
    if (!region.isConnected) return;
    const said = document.getElementById("said");
    htmx.ajax("GET", region.dataset.then, { target: region.dataset.into, swap: "innerHTML show:none" })
      .then(() => { said.textContent = "The run has ended. Its result and receipt are shown."; });
  };
  source.addEventListener("run", (event) => {
    if (!region.isConnected) return source.close();
    const run = JSON.parse(event.data);
    tell(region, run);
    if (ENDED.has(run.state)) end();
  });
  source.addEventListener("done", end);
  source.addEventListener("error", () => {
    // Closed for good, as by a pass that has expired: ask the page, which follows with a new one.
    if (source.readyState === EventSource.CLOSED) setTimeout(end, 2000);
  });
  region.querySelector("[data-cancel]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    region.querySelector("[data-words]").textContent = "Cancelling";
    form.querySelector("button").disabled = true;
    await fetch(form.action, { method: "POST", body: new FormData(form), headers: { "HX-Request": "true" } });
  });
}

/** On a narrow screen the stage lies below the form: bring it into sight when it comes alive. */
function reveal(region) {
  const { top, bottom } = region.getBoundingClientRect();
  if (top > innerHeight - 200 || bottom < 200) region.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
}

const attach = (root) => root.querySelectorAll("[data-follow]:not([data-followed])").forEach((region) => {
  region.dataset.followed = "";
  follow(region);
  reveal(region);
});

document.addEventListener("htmx:afterSettle", () => attach(document));
attach(document);
