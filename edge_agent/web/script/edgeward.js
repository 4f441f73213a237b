/*
 * edgeward.js: what a page may tell its gateway, and what the gateway decides for the page.
 *
 *   const page = await edgeward({ policy: "/capture-policy", url: "wss://gateway.local:8884" });
 *   page.consent({ recommend: true });
 *   page.watch(); // [data-item] is viewed, clicked, dwelt on; the page is scrolled
 *   const made = await page.decide("shelf", ["tea", "coffee"]);
 *   page.feedback(made, "click");
 *
 * Nothing is captured that the policy does not name, and nothing without a yes where the policy asks for one. What is
 * said waits in localStorage until the gateway has it, under an id that tells it from every other: said twice, it
 * counts once. MQTT 5 over WebSockets, 3.1.1 where the broker does not speak 5 there. Contract: docs/clients.md.
 */
import { Line, attempt, random } from "./line.js";

const STORE = "edgeward:";
const QUEUE_MAX = 256; // messages that wait; the oldest gives way
const AGE_MS_MAX = 6 * 864e5; // the gateway knows ids for 7 days: what waits longer could count twice
const MESSAGE_MAX = 8192; // characters of one message
const TEXT_MAX = 512; // characters of one value; the gateway takes no more either
const WINDOW = 16; // messages that the broker has not acknowledged; mosquitto takes 20
const BATCH_MAX = 48; // messages of one beacon
const BEACON_MS = 1e3; // what is said within this time goes as one beacon
const DECIDE_MS = 2e3;
const UNHEARD = 16; // the broker's word for a message that nobody listens to
const UNHEARD_MS = 2e3;
const SEEN_MS = 500; // an item counts as viewed after this time, at least half of it on the screen

const store = attempt(() => globalThis.localStorage); // a page that may not have it holds all in memory
const recall = (key) => attempt(() => JSON.parse(store.getItem(STORE + key)));
const keep = (key, value) => attempt(() => store.setItem(STORE + key, JSON.stringify(value)));
const forget = (key) => attempt(() => store.removeItem(STORE + key));

const policyOf = async (given) => {
  if (typeof given !== "string") return given;
  try {
    const answer = await fetch(given, { credentials: "omit" });
    if (!answer.ok) throw new Error(given + ": " + answer.status);
    const policy = await answer.json();
    keep("policy:" + given, policy);
    return policy;
  } catch (error) {
    const known = recall("policy:" + given); // a page that is opened offline
    if (known) return known;
    throw error;
  }
};

/**
 * Open the page's way to its gateway.
 *
 * @param options policy: address of `/capture-policy`, or the policy itself; url: `ws://` or `wss://` of a broker, with
 *   user and password; beacon: address of `/beacon`; subject: whom the page is about, a name that no one else has
 *   (none: this visit alone). At least one of url and beacon.
 * @returns the page, once the policy is known
 */
