/** The loop that both polls share: poll, and hand the events on as frames. */

const HEADERS = { Accept: "application/json" };

/**
 * Poll until closed or failed. `waitSeconds(polls)` is the `wait` to ask for after so
 * many polls (0: none), and `pauseMs` the time between two polls.
 */
export function poll({ base, query, network }, on, { waitSeconds, pauseMs }) {
  const closing = new AbortController();
  const { signal } = closing;
  const run = async () => {
    const parameters = new URLSearchParams(query);
    for (let polls = 0; !signal.aborted; polls += 1) {
      if (waitSeconds(polls)) parameters.set("wait", waitSeconds(polls));
      const batch = await pollOnce(base, parameters, { signal, network });
      if (signal.aborted) return;
      deliver(batch, polls === 0, on);
      if (batch.bye && !signal.aborted) return on.ended({});
      parameters.set("since", batch.last_event_id);
      if (!batch.more) await pause(pauseMs, signal);
    }
  };
  run().catch(({ status, message }) => {
    if (!signal.aborted) on.ended({ status, detail: message });
  });
  return { close: () => closing.abort() };
}

/**
 * Return one response of /feed/poll, `{events, last_event_id, reset, more, bye}`; throw
 * an error with the server's `status` and reason.
 */
export async function pollOnce(base, query, { signal, network = globalThis } = {}) {
  const response = await network.fetch(new URL(`poll?${query}`, base), {
    headers: HEADERS,
    cache: "no-store",
    signal,
  });
  const body = await response.json();
  if (response.ok) return body;
  throw Object.assign(new Error(body.detail), { status: response.status });
}

/** Return all events that the log has after the query's `since`; throw as `pollOnce`. */
export async function readLog(base, query) {
  const parameters = new URLSearchParams(query);
  const found = [];
  for (let more = true; more; ) {
    const batch = await pollOnce(base, parameters);
    found.push(...batch.events);
    parameters.set("since", batch.last_event_id);
    more = batch.more;
  }
  return found;
}

function deliver({ events, last_event_id, reset, bye }, isFirst, on) {
  // A poll has no hello: the first response shows that the transport works.
  if (isFirst) on.frame({ type: "hello" });
  if (reset) on.frame(reset);
  for (const event of events) on.frame(event);
  on.frame({ type: "heartbeat", last_event_id });
  if (bye) on.frame(bye);
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
