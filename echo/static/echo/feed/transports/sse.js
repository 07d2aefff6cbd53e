/** Carries the feed over Server-Sent Events; decides nothing. */

// Events have no name, so that a stock EventSource gets them in `onmessage`.
const NAMED = ["hello", "heartbeat", "reset", "bye"];

/**
 * Open the transport; `on` is `{frame(frame), ended({})}`. Return `{close()}`, after
 * which `on` is not called again.
 */
export function open({ base, query, network }, on) {
  const source = new network.EventSource(new URL(`sse?${query}`, base));
  const receive = ({ data }) => on.frame(JSON.parse(data));
  source.onmessage = receive;
  for (const name of NAMED) source.addEventListener(name, receive);
  // EventSource would reconnect by itself, without jitter and never over another
  // transport.
  source.onerror = () => {
    source.close();
    on.ended({});
  };
  return {
    close() {
      for (const name of NAMED) source.removeEventListener(name, receive);
      source.onmessage = source.onerror = null;
      source.close();
    },
  };
}
