// One stream: its picture, its figures, what happened to it, and what can be done about it.
import { ago, clock, drawn, made, seconds, severity, severityWords, signed, words } from "./words.js";
import { ask, toast } from "./ask.js";

const $ = (id) => document.getElementById(id);
const EVERY = 5000; // ms between looks while it is open
const [WIDE, LEFT, ROW, PLOT, GAP] = [1000, 130, 20, 64, 16]; // of the timeline
let shown = null; // name
let timer = 0;
let stale = false;
export const removed = new Set(); // names that are watched no more, and may still be told of

export function openDetail(name) {
  shown = name;
  $("detail-title").textContent = name;
  for (const id of ["timeline", "detail-events", "detail-facts"]) $(id).replaceChildren();
  $("detail-picture").removeAttribute("src");
  if (!$("detail").open) $("detail").showModal();
  $("detail").scrollTop = 0;
  load();
}

export function refreshDetail(facts, changed = false) {
  if (!$("detail").open || facts.name !== shown) return;
  state(facts);
  if (changed && !stale) { stale = true; setTimeout(() => { stale = false; load(); }, 300); }
}

async function load() {
  clearTimeout(timer);
  const name = shown;
  if (name === null) return; // closed meanwhile
  try {
    const facts = await ask(`/v1/monitors/${encodeURIComponent(name)}?window=${$("window").value}`);
    if (name !== shown || !$("detail").open) return;
    state(facts);
    show(facts);
  } catch (error) {
    if (name !== shown) return;
    toast(error.message);
    $("detail").close();
    return;
  }
  timer = setTimeout(load, EVERY);
}

function state(facts) {
  $("detail-state").textContent = facts.state;
  $("detail-state").dataset.state = facts.state;
  const kinds = [...new Set(facts.defects.map((defect) => words(defect.kind)))].join(", ");
  $("detail-said").textContent = facts.state !== "watching" ? facts.detail : kinds ? `Now: ${kinds}` : "No defect now";
  $("pardon").hidden = facts.state !== "quarantined";
  if (facts.picture) {
    const url = `/v1/monitors/${encodeURIComponent(facts.name)}/picture?at=${facts.picture}`;
    if ($("detail-picture").getAttribute("src") !== url) $("detail-picture").src = url;
    $("detail-picture").alt = `${facts.name} at ${clock(facts.picture * 1000)}`;
  }
}

function show(facts) {
  const rows = [["address", facts.uri]];
  for (const [key, value] of Object.entries(facts.labels)) rows.push([key, value]);
  if (facts.since) rows.push([`${facts.state} for`, made("time", { "data-since": facts.since }, ago(facts.since))]);
  if (facts.size) rows.push(["picture", `${facts.size[0]} × ${facts.size[1]}`]);
  if (facts.loudness != null) rows.push(["loudness, 3 s", `${facts.loudness.toFixed(1)} LUFS`]);
  if (facts.behind != null) rows.push(["watched", `${facts.behind.toFixed(1)} s late`]);
  if (facts.cost != null) rows.push(["costs", `${facts.cost.toFixed(2)} CPUs`]);
  if (facts.skipped) rows.push(["left out", seconds(facts.skipped)]);
  if (facts.av_offset_ms != null) rows.push(["sound against lips", `${signed(facts.av_offset_ms)} ms (early: +)`]);
  const sync = facts.defects.find((defect) => defect.kind.startsWith("av_"));
  if (sync) rows.push(["sound and picture", sync.summary]);
  for (const problem of facts.problems ?? []) rows.push(["problem", problem]);
  $("detail-facts").replaceChildren(...rows.flatMap(([key, value]) => [made("dt", {}, key), made("dd", {}, value)]));
  $("timeline").replaceChildren(timeline(facts));
  $("no-events").hidden = facts.events.length > 0;
  const old = new Map([...$("detail-events").children].map((item) => [item.dataset.key, item]));
  $("detail-events").replaceChildren(...facts.events.map((event) => {
    const key = `${event.id} ${event.change} ${event.end} ${facts.pictured.includes(event.id)}`;
    return old.get(key) ?? row(facts.name, event, key, facts.pictured.includes(event.id));
  }));
}

