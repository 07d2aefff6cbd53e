/** The form that publishes an event, for visitors with the permission. */

/** Make the form publish; `text` gives the page's texts. */
export function connectPublishForm(form, text) {
  const result = form.querySelector("#publish-result");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    result.textContent = await publish(form, text);
  });
}

/** Publish what the form holds; return the result as text. */
async function publish(form, text) {
  const { topic, data, format } = form.elements;
  let body;
  try {
    const value = format.value === "json" ? JSON.parse(data.value) : data.value;
    body = JSON.stringify({ topic: topic.value, data: value });
  } catch (error) {
    return text("not_json", { detail: error.message });
  }
  return post(form.action, body, text);
}

async function post(address, body, text) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const headers = { "Content-Type": "application/json", "X-CSRFToken": token };
  try {
    const response = await fetch(address, { method: "POST", headers, body });
    const result = await response.json();
    if (response.ok) return text("published", { id: result.id });
    return text("unpublished", { detail: result.detail });
  } catch (error) {
    return text("unpublished", { detail: error.message });
  }
}
