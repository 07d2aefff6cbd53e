/** Links to the sections of the standards. */

/** Return links to sections such as "6455 4.2.1": an RFC and a section of it. */
export function sectionLinks(sections, text) {
  return sections.flatMap((section) => {
    const [rfc, number] = section.split(" ");
    const link = document.createElement("a");
    link.href = `https://www.rfc-editor.org/rfc/rfc${rfc}#section-${number}`;
    link.textContent = text("rfc_section", { rfc, number });
    return [" ", link];
  });
}
