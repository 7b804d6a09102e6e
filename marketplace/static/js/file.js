// A file for a run: chosen, dropped or pasted, sent to the store at once, and shown from there, so
// that what is seen is what was accepted. The text field holds its address, as for any other client.
const OURS = /^(https?:\/\/[^/]+)?(\/media\/files\/[^?#]+)$/;

function show(region, address) {
  const frame = region.querySelector("[data-frame]");
  const ours = OURS.exec(address.trim());
  if (frame.dataset.shown === (ours?.[2] ?? "")) return;
  frame.dataset.shown = ours?.[2] ?? "";
  frame.replaceChildren();
  if (!ours) return;
  const picture = new Image();
  picture.alt = "";
  picture.src = ours[2];
  picture.decode().then(() => frame.replaceChildren(picture)).catch(() => {});
}

/** PUT with progress, which fetch cannot tell. */
function put(address, file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", address);
    request.responseType = "json";
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && tell(event.loaded / event.total);
    request.onerror = () => reject(new Error("The site did not answer. Try again."));
    request.onload = () => request.status < 300
      ? resolve(request.response)
      : reject(new Error(request.response?.error?.message ?? "The file was not accepted."));
    request.send(file);
  });
}

async function announce(region, file) {
  const form = region.closest("form");
  const body = new FormData();
  body.set("name", file.name);
  body.set("csrfmiddlewaretoken", form.querySelector("[name=csrfmiddlewaretoken]").value);
  const answer = await fetch(region.dataset.announce, { method: "POST", body });
  if (answer.redirected || !answer.ok) throw new Error("Log in to send a file.");
  return answer.json();
}

async function send(region, file) {
  const said = region.querySelector("[data-said]");
  const field = region.querySelector("input[type=text]");
  region.dataset.busy = "";
  delete region.dataset.wrong;
  try {
    said.textContent = "Sending";
    const { put: address, url } = await announce(region, file);
    const told = await put(address, file, (share) => {
      said.textContent = share < 1 ? `Sending, ${Math.round(share * 100)} %` : "Checking";
    });
    field.value = url;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    said.textContent = told.width ? `${told.width} × ${told.height}` : "Ready";
  } catch (fault) {
    region.dataset.wrong = "";
    said.textContent = fault.message.replace(/^file /, "This file ");
  } finally {
    delete region.dataset.busy;
  }
}

function attach(region) {
  region.dataset.attached = "";
  const field = region.querySelector("input[type=text]");
  const taken = (list) => { const [file] = list ?? []; if (file) send(region, file); return Boolean(file); };
  region.querySelector("[data-choose]").addEventListener("change", (event) => {
    taken(event.target.files);
    event.target.value = "";
  });
  field.addEventListener("paste", (event) => taken(event.clipboardData?.files) && event.preventDefault());
  field.addEventListener("input", () => show(region, field.value));
  for (const name of ["dragenter", "dragover"]) {
    region.addEventListener(name, (event) => { event.preventDefault(); region.dataset.over = ""; });
  }
  for (const name of ["dragleave", "drop"]) region.addEventListener(name, () => delete region.dataset.over);
  region.addEventListener("drop", (event) => taken(event.dataTransfer?.files) && event.preventDefault());
  show(region, field.value);
}

const attachAll = () => document.querySelectorAll("[data-brought]:not([data-attached])").forEach(attach);
document.addEventListener("htmx:afterSettle", attachAll);
attachAll();
