/**
 * Keeps a part of a page as the server renders it now: asks for it again and again, one
 * request at a time, while the page is looked at.
 */

const REFRESH_MS = 2000;
const PATIENCE_MS = 10_000;

/**
 * Asks for `address()` until the page is left. `take(fragment)` is handed each answer, and
 * `tell(state, values)` what became of the request: fresh, away, refused or signed_out.
 * Returns a function that asks at once, unless a request is under way, or `isPaused()`.
 */
export function keepFresh({ address, take, tell, isPaused }) {
  let isAsking = false;

  async function refresh() {
    if (isAsking || document.hidden || isPaused()) return;
    isAsking = true;
    try {
      await ask();
    } catch {
      tell("away");
    } finally {
      isAsking = false;
    }
  }

  async function ask() {
    const asked = address();
    const response = await fetch(asked, {
      headers: { "X-Fragment": "1" },
      redirect: "manual", // to the login page
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.type === "opaqueredirect") return tell("signed_out");
    if (!response.ok) return tell("refused", { status: response.status });
    const fresh = document.createElement("template");
    fresh.innerHTML = await response.text(); // the server's own template, escaped there
    if (isPaused() || asked !== address()) return; // it is no longer what is wanted
    take(fresh.content);
    tell("fresh");
  }

  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  return refresh;
}

/**
 * Changes what is shown into what is fresh, and nothing that is the same already: so the
 * focus, what is selected and where the page is scrolled to stay. Children that have a
 * `data-id` are known by it, the others by where they stand.
 */
export function exchange(shown, fresh) {
  if (shown.isEqualNode(fresh)) return;
  if (shown.nodeName !== fresh.nodeName) return shown.replaceWith(fresh);
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.nodeValue = fresh.nodeValue;
    return;
  }
  exchangeAttributes(shown, fresh);
  if (fresh.firstElementChild?.dataset.id) exchangeNamed(shown, fresh);
  else exchangeInOrder([...shown.childNodes], [...fresh.childNodes], shown);
}

function exchangeAttributes(shown, fresh) {
  if (shown.localName === "details") return; // it stays as open as its reader left it
  for (const { name } of [...shown.attributes])
    if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
}

function exchangeNamed(shown, fresh) {
  const wanted = new Map([...fresh.children].map((child) => [child.dataset.id, child]));
  for (const child of [...shown.children])
    if (!wanted.has(child.dataset.id)) child.remove();
  const known = new Map([...shown.children].map((child) => [child.dataset.id, child]));
  let next = shown.firstElementChild;
  for (const [id, child] of wanted) {
    const same = known.get(id);
    if (same && same === next) next = next.nextElementSibling;
    else shown.insertBefore(same ?? child, next);
    if (same) exchange(same, child);
  }
}

function exchangeInOrder(shown, fresh, parent) {
  for (const [i, child] of fresh.entries()) {
    if (i < shown.length) exchange(shown[i], child);
    else parent.append(child);
  }
  for (const child of shown.slice(fresh.length)) child.remove();
}
