// Inspections: files that are dropped here, and those of others of the same key.
import { made, severity, words } from "./words.js";
import { ask, toast } from "./ask.js";

const $ = (id) => document.getElementById(id);
const MOST = 64 * 2 ** 20; // bytes: what the service takes unless it is told otherwise
const known = new Map(); // id -> {item, facts, found}

export function follow(list) {
  const items = list.map((facts) => {
    const one = known.get(facts.id) ?? { item: made("li") };
    known.set(facts.id, one);
    if (!one.facts || one.facts.updated !== facts.updated || one.facts.state !== facts.state) {
      one.facts = facts;
      show(one);
    }
    return one.item;
  });
  const uploads = [...$("inspections").querySelectorAll("[data-upload]")];
  $("inspections").replaceChildren(...uploads, ...items);
  $("no-inspections").hidden = uploads.length + items.length > 0;
}

async function show(one) {
  const { item, facts } = one;
  const what = made("span", { class: "what" }, made("span", {}, facts.name));
  const right = made("span", { class: "when" });
  if (facts.state === "queued" || facts.state === "running") {
    const bar = made("progress", { max: 1, "aria-label": `progress of ${facts.name}` });
    if (facts.progress != null) bar.value = facts.progress;
    what.append(bar);
    const cancel = made("button", { type: "button", class: "link" }, "cancel");
    cancel.addEventListener("click", () => ask(`/v1/inspections/${facts.id}`, { method: "DELETE" }).catch((e) => toast(e.message)));
    right.append(facts.progress != null ? `${Math.round(facts.progress * 100)} % ` : "waits ", cancel);
  } else if (facts.state === "done") {
    one.found ??= ask(`/v1/inspections/${facts.id}/defects`);
    right.append(made("a", { href: `/v1/inspections/${facts.id}/report`, target: "_blank", rel: "noopener" }, "report"));
  } else if (facts.problem) {
    what.append(made("span", { class: "said problem" }, facts.problem.detail));
  }
  item.replaceChildren(made("span", { class: "when" }, facts.state), what, right);
  if (!one.found) return;
  try {
    const { defects, next } = await one.found;
    const kinds = new Map();
    for (const defect of defects) {
      const old = kinds.get(defect.kind) ?? { count: 0, severity: 0 };
      kinds.set(defect.kind, { count: old.count + 1, severity: Math.max(old.severity, defect.severity) });
    }
    const chips = [...kinds].sort((a, b) => b[1].severity - a[1].severity).map(([kind, { count, severity: worst }]) =>
      made("span", { class: "chip", "data-severity": severity(worst) }, words(kind) + (count > 1 ? ` ×${count}` : "")));
    if (next != null) chips.push(made("span", { class: "chip" }, "and more"));
    what.append(made("span", { class: "chips" }, ...(chips.length ? chips : [made("span", { class: "chip fine" }, "no defect")])));
  } catch (error) {
    one.found = null;
    what.append(made("span", { class: "said problem" }, error.message));
  }
}

export function inspect(files) {
  for (const file of files) upload(file);
}

function upload(file) {
  if (file.size > MOST) {
    toast(`${file.name} has more than 64 MiB: give its address to /v1/inspections instead`);
    return;
  }
  const bar = made("progress", { max: 1, value: 0, "aria-label": `upload of ${file.name}` });
  const item = made("li", { "data-upload": "" }, made("span", { class: "when" }, "sending"),
    made("span", { class: "what" }, made("span", {}, file.name), bar), made("span"));
  $("inspections").prepend(item);
  $("no-inspections").hidden = true;
  const form = new FormData();
  form.append("file", file, file.name);
  const request = new XMLHttpRequest(); // fetch tells nothing of how far an upload is
  request.open("POST", "/v1/inspections");
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; });
  request.addEventListener("loadend", () => {
    item.remove();
    if (request.status !== 202) toast(`${file.name}: ${request.response?.detail ?? "it could not be sent"}`);
  });
  request.send(form);
}
