/** Carries the feed over Server-Sent Events; decides nothing. */

const NAMED = ["hello", "heartbeat", "reset", "bye"];

/**
 * Opens it; `on` is `{frame(frame), ended({})}`. What comes back can be closed,
 * after which nothing is told any more.
 */
export function open({ base, query }, on) {
  const source = new EventSource(new URL(`sse?${query}`, base));
  const hear = ({ data }) => on.frame(JSON.parse(data));
  source.onmessage = hear;
  for (const name of NAMED) source.addEventListener(name, hear);
  // EventSource would come back by itself, without jitter and never to another
  // transport.
  source.onerror = () => {
    source.close();
    on.ended({});
  };
  return {
    close() {
      for (const name of NAMED) source.removeEventListener(name, hear);
      source.onmessage = source.onerror = null;
      source.close();
    },
  };
}
