/** The experiment "Your own connection, tapped". */

/** Connect the section's controls; `text` gives the page's texts. */
export function connectTap(section, text) {}
