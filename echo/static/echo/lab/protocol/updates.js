/** The experiment "HTTP against WebSocket". */

/** Connect the section's controls; `text` gives the page's texts. */
export function connectUpdates(section, text) {}
