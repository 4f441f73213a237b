/* The shop's page: touch something, and the shelf above changes. What is said to the gateway goes by edgeward.js. */

const items = await (await fetch("items.json")).json();
const { port } = await (await fetch("broker.json")).json();
const visitor = (localStorage.visitor ??= "visitor-" + Math.random().toString(36).slice(2));
const page = await edgeward({ policy: "capture-policy", url: `ws://${location.hostname}:${port}`, subject: visitor });
globalThis.page = page;

const by = (id) => document.getElementById(id);
let shown, touched;

const card = (item) => {
  const row = document.createElement("li");
  row.innerHTML = `<button class="item" data-item="${item}"></button><button data-item="${item}" data-convert="5">Buy</button>`;
  row.firstChild.textContent = items[item];
  row.lastChild.setAttribute("aria-label", `Buy ${items[item]}`);
  return row;
};

/** Ask what to show; the usual order where nothing is decided. */
const refresh = async () => {
  const started = performance.now();
  try {
    shown = await page.decide("shelf", Object.keys(items).filter((item) => item !== touched));
    const took = Math.round(performance.now() - started);
    const who = Object.entries(shown.bundles ?? {}).map((pair) => pair.join(" "))[0];
    by("why").textContent = `Chosen for you in ${took} ms, here in the shop, by ${shown.fallback || who}.`;
  } catch (error) {
    shown = undefined;
    by("why").textContent = page.consent().recommend ? "The usual order: the gateway is not there." : "The usual order.";
  }
  page.shown = shown; // for whoever looks from the console
  const order = shown?.items ?? Object.keys(items).slice(0, 6);
  by("shelf").replaceChildren(...order.map(card));
  page.watch();
  tell();
};

const tell = () => {
  const { sent, queued, dropped, up } = page.counts;
  by("counts").textContent = `${up ? "Connected" : "Offline"}: ${sent} sent, ${queued} waiting, ${dropped} not captured.`;
};

const field = by("consent").firstElementChild;
for (const [name, purpose] of Object.entries(page.policy.purposes)) {
  if (!purpose.asks) continue;
  const label = document.createElement("label");
  label.innerHTML = `<input type="checkbox" name="${name}" /><span></span>`;
  label.lastChild.textContent = purpose.text;
  label.firstChild.checked = page.consent()[name];
  if (purpose.shares && navigator.globalPrivacyControl) label.firstChild.disabled = true;
  label.firstChild.addEventListener("change", async ({ target }) => {
    page.consent({ [name]: target.checked });
    await refresh();
  });
  field.append(label);
}

by("everything").replaceChildren(...Object.keys(items).map(card));
document.addEventListener("click", ({ target }) => {
  const item = target.closest("[data-item]")?.dataset.item;
  if (!item) return;
  touched = item;
  if (shown?.items.includes(item)) page.feedback(shown, "click", item);
  refresh();
});
setInterval(tell, 500);
await refresh();
document.body.dataset.ready = "yes";
