/* The line from a page to a broker: as much of MQTT as a page needs, over WebSockets. Sources: MQTT 5 and 3.1.1, sections 3.1 to
 * 3.14; RFC 6455 is the browser's. */

export const ROOT = "edgeward/1/";
const PACKET_MAX = 262144; // bytes that a broker may send at once
const ALIVE_MS = 20e3; // between two pings
const BACKOFF_MS = [250, 30e3]; // before dialling again: at first, at most

export const random = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => n.toString(16).padStart(2, "0")).join("");
export const attempt = (action) => {
  try {
    return action();
  } catch {
    return undefined; // storage that is full, forbidden or garbled: memory serves
  }
};

const bytes = (text) => [...new TextEncoder().encode(text)];
const string = (text) => {
  const raw = bytes(text);
  return [raw.length >> 8, raw.length & 255, ...raw];
};
const packet = (head, body) => {
  const length = [];
  let left = body.length;
  do {
    length.push((left & 127) | (left > 127 ? 128 : 0));
    left >>= 7;
  } while (left);
  return [head, ...length, ...body];
};
/** A variable byte integer: [value, where it ends]; undefined when it is cut off, an exception when it is none. */
const varint = (raw, at) => {
  for (let value = 0, shift = 0; at < raw.length; shift += 7) {
    value |= (raw[at] & 127) << shift;
    if (raw[at++] < 128) return [value, at];
    if (shift > 14) throw 0;
  }
};

/**
 * One line to a broker, dialled again for as long as it is wanted.
 *
 * @param options url, user, password
 * @param heard (payload as text) for what comes on the reply topic
 * @param acknowledged (number of the packet, why: 0 it was taken, 16 and nobody listens, 128 and more it was refused)
 * @param changed (whether the line is up)
 */
export const Line = (options, device, heard, acknowledged, changed) => {
  const client = "page-" + random();
  const reply = ROOT + device + "/reply/" + client;
  let modern = options.version !== "3.1.1";
  let socket,
    pings,
    retry,
    buffer,
    answered,
    opened,
    greeted,
    wanted = true,
    wait = BACKOFF_MS[0],
    number = 0;

  const write = (packets) => socket.send(Uint8Array.from(packets));
  const none = () => (modern ? [0] : []); // no properties

  const greet = () => {
    opened = true;
    const flags = 2 | (options.user ? 128 : 0) | (options.password ? 64 : 0);
    const properties = modern ? [5, 39, 0, PACKET_MAX >> 16, (PACKET_MAX >> 8) & 255, PACKET_MAX & 255] : [];
    write(
      packet(16, [
        ...string("MQTT"),
        modern ? 5 : 4,
        flags,
        0,
        60,
        ...properties,
        ...string(client),
        ...(options.user ? string(options.user) : []),
        ...(options.password ? string(options.password) : []),
      ]),
    );
  };

  const take = (head, body) => {
    answered = true;
    const kind = head >> 4;
    if (kind === 2) {
      if (body[1]) throw 0;
      greeted = true;
      wait = BACKOFF_MS[0];
      write(packet(130, [0, 1, ...none(), ...string(reply), 0]));
      changed(true);
    } else if (kind === 4) {
      acknowledged((body[0] << 8) | body[1], (modern && body[2]) || 0);
    } else if (kind === 3) {
      const qos = (head >> 1) & 3;
      let at = 2 + ((body[0] << 8) | body[1]) + (qos ? 2 : 0);
      if (modern) {
        const [length, end] = varint(body, at);
        at = end + length;
      }
      heard(new TextDecoder().decode(body.subarray(at)));
    } else if (kind === 14) throw 0;
  };

  const read = (more) => {
    const raw = new Uint8Array(buffer.length + more.byteLength);
    raw.set(buffer);
    raw.set(new Uint8Array(more), buffer.length);
    let at = 0;
    for (;;) {
      const found = varint(raw, at + 1);
      if (!found) break;
      const [length, start] = found;
      if (length > PACKET_MAX) throw 0;
      if (start + length > raw.length) break;
      take(raw[at], raw.subarray(start, start + length));
      at = start + length;
    }
    buffer = raw.slice(at);
  };

  const fall = () => {
    clearInterval(pings);
    if (!socket) return;
    const old = socket;
    socket = undefined;
    old.onopen = old.onmessage = old.onclose = old.onerror = null;
    attempt(() => old.close());
    if (opened && !greeted && !options.version) modern = !modern; // perhaps it does not speak this one
    opened = greeted = false;
    changed(false);
    if (!wanted) return;
    retry = setTimeout(dial, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, BACKOFF_MS[1]);
  };

  const dial = () => {
    clearTimeout(retry);
    if (socket || !wanted) return;
    buffer = new Uint8Array();
    answered = true;
    try {
      socket = new WebSocket(options.url, "mqtt");
    } catch {
      wanted = false; // no address, or one that this page may not dial: it will not become one
      return;
    }
    socket.binaryType = "arraybuffer";
    socket.onopen = greet;
    socket.onclose = socket.onerror = fall;
    socket.onmessage = (message) => {
      try {
        read(message.data);
      } catch {
        fall(); // no MQTT, or a goodbye
      }
    };
    pings = setInterval(() => {
      if (!answered) return fall();
      answered = false;
      if (greeted) write([192, 0]);
    }, ALIVE_MS);
  };

  return {
    reply,
    dial,
    get up() {
      return !!greeted;
    },
    /** Publish all of `messages` ([topic, JSON, retained]) in one frame, QoS 1; their packets' numbers. */
    publish(messages) {
      const numbers = [];
      write(
        messages.flatMap(([topic, payload, retain]) => {
          number = (number % 65535) + 1;
          numbers.push(number);
          const properties = modern ? [19, 3, ...string("application/json")] : [];
          const head = [...string(ROOT + device + "/" + topic), number >> 8, number & 255];
          return packet(retain ? 51 : 50, [...head, ...properties, ...bytes(payload)]);
        }),
      );
      return numbers;
    },
    close() {
      wanted = false;
      clearTimeout(retry);
      if (greeted) attempt(() => write([224, 0]));
      fall();
    },
  };
};
