/**
 * Adds the roles that the scripts of Django's forms leave out: icons and boxes are anonymous
 * `span`s and `div`s there, which may have no `aria-label` and belong to no part of the page.
 */

// Django's own listeners, which make them, were added before: modules run after scripts.
addEventListener("load", () => {
  for (const icon of document.querySelectorAll(".search-label-icon")) {
    icon.setAttribute("role", "img");
  }
  for (const box of document.querySelectorAll(".calendarbox, .clockbox")) {
    const icon = document.querySelector(`#${box.id.replace("box", "link")} [title]`);
    box.setAttribute("role", "dialog");
    box.setAttribute("aria-label", icon.title);
  }
});
