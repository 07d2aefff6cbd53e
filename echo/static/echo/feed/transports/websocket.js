/** Carries the feed over a WebSocket; decides nothing. */

/**
 * Open the transport; `on` is `{frame(frame), ended({code, reason})}`. Return
 * `{close()}`, after which `on` is not called again.
 */
export function open({ base, query, network }, on) {
  const url = new URL(`ws?${query}`, base);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new network.WebSocket(url);
  socket.onmessage = ({ data }) => on.frame(JSON.parse(data));
  socket.onclose = ({ code, reason }) => on.ended({ code, reason });
  return {
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}
