// Asking the service; a key that is missing is asked for.

const $ = (id) => document.getElementById(id);
let entered = null; // resolves once a key was taken

export class Refused extends Error {}

export async function ask(path, { method = "GET", json, silent = false } = {}) {
  const options = { method, headers: {} };
  if (json !== undefined) { options.body = JSON.stringify(json); options.headers["Content-Type"] = "application/json"; }
  const response = await fetch(path, options);
  if (response.status === 401 && !silent) {
    await askForKey();
    return ask(path, { method, json, silent });
  }
  if (!response.ok) throw new Refused(await problemOf(response));
  return response.status === 204 ? null : response.json();
}

export async function problemOf(response) {
  try { return (await response.json()).detail ?? response.statusText; } catch { return `the service answered ${response.status}`; }
}

function askForKey() {
  if (!entered) {
    let done;
    entered = { promise: new Promise((resolve) => { done = resolve; }), done };
    const dialog = $("key");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  }
  return entered.promise;
}

export async function enter(submitted) {
  submitted.preventDefault();
  const form = submitted.target, problem = form.querySelector(".problem");
  const response = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${form.elements.key.value.trim()}` } });
  if (!response.ok) {
    problem.textContent = response.status === 401 ? "This is no key of this service." : await problemOf(response);
    problem.hidden = false;
    return;
  }
  form.reset();
  problem.hidden = true;
  $("key").close();
  entered?.done();
  entered = null;
}

let hiding = 0;
export function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { $("toast").hidden = true; }, 8000);
}
