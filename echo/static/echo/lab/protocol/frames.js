/** The experiment "Build and read frames". */

/** Connect the section's controls; `text` gives the page's texts. */
export function connectFrames(section, text) {}
