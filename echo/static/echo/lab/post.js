/** Sends an experiment's settings to the server. */

/**
 * POST the settings as JSON and return the response; throw an error with the server's
 * `status` and reason in the visitor's language.
 */
export async function post(address, settings, { signal } = {}) {
  const response = await fetch(address, {
    method: "POST",
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value,
    },
    body: JSON.stringify(settings),
    signal,
  });
  const result = await response.json().catch(() => ({ detail: response.statusText }));
  if (response.ok) return result;
  throw Object.assign(new Error(result.detail), { status: response.status });
}
