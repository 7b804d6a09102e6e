// Relative times: the server writes them once, this keeps them true and puts the reader's own
// clock into the title.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function ago(seconds) {
  if (seconds < 5) return "just now";
  const [size, name] = UNITS.find(([size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${name} ago`;
}

export function keepTimes() {
  const refresh = () => {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const at = new Date(time.dateTime);
      time.title = at.toLocaleString(undefined, { dateStyle: "long", timeStyle: "medium" });
      const seconds = (Date.now() - at) / 1000;
      if (seconds >= 0 && seconds < 30 * 86400) time.textContent = ago(seconds);
    }
  };
  refresh();
  setInterval(refresh, 15_000);
  document.addEventListener("htmx:afterSwap", refresh);
}
