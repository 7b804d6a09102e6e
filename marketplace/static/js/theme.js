// Runs before the first paint, so that a chosen theme does not flash. Not a module for that reason.
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch { /* storage may be refused; the system's theme then holds */ }
})();
