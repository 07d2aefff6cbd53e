/** The page's topics: parsed from a field, and written into code. Uses no DOM. */

// The server checks topics, in echo/protocol.py; this shows a problem before the request.
const PATTERN = /^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)$/;
const MAX_TOPICS = 32;
const MAX_LENGTH = 90;

/** Return the topics of a field, once each; null for none, too many or an invalid one. */
export function parseTopics(field) {
  const topics = [...new Set(field.split(/[\s,]+/).filter(Boolean))];
  const areValid = topics.every(
    (topic) => topic.length <= MAX_LENGTH && PATTERN.test(topic),
  );
  return topics.length && topics.length <= MAX_TOPICS && areValid ? topics : null;
}

/** Return a topic to publish to, for a pattern to subscribe to. */
export function exampleTopic(pattern) {
  return pattern.replace(/\*$/, "hello");
}

/** Return lines that do the same in a language; topics need no quoting. */
export function codeSample(language, origin, topics, transport) {
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
        `import { Feed } from "${origin}/static/echo/feed/feed.js";`,
        "",
        `const feed = new Feed(${JSON.stringify(transport ? { topics, transport } : { topics })});`,
        'feed.addEventListener("event", ({ detail }) => console.log(detail));',
        "feed.open();",
      ].join("\n");
    case "manage":
      return topics.map(broadcastCommand).join("\n");
    default:
      throw new TypeError(`expected a language of the panel, got ${language}`);
  }
}

function broadcastCommand(pattern) {
  return `python manage.py broadcast --topic ${exampleTopic(pattern)} "Hello world!"`;
}

/** Return the commands that publish without a form. */
export function publishCommands(origin, pattern) {
  const body = JSON.stringify({ topic: exampleTopic(pattern), data: "Hello world!" });
  return [
    broadcastCommand(pattern),
    "",
    `curl ${origin}/feed/publish \\`,
    '  -H "Authorization: Bearer $TOKEN" \\',
    `  -d '${body}'`,
  ].join("\n");
}
