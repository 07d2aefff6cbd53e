/** The experiment "The handshake". */

/** Connect the section's controls; `text` gives the page's texts. */
export function connectHandshake(section, text) {}