function row(name, event, key, pictured) {
  const picture = pictured ? made("img", { alt: "", loading: "lazy", src: `/v1/monitors/${encodeURIComponent(name)}/picture?event=${event.id}` }) : made("span");
  const length = (Date.parse(event.end) - Date.parse(event.start)) / 1000;
  const numbers = Object.entries(event.evidence).map(([what, value]) => `${words(what)} ${+value.toPrecision(4)}`).join(" · ");
  const chips = made("span", { class: "chips" },
    made("span", { class: "chip", "data-severity": severity(event.severity) }, words(event.kind)),
    made("span", { class: "hint" }, `${severityWords(event.severity)}, ${Math.round(event.confidence * 100)} % sure`));
  return made("li", { "data-key": key }, picture,
    made("span", { class: "what" }, chips, made("span", {}, event.summary), made("span", { class: "said" }, numbers)),
    made("span", { class: "when" }, `${clock(event.start)} · ${event.change === "closed" ? event.outcome === "withdrawn" ? "withdrawn" : seconds(length) : "lasts"}`));
}

function timeline(facts) {
  const window = +$("window").value, now = Date.now() / 1000, first = now - window;
  const x = (time) => LEFT + (WIDE - LEFT - GAP) * Math.min(1, Math.max(0, (time - first) / window));
  const kinds = [...new Set(facts.events.map((event) => event.kind))];
  const plots = [["loudness", "loudness, LUFS", -60, 0], ["luma", "mean luma", 0, 255]]
    .filter(([field]) => facts.history.some((point) => point[field] != null));
  const height = GAP / 2 + ROW * (1 + kinds.length) + plots.length * (PLOT + GAP) + ROW;
  const said = `Watched ${Math.round(100 * share(facts.coverage, first, now))} % of the last ${seconds(window)}; ${facts.events.length} events of ${kinds.length} kinds.`;
  const picture = drawn("svg", { viewBox: `0 0 ${WIDE} ${height}`, role: "img", "aria-label": said });
  let y = GAP / 2;
  const label = (text) => picture.append(drawn("text", { x: 8, y: y + 13 }, text));
  label("watched");
  for (const [start, end] of facts.coverage) picture.append(bar(x(start), x(end), y, "covered", `watched ${clock(start * 1000)} to ${clock(end * 1000)}`));
  y += ROW;
  for (const kind of kinds) {
    label(words(kind));
    picture.append(drawn("line", { x1: LEFT, x2: WIDE - GAP, y1: y + ROW / 2 - 2, y2: y + ROW / 2 - 2, class: "grid" }));
    for (const event of facts.events.filter((one) => one.kind === kind)) {
      const end = event.change === "closed" ? Date.parse(event.end) / 1000 : now;
      picture.append(bar(x(Date.parse(event.start) / 1000), x(end), y, `bar${severity(event.severity)}`, event.summary));
    }
    y += ROW;
  }
  for (const [field, text, low, high] of plots) {
    y += GAP / 2;
    label(text);
    for (const value of [low, (low + high) / 2, high]) {
      const at = y + PLOT - PLOT * (value - low) / (high - low);
      picture.append(drawn("line", { x1: LEFT, x2: WIDE - GAP, y1: at, y2: at, class: "grid" }),
        drawn("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, `${value}`));
    }
    let path = "", last = -Infinity;
    for (const point of facts.history) {
      if (point[field] == null) continue;
      const at = y + PLOT - PLOT * (Math.min(high, Math.max(low, point[field])) - low) / (high - low);
      path += `${point.time - last > 25 ? "M" : "L"}${x(point.time).toFixed(1)} ${at.toFixed(1)}`;
      last = point.time;
    }
    picture.append(drawn("path", { d: path, class: "plot" }));
    y += PLOT + GAP / 2;
  }
  for (let n = 0; n <= 4; n++) {
    const time = first + window * n / 4;
    picture.append(drawn("text", { x: x(time), y: height - 6, "text-anchor": n === 4 ? "end" : n ? "middle" : "start" }, clock(time * 1000)));
  }
  return picture;
}

function bar(from, to, y, kind, said) {
  return drawn("rect", { x: from, y, width: Math.max(2, to - from), height: ROW - 5, rx: 2, class: kind }, drawn("title", {}, said));
}

function share(coverage, first, now) {
  return coverage.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(end, now) - Math.max(start, first)), 0) / (now - first);
}

$("window").addEventListener("change", load);
$("detail").addEventListener("close", () => { clearTimeout(timer); shown = null; });
$("remove").addEventListener("click", async () => {
  const name = shown;
  if (!confirm(`Watch ${name} no more? What is known of it stays for a week.`)) return;
  removed.add(name);
  $("detail").close();
  try {
    await ask(`/v1/monitors/${encodeURIComponent(name)}`, { method: "DELETE" });
  } catch (error) {
    removed.delete(name);
    toast(error.message);
  }
});
$("pardon").addEventListener("click", async () => {
  try { await ask(`/v1/monitors/${encodeURIComponent(shown)}`, { method: "PATCH", json: { pardoned: true } }); load(); } catch (error) { toast(error.message); }
});
