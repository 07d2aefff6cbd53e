/**
 * Morphs DOM nodes into fresh ones and leaves what is equal untouched, so that the
 * focus, the selection and the scroll position stay.
 */

/**
 * Morph `current` into `fresh`. Children with a `data-id` are matched by it, the others
 * by their position.
 */
export function morph(current, fresh) {
  if (current.isEqualNode(fresh)) return;
  if (current.nodeName !== fresh.nodeName) return current.replaceWith(fresh);
  if (current.nodeType !== Node.ELEMENT_NODE) {
    current.nodeValue = fresh.nodeValue;
    return;
  }
  morphAttributes(current, fresh);
  if (fresh.firstElementChild?.dataset.id) morphById(current, fresh);
  else morphByPosition([...current.childNodes], [...fresh.childNodes], current);
}

function morphAttributes(current, fresh) {
  if (current.localName === "details") return; // the reader opened or closed it
  for (const { name } of [...current.attributes])
    if (!fresh.hasAttribute(name)) current.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (current.getAttribute(name) !== value) current.setAttribute(name, value);
}

function morphById(current, fresh) {
  const wanted = new Map([...fresh.children].map((child) => [child.dataset.id, child]));
  for (const child of [...current.children])
    if (!wanted.has(child.dataset.id)) child.remove();
  const kept = new Map([...current.children].map((child) => [child.dataset.id, child]));
  let next = current.firstElementChild;
  for (const [id, child] of wanted) {
    const match = kept.get(id);
    if (match && match === next) next = next.nextElementSibling;
    else current.insertBefore(match ?? child, next);
    if (match) morph(match, child);
  }
}

function morphByPosition(current, fresh, parent) {
  for (const [i, child] of fresh.entries()) {
    if (i < current.length) morph(current[i], child);
    else parent.append(child);
  }
  for (const child of current.slice(fresh.length)) child.remove();
}
