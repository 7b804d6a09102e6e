// Typing filters a list at once. Words are looked for in each item's data-words.
for (const input of document.querySelectorAll("[data-filters]")) {
  const items = [...document.querySelectorAll(`#${input.dataset.filters} > [data-words]`)];
  const none = document.getElementById(`${input.dataset.filters}-none`);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const item of items) {
      const said = item.dataset.words.toLowerCase();
      item.hidden = !words.every((word) => said.includes(word));
    }
    none.hidden = items.some((item) => !item.hidden);
  });
}
