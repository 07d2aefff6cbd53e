/**
 * Keeps a part of a page as the server renders it now: fetches it every two seconds, one
 * request at a time, while the page is visible.
 */

const REFRESH_MS = 2000;
const TIMEOUT_MS = 10_000;

/**
 * Fetch `address()` until the page is left. `apply(fragment)` gets each response, and
 * `report(state, values)` the outcome: fresh, unreachable, refused or signed_out. Return a
 * function that fetches now, unless a request is under way or `isPaused()`.
 */
export function keepFresh({ address, apply, report, isPaused }) {
  let isFetching = false;

  async function refresh() {
    if (isFetching || document.hidden || isPaused()) return;
    isFetching = true;
    try {
      await fetchFragment();
    } catch {
      report("unreachable");
    } finally {
      isFetching = false;
    }
  }

  async function fetchFragment() {
    const requested = address();
    const response = await fetch(requested, {
      headers: { "X-Fragment": "1" },
      redirect: "manual", // to the login page
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.type === "opaqueredirect") return report("signed_out");
    if (!response.ok) return report("refused", { status: response.status });
    const template = document.createElement("template");
    template.innerHTML = await response.text(); // escaped by the server's own template
    if (isPaused() || requested !== address()) return; // out of date
    apply(template.content);
    report("fresh");
  }

  setInterval(refresh, REFRESH_MS);
  document.addEventListener("visibilitychange", refresh);
  return refresh;
}
