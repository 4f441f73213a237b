/* The kiosk's page: every visit is asked anew, and leaves nothing behind on the screen. */

const IDLE_MS = 60_000;
const items = await (await fetch("items.json")).json();
const { port } = await (await fetch("broker.json")).json();
const by = (id) => document.getElementById(id);
let page, made, idle;

const begin = async () => {
  page?.stop(true);
  page = globalThis.page = await edgeward({ policy: "capture-policy", url: `ws://${location.hostname}:${port}` });
  by("text").textContent = page.policy.purposes.recommend.text;
  by("welcome").hidden = false;
  by("suggested").hidden = true;
};

const answer = (yes) => {
  page.consent({ recommend: yes });
  by("welcome").hidden = true;
  if (yes) suggest(Object.keys(items));
};

/** One idea among `candidates`; none where nothing is decided. */
const suggest = async (candidates) => {
  made = await page.decide("suggestion", candidates).catch(() => undefined);
  by("suggested").hidden = !made;
  if (made) by("suggestion").textContent = items[made.items[0]];
};

const others = (...taken) => Object.keys(items).filter((item) => !taken.includes(item));

by("everything").replaceChildren(
  ...Object.entries(items).map(([item, name]) => {
    const row = document.createElement("li");
    row.innerHTML = `<button class="item" data-item="${item}"></button>`;
    row.firstChild.textContent = name;
    return row;
  }),
);
by("everything").addEventListener("click", ({ target }) => {
  const { item } = target.dataset;
  if (item && page.track("click", { item })) suggest(others(item));
});
by("yes").addEventListener("click", () => answer(true));
by("no").addEventListener("click", () => answer(false));
by("show").addEventListener("click", () => {
  page.feedback(made, "click");
  page.track("click", { item: made.items[0] });
  suggest(others(made.items[0]));
});
by("dismiss").addEventListener("click", () => {
  page.feedback(made, "dismiss");
  suggest(others(made.items[0]));
});
by("leave").addEventListener("click", begin);
document.addEventListener("pointerdown", () => {
  clearTimeout(idle);
  idle = setTimeout(begin, IDLE_MS);
});
await begin();
document.body.dataset.ready = "yes";
