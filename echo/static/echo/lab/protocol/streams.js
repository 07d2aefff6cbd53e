/** The experiment "TCP against WebSocket". */

/** Connect the section's controls; `text` gives the page's texts. */
export function connectStreams(section, text) {}
