/** Carries the feed over a WebSocket; decides nothing. */

/**
 * Opens it; `on` is `{frame(frame), ended({code, reason})}`. What comes back can be closed,
 * after which nothing is told any more.
 */
export function open({ base, query }, on) {
  const address = new URL(`ws?${query}`, base);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.onmessage = ({ data }) => on.frame(JSON.parse(data));
  socket.onclose = ({ code, reason }) => on.ended({ code, reason });
  return {
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}
