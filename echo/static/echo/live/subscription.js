/** What this page subscribes to, as a form field, an address, and code. Knows no DOM. */

// echo/protocol.py judges; this only says so before the server is asked.
const PATTERN = /^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)$/;
const MAX_TOPICS = 32;
const MAX_LENGTH = 90;

/** The topics of a field, once each; null when there are none, too many or a bad one. */
export function parseTopics(typed) {
  const topics = [...new Set(typed.split(/[\s,]+/).filter(Boolean))];
  const areGood = topics.every(
    (topic) => topic.length <= MAX_LENGTH && PATTERN.test(topic),
  );
  return topics.length && topics.length <= MAX_TOPICS && areGood ? topics : null;
}

/** The lines that read the same in a language; topics need no quoting. */
export function code(language, origin, topics, transport) {
  const query = topics.map((topic) => `topic=${topic}`).join("&");
  switch (language) {
    case "curl":
      return `curl -N "${origin}/feed/sse?${query}"`;
    case "python":
      return [
        "# pip install websockets",
        "from websockets.sync.client import connect",
        "",
        `with connect("${origin.replace("http", "ws")}/feed/ws?${query}") as feed:`,
        "    for frame in feed:",
        "        print(frame)",
      ].join("\n");
    case "javascript":
      return [
        `import { Feed } from "${origin}/static/echo/feed.js";`,
        "",
        `const feed = new Feed(${JSON.stringify(options(topics, transport))});`,
        'feed.addEventListener("event", ({ detail }) => console.log(detail));',
        "feed.open();",
      ].join("\n");
    case "manage":
      return topics.map((topic) => broadcast(topic)).join("\n");
    default:
      throw new TypeError(`expected a language of the panel, got ${language}`);
  }
}

function options(topics, transport) {
  return transport ? { topics, transport } : { topics };
}

/** A topic to publish to, for a pattern that is read. */
export function example(pattern) {
  return pattern.replace(/\*$/, "hello");
}

function broadcast(pattern) {
  return `python manage.py broadcast --topic ${example(pattern)} "Hello world!"`;
}

/** How somebody without the permission publishes. */
export function howToPublish(origin, pattern) {
  const body = JSON.stringify({ topic: example(pattern), data: "Hello world!" });
  return [
    broadcast(pattern),
    "",
    `curl ${origin}/feed/publish \\`,
    '  -H "Authorization: Bearer $TOKEN" \\',
    `  -d '${body}'`,
  ].join("\n");
}
