// Puts in place what has changed on the page. Without this script every page still works: it is as of when it was loaded.
"use strict";

const main = document.querySelector("main[data-live-url]");
const AGO_MS = 10_000;
const NEWS_MS = 15_000;

// On a phone the menu is wider than the window: the page that is open is in sight.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// How long ago a moment was, in words; the moment itself stays as the element's title.
function ago(element) {
  const at = new Date(element.dateTime);
  if (!element.title) element.title = `${element.textContent} UTC`;
  const seconds = Math.round((Date.now() - at) / 1000);
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => Math.abs(seconds) >= 2 * size) ?? [1, "s"];
  const text = `${Math.floor(Math.abs(seconds) / size)} ${unit}`;
  element.textContent = Math.abs(seconds) < 2 ? "now" : seconds < 0 ? `in ${text}` : `${text} ago`;
}

function agos(within) {
  within.querySelectorAll("time[data-ago]").forEach(ago);
}

// Puts HTML from our own server in the place of the element with this id, and keeps what the reader was about.
function put(id, html) {
  const old = document.getElementById(id);
  if (!old) return false;
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  const active = old.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = [...old.querySelectorAll(".wide")].map((wide) => wide.scrollLeft);
  old.querySelectorAll("details[open][id]").forEach((open) => {
    const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
    if (same) same.open = true;
  });
  agos(fresh);
  old.replaceWith(fresh);
  fresh.querySelectorAll(".wide").forEach((wide, place) => { wide.scrollLeft = scrolled[place] ?? 0; });
  if (active) refocus(fresh, active);
  fresh.classList.add("fresh");
  return true;
}

function refocus(fresh, active) {
  const label = active.getAttribute("aria-label");
  const href = active.getAttribute("href");
  const wanted = active.id ? `#${CSS.escape(active.id)}`
    : href ? `a[href="${CSS.escape(href)}"]`
    : label ? `[aria-label="${CSS.escape(label)}"]`
    : active.localName === "summary" && active.parentElement.id ? `#${CSS.escape(active.parentElement.id)} > summary` : "";
  if (wanted) fresh.querySelector(wanted)?.focus({ preventScroll: true });
}

function follow() {
  const state = document.getElementById("live");
  const news = document.getElementById("news");
  const mark = main.dataset.liveUrl.includes("?") ? "&" : "?";
  const source = new EventSource(`${main.dataset.liveUrl}${mark}seen=${main.dataset.seen}`);
  let count = 0;
  const say = (text) => { if (state.textContent !== text) state.textContent = text; };
  // A page that has another shape now is loaded anew, but not again and again.
  let reloading = false;
  const reload = () => {
    if (reloading) return;
    reloading = true;
    source.close();
    const since = Date.now() - Number(sessionStorage.getItem("reloaded"));
    setTimeout(() => {
      sessionStorage.setItem("reloaded", String(Date.now()));
      location.reload();
    }, Math.max(0, 3000 - since));
  };
  source.addEventListener("part", (event) => {
    const part = JSON.parse(event.data);
    if (put(part.id, part.html)) count += 1;
    else reload();
  });
  source.addEventListener("here", (event) => {
    say("Live: changes come by themselves.");
    if (JSON.parse(event.data).sections.some((id) => !document.getElementById(id))) reload();
  });
  source.addEventListener("reload", reload);
  source.addEventListener("over", () => location.reload());
  source.addEventListener("error", () => {
    const now = new Date().toLocaleTimeString();
    if (!state.textContent.startsWith("Not live")) say(`Not live since ${now}: the coordinator's dashboard does not answer. Trying again.`);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
  // Whoever hears the page is told that something changed, now and then, and not each number.
  setInterval(() => {
    if (count) news.textContent = count === 1 ? "One thing on this page has changed." : `${count} things on this page have changed.`;
    count = 0;
  }, NEWS_MS);
  addEventListener("pagehide", () => source.close());
}

agos(document);
setInterval(() => agos(document), AGO_MS);
if (main) follow();
