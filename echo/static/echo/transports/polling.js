/** What both polls share: asks again and again, and tells the answers as frames. */

const HEADERS = { Accept: "application/json" };

/**
 * Polls until it is closed or fails. `wait(answers)` is what to ask for after so many
 * answers, in seconds (0: at once), and `pauseMs` the time between two questions.
 */
export function poll({ base, query }, on, { wait, pauseMs }) {
  const leaving = new AbortController();
  const run = async () => {
    const asked = new URLSearchParams(query);
    for (let answers = 0; !leaving.signal.aborted; answers += 1) {
      if (wait(answers)) asked.set("wait", wait(answers));
      const answer = await ask(base, asked, leaving.signal);
      if (leaving.signal.aborted) return;
      tell(answer, answers === 0, on);
      if (answer.bye && !leaving.signal.aborted) return on.ended({});
      asked.set("since", answer.last_event_id);
      if (!answer.more) await pause(pauseMs, leaving.signal);
    }
  };
  run().catch((error) => {
    if (!leaving.signal.aborted)
      on.ended({ status: error.status, detail: error.message });
  });
  return { close: () => leaving.abort() };
}

/** One answer of /feed/poll; throws with the server's status and reason. */
export async function ask(base, query, signal) {
  const response = await fetch(new URL(`poll?${query}`, base), {
    headers: HEADERS,
    cache: "no-store",
    signal,
  });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(answer.detail), { status: response.status });
}

function tell(answer, isFirst, on) {
  const { events, last_event_id, reset, bye } = answer;
  // A poll has no hello: the first answer is what says that this transport works.
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
