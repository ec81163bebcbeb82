// Elements, and numbers in words.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const made = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const drawn = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);
export const words = (kind) => kind.replaceAll("_", " ");

// 1 subtle, 2 noticeable, 3 very noticeable: the ladder of the detectors in three colours
export const severity = (value) => value >= 0.85 ? 3 : value >= 0.6 ? 2 : 1;
export const severityWords = (value) => ["", "subtle", "noticeable", "very noticeable"][severity(value)];

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.floor(value % 3600 / 60)} min`;
  return `${(value / 86400).toFixed(1)} days`;
}

export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(Math.round(value))}`;

export const ago = (time) => seconds(Math.max(0, Date.now() / 1000 - time));
