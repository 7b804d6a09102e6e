// The viewer on the front page: plays a recorded run from its strip of frames, once per press.
const STILL = matchMedia("(prefers-reduced-motion: reduce)").matches;
const FRAME_MS = (share) => 50 + 110 * share; // noise goes by, the picture takes its time

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function light(wheel, share) {
  const lit = Math.ceil(share * 12);
  [...wheel.children].forEach((leaf, n) => leaf.classList.toggle("lit", n < lit));
}

async function show(viewer, button) {
  const find = (selector) => viewer.querySelector(selector);
  const [picture, canvas, words] = ["[data-picture]", "[data-canvas]", "[data-words]"].map(find);
  document.getElementById("viewer").replaceChildren();
  for (const other of viewer.querySelectorAll("[data-film]")) other.ariaPressed = String(other === button);
  const strip = new Image();
  strip.src = button.dataset.film;
  try { await strip.decode(); } catch { strip.src = ""; }
  const { prompt, image } = button.dataset;
  const side = strip.naturalHeight;
  const count = side && !STILL ? strip.naturalWidth / side : 0;
  const turn = (viewer.dataset.turn = String(Math.random()));
  canvas.width = canvas.height = side || 1;
  const pen = canvas.getContext("2d");
  for (let n = 0; n < count; n += 1) {
    pen.drawImage(strip, n * side, 0, side, side, 0, 0, side, side);
    canvas.hidden = false;
    light(find(".wheel"), (n + 1) / count);
    words.textContent = `${prompt} · frame ${n + 1} of ${count}`;
    await wait(FRAME_MS(n / count));
    if (viewer.dataset.turn !== turn) return;
  }
  picture.src = image;
  picture.alt = `${prompt}, as kinora/glyph drew it`;
  canvas.hidden = true;
  words.textContent = prompt;
}

for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const films = viewer.querySelectorAll("[data-film]");
  for (const film of films) film.addEventListener("click", () => show(viewer, film));
  if (films.length && !STILL) show(viewer, films[0]);
}