globalThis.edgeward = async (options) => {
  const policy = await policyOf(options.policy);
  const { device } = policy;
  const subject = options.subject || "visit-" + random();
  if (/[+#/\0]/.test(subject) || subject.length > 128)
    throw new TypeError("subject: 1 to 128 characters, none of + # /");
  const gpc = !!navigator.globalPrivacyControl;
  const place = device + ":";
  const wordKey = "word:" + place + subject;
  const queue = new Map(); // id → [topic, JSON, retained, unix ms]; ids begin with their time, so they sort
  const flying = new Map(); // number of a packet → id
  const asked = new Map(); // correlation → what to do with the answer
  const counts = { sent: 0, dropped: 0, refused: 0, lost: 0 };
  const ends = new AbortController(); // of all listeners
  let word = recall(wordKey) || { purposes: {}, versions: {} };
  let timer, sending, pause;

  // ---- consent ----------------------------------------------------------------------------------------------------

  const allowed = (name) => {
    const purpose = policy.purposes[name];
    const said = word.purposes[name];
    if (!purpose || (gpc && purpose.shares)) return false;
    return purpose.asks ? said === true && word.versions[name] === purpose.version : said !== false;
  };

  /** Take a word; what was captured for a purpose that is refused by it never leaves. */
  const heed = (newest) => {
    const before = Object.keys(policy.purposes).filter(allowed);
    word = newest || word;
    if (before.every(allowed)) return;
    for (const [id, [topic, body]] of queue)
      if (topic === policy.topic && JSON.parse(body).subject === subject) (drop(id), counts.dropped++);
  };

  const consent = (purposes) => {
    if (purposes) {
      const versions = {};
      for (const name of Object.keys(purposes)) versions[name] = policy.purposes[name]?.version || "";
      heed({ purposes: { ...word.purposes, ...purposes }, versions: { ...word.versions, ...versions } });
      if (options.subject) keep(wordKey, word);
      put("consent/" + subject, { ...word, time_ms: Date.now(), gpc }, true);
    }
    return Object.fromEntries(Object.keys(policy.purposes).map((name) => [name, allowed(name)]));
  };

  // ---- what waits -------------------------------------------------------------------------------------------------

  const key = (id) => "queue:" + place + id;
  const drop = (id) => {
    queue.delete(id);
    forget(key(id));
  };
  const put = (topic, body, retain) => {
    const now = Date.now();
    const id = now.toString(36).padStart(9, "0") + "-" + (body.id || random());
    const message = [topic, JSON.stringify(body), !!retain, now];
    if (message[1].length > MESSAGE_MAX) return void counts.lost++;
    queue.set(id, message);
    keep(key(id), message);
    if (queue.size > QUEUE_MAX) {
      drop(queue.keys().next().value);
      counts.lost++;
    }
    soon();
  };
  const restore = () => {
    const prefix = STORE + key("");
    const names =
      attempt(() =>
        Object.keys(store)
          .filter((name) => name.startsWith(prefix))
          .sort(),
      ) || [];
    for (const name of names) {
      const id = name.slice(prefix.length);
      const message = recall(key(id));
      if (Array.isArray(message) && Date.now() - message[3] < AGE_MS_MAX && queue.size < QUEUE_MAX)
        queue.set(id, message);
      else (drop(id), counts.lost++);
    }
  };

  // ---- the ways out -----------------------------------------------------------------------------------------------

  const soon = () => {
    if (line) queueMicrotask(pump);
    if (options.beacon && !timer) timer = setTimeout(post, BEACON_MS);
  };

  const pump = () => {
    if (!line?.up || pause) return;
    const given = new Set(flying.values());
    const next = [...queue].filter(([id]) => !given.has(id)).slice(0, WINDOW - given.size);
    if (next.length)
      line.publish(next.map(([, message]) => message)).forEach((n, i) => flying.set(n, next[i][0]));
    for (const [correlation, ask] of asked)
      if (!ask.sent) ask.sent = line.publish([ask.message(correlation)]);
  };

  const batch = () => [...queue].slice(0, BATCH_MAX);
  const letter = (held) =>
    JSON.stringify({
      device,
      messages: held.map(([, [topic, body]]) => ({ topic, body: JSON.parse(body) })),
    });

  /** By beacon, where there is no line; its answer tells what arrived. */
  const post = async () => {
    timer = undefined;
    const held = batch();
    if (!held.length || line?.up || sending) return;
    sending = true;
    let status = 0;
    try {
      status = (
        await fetch(options.beacon, {
          method: "POST",
          body: letter(held),
          keepalive: true,
          credentials: "omit",
        })
      ).status;
    } catch {
      // No network: it is tried again.
    }
    sending = false;
    const settled = status && status !== 429 && status < 500;
    if (settled) for (const [id] of held) (drop(id), counts[status < 300 ? "sent" : "refused"]++);
    if (queue.size && !timer) timer = setTimeout(post, settled ? 0 : BACKOFF_MS[1]);
  };

  /** The page goes away: nobody will hear an answer, so all is kept, and said again with the same ids at the next visit. */
  const leave = () => {
    if (document.visibilityState !== "hidden") return;
    gaze.rest();
    if (line?.up) pump();
    else if (options.beacon && queue.size) navigator.sendBeacon(options.beacon, letter(batch()));
  };

  const line =
    (options.url || undefined) &&
    Line(
      options,
      device,
      (text) => {
        const answer = attempt(() => JSON.parse(text));
        const ask = asked.get(answer?.correlation);
        if (ask) ask.settle(answer);
      },
      (number, reason) => {
        const id = flying.get(number);
        flying.delete(number);
        const message = queue.get(id);
        if (message && reason === UNHEARD && !message[2]) {
          // The gateway has not been here since the broker began: it waits here, and not for nobody.
          pause ||= setTimeout(() => ((pause = 0), pump()), UNHEARD_MS);
        } else if (message) (drop(id), counts[reason < 128 ? "sent" : "refused"]++);
        pump();
      },
      (up) => {
        if (up) return pump();
        flying.clear();
        for (const ask of asked.values()) ask.sent = undefined;
        soon();
      },
    );

  // ---- what is captured -------------------------------------------------------------------------------------------

  const fit = (value) => (typeof value === "string" ? value.slice(0, TEXT_MAX) : value);
  /** Keep what the policy and the person allow of an event; false where that is nothing, or its kind alone. */
  const track = (kind, more = {}) => {
    const body = {};
    for (const [name, value] of Object.entries({ kind, ...more }))
      if (value !== undefined && policy.fields[name]?.some(allowed)) body[name] = fit(value);
    if (!body.kind || Object.keys(body).length < 2) {
      counts.dropped++;
      return false;
    }
    put(policy.topic, { id: random(), time: Date.now(), subject, ...body, ...(gpc && { gpc }) });
    return true;
  };

  /** What is on the screen, and for how long. */
  const gaze = (() => {
    const since = new Map(); // element → ms at which it came into sight
    const viewed = new WeakSet();
    let deepest = 0,
      told = 0;
    const look = (element) => {
      if (since.has(element) && !viewed.has(element))
        (viewed.add(element), track("view", { seen: element.dataset.item }));
    };
    const end = (element) => {
      const ms = performance.now() - since.get(element);
      since.delete(element);
      if (ms >= SEEN_MS) track("dwell", { seen: element.dataset.item, seconds: Math.round(ms / 100) / 10 });
    };
    const sight =
      globalThis.IntersectionObserver &&
      new IntersectionObserver(
        (seen) => {
          for (const { target, isIntersecting } of seen) {
            if (isIntersecting && !since.has(target))
              (since.set(target, performance.now()), setTimeout(look, SEEN_MS, target));
            else if (!isIntersecting && since.has(target)) end(target);
          }
        },
        { threshold: 0.5 },
      );
    const scrolled = () => {
      const whole = document.documentElement.scrollHeight || 1;
      deepest = Math.max(deepest, Math.min(1, (scrollY + innerHeight) / whole));
    };
    return {
      see: (element) => sight?.observe(element),
      scrolled,
      rest() {
        for (const element of [...since.keys()]) end(element);
        sight?.disconnect();
        if (deepest > told)
          (track("scroll", { page: location.pathname, depth: Math.round(deepest * 100) / 100 }),
            (told = deepest));
        for (const element of document.querySelectorAll("[data-item]")) if (watching) sight?.observe(element);
      },
    };
  })();

  let watching = false;
  const watch = () => {
    for (const element of document.querySelectorAll("[data-item]")) gaze.see(element);
    if (watching) return;
    watching = true;
    const on = (target, name, act) =>
      target.addEventListener(name, act, { capture: true, passive: true, signal: ends.signal });
    on(document, "click", ({ target }) => {
      const item = target.closest?.("[data-item]")?.dataset.item;
      if (item === undefined) return;
      const bought = target.closest("[data-convert]");
      if (bought) track("conversion", { item, value: +bought.dataset.convert || undefined });
      else track("click", { item });
    });
    on(globalThis, "scroll", gaze.scrolled);
    gaze.scrolled();
    track("view", { page: location.pathname });
  };

  // ---- what is decided ----------------------------------------------------------------------------------------------

  /** Ask for a decision among `items` (none: the placement's own); rejected when none comes within `ms`. */
  const decide = (placement, items = [], { fields = {}, ms = DECIDE_MS } = {}) =>
    new Promise((resolve, reject) => {
      const refuse = (why) => reject(new Error("no decision of " + placement + ": " + why));
      if (!line) return refuse("no url of a broker");
      if (!policy.placements[placement]) return refuse("not in the policy");
      if (!policy.placements[placement].every(allowed)) return refuse("no consent");
      const correlation = random();
      const late = setTimeout(() => (asked.delete(correlation), refuse("none in time")), ms);
      asked.set(correlation, {
        message: () => [
          "request/" + placement,
          JSON.stringify({ subject, items, fields, reply_to: line.reply, correlation }),
        ],
        settle(answer) {
          clearTimeout(late);
          asked.delete(correlation);
          resolve(answer);
        },
      });
      queueMicrotask(pump);
    });

  /** What became of a decision; of what the page showed by itself, without an id, nothing is said. */
  const feedback = (decision, outcome, item = "") =>
    decision.id && put("feedback", { decision_id: decision.id, outcome, item, time_ms: Date.now() });

  restore();
  addEventListener("visibilitychange", leave, { capture: true, signal: ends.signal });
  addEventListener("online", () => (line?.dial(), soon()), { signal: ends.signal });
  // Another tab of the page: one person, one word.
  addEventListener("storage", ({ key }) => key === STORE + wordKey && heed(recall(wordKey)), {
    signal: ends.signal,
  });
  line?.dial();
  if (queue.size) soon();

  return {
    policy,
    subject,
    consent,
    track,
    watch,
    decide,
    feedback,
    say: (query) => track("voice", { query }),
    get counts() {
      return { ...counts, queued: queue.size, up: !!line?.up };
    },
    /** End; `forget`: the next visitor of a kiosk finds nothing of this one, neither a word nor what waits. */
    stop(forgets) {
      gaze.rest();
      pump();
      ends.abort();
      clearTimeout(timer);
      line?.close();
      if (!forgets) return;
      forget(wordKey);
      for (const [id, [topic, body]] of queue)
        if (JSON.parse(body).subject === subject || topic.endsWith("/" + subject)) drop(id);
    },
  };
};
