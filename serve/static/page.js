// The live page: what is here comes from /v1/monitors once, and from /v1/events from then on.
import { made, ago, clock, seconds, severity, severityWords, signed, words } from "./words.js";
import { ask, enter } from "./ask.js";
import { openDetail, refreshDetail, removed } from "./detail.js";
import { follow as followInspections, inspect } from "./inspections.js";

const $ = (id) => document.getElementById(id);
const SORT_EVERY = 1500; // ms: tiles that jump about cannot be read
const LOGGED = 100; // events in the list
const QUIETEST = -60; // LUFS at the left end of a bar
const LOUD = -10; // LUFS from which a bar is red: no programme is meant to be so loud for 3 s
const RANK = { quarantined: 0, outage: 1, connecting: 2, waiting: 3, watching: 4, ended: 6, stopped: 6 };

const monitors = new Map(); // name -> facts
const tiles = new Map(); // name -> {item, parts}
let sorted = 0;

// ------------------------------------------------------------------------------------- streams

function worst(facts) {
  return facts.defects.reduce((most, defect) => Math.max(most, defect.severity), 0);
}

function isBad(facts) {
  return facts.defects.length > 0 || ["outage", "quarantined", "connecting"].includes(facts.state);
}

function badness(facts) {
  return [RANK[facts.state] < 4 ? RANK[facts.state] : 5 - (facts.defects.length > 0), -worst(facts)];
}

function byBadness(a, b) {
  const [x, y] = [badness(a), badness(b)];
  return x[0] - y[0] || x[1] - y[1] || a.name.localeCompare(b.name);
}

const visible = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.seen = isIntersecting;
    const facts = monitors.get(target.name);
    if (isIntersecting && facts) showPicture(tiles.get(target.name).parts.picture, facts);
  }
}, { rootMargin: "200px" });

function showPicture(image, facts) {
  if (!facts.picture) return;
  const url = `/v1/monitors/${encodeURIComponent(facts.name)}/picture?at=${facts.picture}`;
  if (image.getAttribute("src") !== url) image.src = url;
}

function newTile(name) {
  const parts = {
    picture: made("img", { alt: "" }), state: made("span", { class: "state" }), name: made("span", { class: "name" }),
    labels: made("span", { class: "labels" }), chips: made("span", { class: "chips" }),
    bar: made("b"), level: made("span"),
  };
  const button = made("button", { type: "button", class: "tile" },
    made("span", { class: "shot" }, parts.picture, parts.state),
    made("span", { class: "words" }, parts.name, parts.labels, parts.chips,
      made("span", { class: "level" }, made("i", {}, parts.bar), parts.level)));
  button.addEventListener("click", () => openDetail(name));
  const item = made("li", {}, button);
  item.name = name;
  parts.button = button;
  visible.observe(item);
  return { item, parts };
}

function chip(defect) {
  return made("span", { class: "chip", "data-severity": severity(defect.severity), title: defect.summary },
    words(defect.kind));
}

function showTile(facts) {
  if (!tiles.has(facts.name)) tiles.set(facts.name, newTile(facts.name));
  const { item, parts } = tiles.get(facts.name);
  const bad = worst(facts);
  parts.button.dataset.state = facts.state;
  parts.button.dataset.severity = bad ? severity(bad) : 0;
  parts.state.textContent = facts.state;
  parts.state.dataset.state = facts.state;
  parts.name.textContent = facts.name;
  const said = facts.state === "watching" ? Object.entries(facts.labels).map(([k, v]) => `${k} ${v}`).join(" · ") : facts.detail;
  parts.labels.textContent = said || facts.uri;
  const kinds = new Map();
  for (const defect of facts.defects) if (!kinds.has(defect.kind)) kinds.set(defect.kind, defect);
  const key = facts.state + [...kinds.values()].map((d) => d.kind + severity(d.severity)).join();
  if (parts.key !== key) {
    parts.key = key;
    parts.chips.replaceChildren(...(kinds.size ? [...kinds.values()].map(chip)
      : facts.state === "watching" ? [made("span", { class: "chip fine" }, "no defect")] : []));
  }
  const level = facts.state === "watching" ? facts.loudness : null;
  parts.bar.style.width = level == null ? "0" : `${Math.max(0, Math.min(1, 1 - level / QUIETEST)) * 100}%`;
  parts.bar.toggleAttribute("data-loud", level != null && level > LOUD);
  const lips = facts.state === "watching" && facts.av_offset_ms != null ? ` · lips ${signed(facts.av_offset_ms)} ms` : "";
  parts.level.textContent = (level == null ? "– LUFS" : `${level.toFixed(1)} LUFS`) + lips;
  if (item.seen) showPicture(parts.picture, facts);
}

