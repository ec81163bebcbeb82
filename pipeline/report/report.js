"use strict";
// The report's behaviour: charts (Plotly), selection, filters, download. No network.
(() => {
  const byId = (id) => document.getElementById(id);
  const inspection = JSON.parse(byId("inspection").textContent);
  const view = JSON.parse(byId("view").textContent);
  const root = document.documentElement;
  const defects = inspection.defects;
  const byDefectId = new Map(defects.map((defect) => [defect.id, defect]));
  const cards = new Map([...document.querySelectorAll(".card")].map((c) => [c.dataset.id, c]));
  const rows = new Map([...document.querySelectorAll("#list li")].map((r) => [r.dataset.id, r]));
  const length = Math.max(view.span, 0.1);
  const state = { low: 0, high: length, selected: null, pan: false, printing: false };
  let plotly = null;
  if (byId("no-script")) byId("no-script").hidden = true;

  // ---------------------------------------------------------------------------------- words
  const two = (n) => String(n).padStart(2, "0");
  function timecode(seconds, digits = 3) {
    const unit = 10 ** digits;
    let ticks = Math.round(Math.abs(seconds) * unit);
    const fraction = digits ? "." + String(ticks % unit).padStart(digits, "0") : "";
    ticks = Math.floor(ticks / unit);
    const sign = seconds < -0.5 / unit ? "−" : "";
    return `${sign}${Math.floor(ticks / 3600)}:${two(Math.floor(ticks / 60) % 60)}:${two(ticks % 60)}${fraction}`;
  }
  const step = (severity) => Math.min(Math.max(Math.floor(severity * 4 + 0.5), 1), 4);
  const word = (severity) => view.severities[4 - step(severity)];
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  function wrapped(text, width = 56) {
    const lines = [""];
    for (const part of text.split(/\s+/)) {
      if (lines.at(-1) && (lines.at(-1) + part).length >= width) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) ? " " : "") + part;
    }
    return lines.slice(0, 6).map((line) => escaped(line.slice(0, 120))).join("<br>");
  }

  // ---------------------------------------------------------------------------------- filters
  const filters = byId("filters");
  function shown() {
    if (!filters) return defects;
    const on = (name) => new Set([...filters.querySelectorAll(`[name=${name}]:checked`)].map((i) => i.value));
    const severities = on("severity");
    const kinds = filters.querySelector("[name=kind]") ? on("kind") : null;
    return defects.filter((d) => severities.has(word(d.severity)) && (!kinds || kinds.has(d.kind)));
  }
  function applyFilters() {
    const visible = new Set(shown().map((d) => d.id));
    for (const set of [cards, rows]) for (const [id, node] of set) node.hidden = !visible.has(id);
    const all = visible.size === defects.length;
    byId("reset").disabled = all;
    byId("none-shown").hidden = visible.size > 0;
    byId("shown-count").textContent = all ? `${defects.length} in total` : `${visible.size} of ${defects.length} shown`;
    draw();
  }
  function applyOrder() {
    const bySeverity = byId("order").value === "severity";
    const order = [...defects].sort((a, b) => (bySeverity && b.severity - a.severity) || a.start - b.start || a.end - b.end);
    byId("list").append(...order.map((d) => rows.get(d.id)));
    byId("cards").append(...order.map((d) => cards.get(d.id)), byId("none-shown"));
  }

  // -------------------------------------------------------------------------------- selection
  function select(id, { scroll = true, focus = true } = {}) {
    const card = cards.get(id);
    if (!card) return;
    for (const set of [cards, rows]) for (const [other, node] of set) node.classList.toggle("selected", other === id);
    state.selected = id;
    if (card.hidden) showAll();
    rows.get(id).scrollIntoView({ block: "nearest" });
    if (focus) card.focus({ preventScroll: true });
    if (scroll) card.scrollIntoView({ block: "start" });
    const hash = "#" + card.id;
    if (location.hash !== hash) history.replaceState(null, "", hash);
    draw();
  }
  function showAll() {
    for (const box of filters.querySelectorAll("input")) box.checked = true;
    applyFilters();
  }
  function zoomTo(id) {
    const { start, end } = byDefectId.get(id);
    const margin = Math.max((end - start) * 1.5, 0.5);
    select(id, { scroll: false, focus: false });
    look(start - margin, end + margin);
    byId("timeline").scrollIntoView({ block: "start" });
    byId("plots").focus({ preventScroll: true });
  }

  // ----------------------------------------------------------------------------------- charts
  function look(low, high) {
    const wide = Math.min(Math.max(high - low, 0.02), length);
    state.low = Math.min(Math.max(low, 0), length - wide);
    state.high = state.low + wide;
    draw();
  }
  function act(what) {
    const wide = state.high - state.low;
    const chosen = byDefectId.get(state.selected);
    let middle = (state.low + state.high) / 2;
    if (chosen && chosen.peak >= state.low && chosen.peak <= state.high) middle = chosen.peak;
    if (what === "in") look(middle - wide / 4, middle + wide / 4);
    if (what === "out") look(middle - wide, middle + wide);
    if (what === "left") look(state.low - wide / 3, state.high - wide / 3);
    if (what === "right") look(state.low + wide / 3, state.high + wide / 3);
    if (what === "all") look(0, length);
    if (what === "drag") {
      state.pan = !state.pan;
      document.querySelector("[data-do=drag]").setAttribute("aria-pressed", String(state.pan));
      draw();
    }
  }
  function ticks(width) {
    const steps = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
    const wide = state.high - state.low;
    const apart = steps.find((s) => (wide / s) * (s < 1 ? 96 : 72) <= width) ?? steps.at(-1);
    const digits = apart < 0.01 ? 3 : apart < 0.1 ? 2 : apart < 1 ? 1 : 0;
    const values = [];
    // one view further on either side, so that they are there while one drags
    const first = Math.max(0, Math.floor((state.low - wide) / apart));
    for (let n = first; n * apart <= Math.min(state.high + wide, length) + apart / 2; n++) values.push(n * apart);
    return { tickvals: values, ticktext: values.map((v) => timecode(v, digits)) };
  }
  // Smallest and largest value per pixel column: nothing that stands out is lost by thinning out.
  function envelope(values, rate, columns) {
    const first = Math.max(0, Math.floor(state.low * rate) - 1);
    const last = Math.min(values.length, Math.ceil(state.high * rate) + 2);
    const x = [], y = [];
    if (last - first <= 2 * columns) {
      for (let n = first; n < last; n++) { x.push(n / rate); y.push(values[n]); }
      return { x, y };
    }
    const size = (last - first) / columns;
    for (let column = 0; column < columns; column++) {
      let low = -1, high = -1;
      const stop = Math.min(last, Math.floor(first + (column + 1) * size));
      for (let n = Math.floor(first + column * size); n < stop; n++) {
        if (values[n] === null) continue;
        if (low < 0 || values[n] < values[low]) low = n;
        if (high < 0 || values[n] > values[high]) high = n;
      }
      if (low < 0) { x.push((first + column * size) / rate); y.push(null); continue; }
      for (const n of low < high ? [low, high] : low > high ? [high, low] : [low]) { x.push(n / rate); y.push(values[n]); }
    }
    return { x, y };
  }
  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  function palette() {
    const names = ["ink", "muted", "panel", "line", "grid", "soft", "accent", "picture", "sound", "sound2", "s1", "s2", "s3", "s4"];
    return Object.fromEntries(names.map((name) => [name, style("--" + name)]));
  }
  const coarse = matchMedia("(pointer: coarse), (hover: none)");
  const config = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };
  function common(colour, width, height, left) {
    const axis = { range: [state.low, state.high], gridcolor: colour.grid, zeroline: false, linecolor: colour.line, tickcolor: colour.line, ticks: "outside", ticklen: 4, fixedrange: coarse.matches };
    return {
      width, height, paper_bgcolor: colour.panel, plot_bgcolor: colour.panel, showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour.ink },
      margin: { l: left, r: 26, t: 4, b: 34 },
      dragmode: coarse.matches ? false : state.pan ? "pan" : "zoom",
      xaxis: { ...axis, ...ticks(width - left - 26) },
      hoverlabel: { bgcolor: colour.panel, bordercolor: colour.accent, font: { color: colour.ink, size: 12 }, align: "left" },
    };
  }
  const narrow = () => state.printing || byId("plots").clientWidth < 620;
  function drawLanes(colour, width, visible) {
    const lanes = view.kinds;
    const small = narrow();
    const tall = small ? 38 : 28;
    const laneOf = new Map(lanes.map((kind, n) => [kind.kind, n]));
    const pixel = (state.high - state.low) / Math.max(width - 80, 100);
    // a defect of a few frames in hours of programme still gets a bar of four pixels
    const bars = visible.map((d) => ({ d, wide: Math.max(d.end - d.start, 4 * pixel) }));
    const y = (d) => laneOf.get(d.kind) + (small ? 0.2 : 0);
    const edge = (d) => (d.id === state.selected ? colour.ink : colour.panel);
    const hover = (d) => `<b>${escaped(view.names[d.kind])}</b> · ${word(d.severity)}<br>${timecode(d.start)} – ${timecode(d.end)}<br>${wrapped(d.summary)}`;
    const trace = {
      type: "bar", orientation: "h", y: bars.map((b) => y(b.d)), width: bars.map(() => (small ? 0.42 : 0.62)),
      base: bars.map((b) => b.d.start + (b.d.end - b.d.start) / 2 - b.wide / 2), x: bars.map((b) => b.wide),
      customdata: bars.map((b) => b.d.id), hovertext: bars.map((b) => hover(b.d)), hoverinfo: "text",
      marker: { color: bars.map((b) => colour["s" + step(b.d.severity)]), line: { color: bars.map((b) => edge(b.d)), width: bars.map((b) => (b.d.id === state.selected ? 3 : 0.5)) } },
    };
    const left = small ? 46 : view.laneMargin;
    const layout = common(colour, width, lanes.length * tall + 40, left);
    layout.barmode = "overlay";
    layout.hovermode = "closest";
    layout.yaxis = {
      range: [lanes.length - 0.5, -0.5], fixedrange: true, zeroline: false, showgrid: false,
      tickvals: small ? [] : lanes.map((_, n) => n), ticktext: small ? [] : lanes.map((kind) => escaped(kind.name)), ticks: "",
    };
    layout.shapes = lanes.map((_, n) => ({ type: "rect", layer: "below", xref: "paper", x0: 0, x1: 1, y0: n - 0.46, y1: n + 0.46, fillcolor: n % 2 ? colour.panel : colour.soft, line: { width: 0 } }));
    if (small) layout.annotations = lanes.map((kind, n) => ({ xref: "paper", x: 0, xanchor: "left", y: n - 0.28, yanchor: "middle", showarrow: false, text: escaped(kind.name), font: { size: 11, color: colour.muted } }));
    return plotly.react("lanes", [trace], layout, config);
  }
  // The charts: one for each name, the series of one unit together.
  const charts = [];
  for (const [name, values] of Object.entries(inspection.timelines.series)) {
    const [title, unit, label, sense] = view.series[name] ?? [name, "", name, ""];
    let chart = charts.find((c) => c.title === title);
    if (!chart) charts.push((chart = { title, unit, sense, series: [] }));
    chart.series.push({ name, label, values });
  }
  charts.sort((a, b) => (a.sense === "a") - (b.sense === "a"));
  function range(chart) {
    let low = Infinity, high = -Infinity;
    for (const { values } of chart.series) for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
    if (chart.unit === "dBFS" || chart.unit === "LUFS") return [Math.max(Math.min(low, -40), -80) - 2, Math.max(high, 0) + 3];
    if (chart.series[0].name === "luma") return [0, 255];
    return [Math.min(low, 0), Math.max(high, 1) * 1.08];
  }
  for (const chart of charts) chart.range = range(chart);
  function shades(colour, width, visible, sense, y0, y1) {
    const pixel = (state.high - state.low) / Math.max(width, 100);
    const merged = [];
    for (const d of visible) {
      const senses = view.senses[d.kind];
      if (d.end < state.low || d.start > state.high || (senses && sense && !senses.includes(sense))) continue;
      const last = merged.at(-1);
      if (last && d.start <= last.x1 + pixel) {
        last.x1 = Math.max(last.x1, d.end);
        last.step = Math.max(last.step, step(d.severity));
      } else merged.push({ x0: d.start, x1: Math.max(d.end, d.start + 1.5 * pixel), step: step(d.severity) });
    }
    return merged.map((m) => ({ type: "rect", layer: "below", yref: "paper", y0, y1, x0: m.x0, x1: m.x1, fillcolor: colour["s" + m.step], opacity: 0.2, line: { width: 0 } }));
  }
  function drawSeries(colour, width, visible) {
    const tall = 114, gap = 26, foot = 34;
    const height = charts.length * tall + foot + 4;
    const inner = charts.length * tall;
    const left = narrow() ? 46 : view.laneMargin;
    const layout = common(colour, width, height, left);
    Object.assign(layout, { hovermode: "x", shapes: [], annotations: [] });
    Object.assign(layout.xaxis, { anchor: "y" + (charts.length > 1 ? charts.length : ""), showspikes: true, spikemode: "across", spikethickness: 1, spikedash: "solid", spikecolor: colour.muted, spikesnap: "cursor" });
    const traces = [];
    charts.forEach((chart, n) => {
      const top = 1 - (n * tall + gap) / inner, bottom = 1 - ((n + 1) * tall - 6) / inner;
      layout["yaxis" + (n ? n + 1 : "")] = { domain: [bottom, top], range: chart.range, fixedrange: true, gridcolor: colour.grid, zeroline: false, nticks: 5, title: { text: escaped(chart.unit), font: { size: 11, color: colour.muted }, standoff: 4 } };
      const hues = chart.sense === "a" ? [colour.sound, colour.sound2] : [colour.picture, colour.sound2];
      const labels = chart.series.map((s, k) => `<span style="color:${hues[k % 2]}">${escaped(s.label)}</span>`).join("  ");
      layout.annotations.push({ xref: "paper", yref: "paper", x: 0, xanchor: "left", y: top, yanchor: "bottom", showarrow: false, text: `<b>${escaped(chart.title)}</b>` + (chart.series.length > 1 ? `   ${labels}` : ""), font: { size: 12 } });
      chart.series.forEach((s, k) => {
        const points = envelope(s.values, inspection.timelines.rate, Math.round(width));
        traces.push({ type: "scatter", mode: "lines", ...points, yaxis: "y" + (n ? n + 1 : ""), line: { color: hues[k % 2], width: 1.4 }, hoverinfo: "none", connectgaps: false });
      });
      layout.shapes.push(...shades(colour, width, visible, chart.sense, bottom, top));
    });
    return plotly.react("series", traces, layout, config);
  }
  let wanted = false, busy = false;
  async function draw() {
    if (!plotly) return;
    wanted = true;
    if (busy) return;
    busy = true;
    try {
      while (wanted) {
        wanted = false;
        const colour = palette();
        const width = state.printing ? 620 : Math.max(byId("plots").clientWidth, 240);
        const visible = shown();
        if (byId("lanes")) await drawLanes(colour, width, visible);
        if (charts.length) await drawSeries(colour, width, visible);
      }
    } finally { busy = false; }
    root.dataset.drawn = `${state.low.toFixed(3)} ${state.high.toFixed(3)}`;
  }
  function listen(node) {
    node.on("plotly_relayout", (change) => {
      const low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
      if (low !== undefined && high !== undefined) look(Number(low), Number(high));
    });
    node.on("plotly_doubleclick", () => look(0, length));
    node.on("plotly_click", (event) => {
      const id = event.points[0]?.customdata;
      if (id) select(id);
    });
    node.on("plotly_hover", (event) => {
      if (node.id === "lanes" || !event.xvals) return;
      const time = event.xvals[0];
      const at = Math.round(time * inspection.timelines.rate);
      const parts = charts.flatMap((c) => c.series.filter((s) => typeof s.values[at] === "number").map((s) => `${s.label} ${s.values[at].toFixed(1)}${c.unit.startsWith("code") ? "" : " " + c.unit}`));
      byId("readout").textContent = [timecode(time), ...parts].join("  ·  ");
    });
  }
  async function loadPlotly() {
    const packed = byId("plotly");
    if (!packed) return;
    if (typeof DecompressionStream === "undefined") { byId("charts-failed").hidden = false; return; }
    const bytes = Uint8Array.from(atob(packed.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    plotly = window.Plotly;
    await draw();
    for (const id of ["lanes", "series"]) if (byId(id)?.on) listen(byId(id));
    root.dataset.ready = "yes";
  }

  // ----------------------------------------------------------------------------------- wiring
  if (filters) {
    filters.addEventListener("change", (event) => (event.target.id === "order" ? applyOrder() : applyFilters()));
    byId("reset").addEventListener("click", showAll);
    byId("list").addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (row && !event.ctrlKey && !event.metaKey) { event.preventDefault(); select(row.dataset.id); }
    });
    byId("cards").addEventListener("click", (event) => {
      const button = event.target.closest(".zoom-to");
      if (button) zoomTo(button.dataset.id);
    });
  }
  byId("toolbar")?.addEventListener("click", (event) => act(event.target.closest("button")?.dataset.do));
  byId("plots")?.addEventListener("keydown", (event) => {
    const what = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" }[event.key];
    if (what && !event.ctrlKey && !event.metaKey) { event.preventDefault(); act(what); }
  });
  byId("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([byId("inspection").textContent], { type: "application/json" }));
    link.download = view.download;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(draw, 120); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const printing = (on) => () => { state.printing = on; root.classList.toggle("printing", on); draw(); };
  addEventListener("beforeprint", printing(true));
  addEventListener("afterprint", printing(false));
  const fromHash = () => { const card = byId(location.hash.slice(1)); if (card?.dataset.id) select(card.dataset.id); };
  addEventListener("hashchange", fromHash);
  fromHash();
  loadPlotly();
})();
