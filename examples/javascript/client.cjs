/* A client in JavaScript with mqtt.js (npm install mqtt): a person's word, an event, a decision, and what became of it.
 *
 *   node examples/javascript/client.cjs mqtt://127.0.0.1:1883 shop-1 ann teapot
 *
 * In a page, edgeward.js does the same in 4 kB: docs/clients.md.
 */
const mqtt = require("mqtt");
const { randomUUID } = require("node:crypto");

const [broker = "mqtt://127.0.0.1:1883", device = "shop-1", subject = "ann", touched = "teapot"] = process.argv.slice(2);
const clientId = `app-${randomUUID().slice(0, 8)}`;
const prefix = `edgeward/1/${device}`;
const reply = `${prefix}/reply/${clientId}`;
const waiting = new Map();

const main = async () => {
  const client = await mqtt.connectAsync(broker, { clientId, protocolVersion: 5 });
  const say = (below, body, more = {}) =>
    client.publishAsync(`${prefix}/${below}`, JSON.stringify(body), {
      qos: 1,
      properties: { contentType: "application/json" },
      ...more,
    });
  client.on("message", (_topic, payload) => {
    const answer = JSON.parse(payload);
    waiting.get(answer.correlation)?.(answer);
  });
  await client.subscribeAsync(reply, { qos: 0 });

  const decide = (placement, items, ms = 5000) =>
    new Promise((resolve, reject) => {
      const correlation = randomUUID();
      const late = setTimeout(() => reject(new Error("no decision in time")), ms);
      waiting.set(correlation, (answer) => {
        clearTimeout(late);
        waiting.delete(correlation);
        resolve(answer);
      });
      say(`request/${placement}`, { subject, items, reply_to: reply, correlation });
    });

  await say(`consent/${subject}`, { purposes: { recommend: true }, time_ms: Date.now() }, { retain: true });
  await say("capture/page", { id: randomUUID(), time: Date.now(), subject, kind: "click", item: touched });
  const decision = await decide("shelf", ["green-tea", "honey", "grinder", "bread"]);
  await say("feedback", { decision_id: decision.id, outcome: "click", time_ms: Date.now() });
  await client.endAsync();
  console.log(JSON.stringify({ id: decision.id, items: decision.items }));
};

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exit(1);
});