function fits(facts) {
  if ($("bad").checked && !isBad(facts)) return false;
  const asked = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!asked.length) return true;
  const text = [facts.name, facts.state, ...Object.entries(facts.labels).flat(), ...facts.defects.map((d) => `${d.kind} ${words(d.kind)}`)]
    .join(" ").toLowerCase();
  return asked.every((word) => text.includes(word));
}

function arrange() {
  sorted = performance.now();
  const shown = [...monitors.values()].filter(fits).sort(byBadness);
  const list = $("streams");
  const wanted = new Set(shown.map((facts) => facts.name));
  for (const item of [...list.children]) if (!wanted.has(item.name)) item.remove();
  const items = shown.map((facts) => tiles.get(facts.name).item);
  // who has the focus stays where they are, the others move about them: a tile that is moved loses it
  const held = items.findIndex((item) => item.contains(document.activeElement));
  for (let n = held - 1; n >= 0; n--) if (items[n].nextElementSibling !== items[n + 1]) list.insertBefore(items[n], items[n + 1]);
  for (let n = held + 1; n < items.length; n++) {
    const place = n ? items[n - 1].nextElementSibling : list.firstElementChild;
    if (place !== items[n]) list.insertBefore(items[n], place);
  }
  $("no-streams").hidden = monitors.size > 0;
  $("none-fits").hidden = monitors.size === 0 || shown.length > 0;
  count();
}

function count() {
  const all = [...monitors.values()];
  const isOut = (facts) => ["outage", "quarantined"].includes(facts.state) || facts.defects.some((defect) => defect.kind === "outage");
  const out = all.filter(isOut).length;
  const bad = all.filter((facts) => facts.defects.length > 0 && !isOut(facts)).length; // each stream is one of them at most
  const text = `${all.length} ${all.length === 1 ? "stream" : "streams"}, ${bad} with defects, ${out} out`;
  if ($("counts").textContent !== text) $("counts").textContent = text;
  document.title = bad + out ? `(${bad + out}) Vidette` : "Vidette";
}

let waiting = 0;
function arrangeSoon() {
  if (waiting) return;
  waiting = setTimeout(() => { waiting = 0; arrange(); }, Math.max(0, SORT_EVERY - (performance.now() - sorted)));
}

function take(list, whole = false) {
  if (whole) forget([...monitors.keys()].filter((name) => !list.some((facts) => facts.name === name)));
  for (const facts of list) {
    if (removed.has(facts.name)) continue;
    monitors.set(facts.name, facts);
    showTile(facts);
    refreshDetail(facts);
  }
  arrangeSoon();
}

function forget(names) {
  for (const name of names) {
    removed.delete(name); // it may come again
    monitors.delete(name);
    const tile = tiles.get(name);
    if (tile) { visible.unobserve(tile.item); tile.item.remove(); tiles.delete(name); }
  }
  arrangeSoon();
}

// ------------------------------------------------------------------------------------- events

const told = new Map(); // id -> item

function takeEvent(event) {
  let item = told.get(event.id);
  if (!item) {
    item = made("li");
    told.set(event.id, item);
    $("log").prepend(item);
    for (const [id, old] of told) { if (told.size <= LOGGED) break; told.delete(id); old.remove(); }
  }
  const lasts = event.change !== "closed";
  const length = (Date.parse(event.end) - Date.parse(event.start)) / 1000;
  const open = made("button", { type: "button", class: "link" }, event.stream);
  open.addEventListener("click", () => openDetail(event.stream));
  item.replaceChildren(
    made("span", { class: "chip", "data-severity": severity(event.severity), title: severityWords(event.severity) }, words(event.kind)),
    made("span", { class: "what" }, open, made("span", { class: "said" }, event.summary)),
    made("span", { class: "when" }, `${clock(event.start)} · ${lasts ? "lasts" : event.outcome === "withdrawn" ? "withdrawn" : seconds(length)}`));
  $("no-log").hidden = true;
  const facts = monitors.get(event.stream);
  if (!facts) return;
  // sooner than the next list of monitors
  facts.defects = facts.defects.filter((defect) => defect.id !== event.id);
  if (lasts) facts.defects.push({ id: event.id, kind: event.kind, start: Date.parse(event.start) / 1000, severity: event.severity, summary: event.summary, evidence: event.evidence });
  facts.defects.sort((a, b) => b.severity - a.severity);
  showTile(facts);
  refreshDetail(facts, true);
  arrangeSoon();
}

function link(state, text) {
  $("link").dataset.state = state;
  if ($("link").textContent !== text) $("link").textContent = text;
}

let number = null; // of the last event
function listen() {
  const after = number ?? -50;
  const source = new EventSource(`/v1/events?states=true&after=${after}`);
  source.addEventListener("open", async () => {
    link("live", "live");
    take((await ask("/v1/monitors")).monitors, true);
  });
  source.addEventListener("defect", (message) => { number = +message.lastEventId; takeEvent(JSON.parse(message.data)); });
  source.addEventListener("monitors", (message) => take(JSON.parse(message.data)));
  source.addEventListener("gone", (message) => forget(JSON.parse(message.data)));
  source.addEventListener("inspections", (message) => followInspections(JSON.parse(message.data)));
  source.addEventListener("error", async () => {
    link("lost", "not connected, trying again");
    if (source.readyState !== EventSource.CLOSED) return; // it comes again by itself
    source.close();
    try { await ask("/v1/monitors"); } catch { /* the key dialog, or nobody answers */ }
    setTimeout(listen, 2000);
  });
}

// ------------------------------------------------------------------------------------- people

for (const dialog of document.querySelectorAll("dialog")) {
  for (const button of dialog.querySelectorAll("[data-close]")) button.addEventListener("click", () => dialog.close());
}
$("filter").addEventListener("input", arrange);
$("bad").addEventListener("change", arrange);
$("watch").addEventListener("click", () => { $("adding").querySelector("form").reset(); $("adding").querySelector(".problem").hidden = true; $("adding").showModal(); });
$("adding").querySelector("form").addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const form = submitted.target, problem = form.querySelector(".problem");
  const labels = Object.fromEntries(form.labels.value.split(",").map((one) => one.trim()).filter(Boolean)
    .map((one) => { const [key, ...rest] = one.split("="); return [key.trim(), rest.join("=").trim()]; }));
  const body = { uri: form.uri.value.trim(), labels };
  if (form.elements.name.value.trim()) body.name = form.elements.name.value.trim();
  try {
    const facts = await ask("/v1/monitors", { method: "POST", json: body });
    removed.delete(facts.name);
    take([facts]);
    $("adding").close();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
});
$("key").querySelector("form").addEventListener("submit", enter);

$("inspect").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { inspect($("file").files); $("file").value = ""; });
let over = 0;
addEventListener("dragenter", (event) => { if (event.dataTransfer?.types.includes("Files")) { over++; $("drop").hidden = false; } });
addEventListener("dragleave", () => { over = Math.max(0, over - 1); if (!over) $("drop").hidden = true; });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  over = 0;
  $("drop").hidden = true;
  if (event.dataTransfer?.files.length) inspect(event.dataTransfer.files);
});
setInterval(() => { for (const time of document.querySelectorAll("time[data-since]")) time.textContent = ago(+time.dataset.since); }, 1000);
listen();
