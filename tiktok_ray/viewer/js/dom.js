// Elements and numbers. Strings reach the page as text nodes and attributes only, never as markup.

/** An element: `el("a", { class: "x", href: "#", on: { click } }, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value)) node.style.setProperty(property, text);
    } else {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An element for words that came from outside: set apart so that their direction spreads nowhere. */
export function said(tag, text, attributes = {}) {
  return el(tag, { dir: "auto", ...attributes }, text);
}

export function button(label, onclick, attributes = {}) {
  return el("button", { type: "button", on: { click: onclick }, ...attributes }, label);
}

/** Minutes and seconds: `1:05.2`. */
export function clockTime(seconds, digits = 1) {
  const scale = 10 ** digits;
  const whole = Math.round(Math.max(0, seconds) * scale);
  const minutes = Math.floor(whole / (60 * scale));
  const rest = ((whole - minutes * 60 * scale) / scale).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}

export function spanText(start, end) {
  return end > start ? `${clockTime(start)} – ${clockTime(end)}` : clockTime(start, 2);
}

/** A number with as many digits as say something: 1,234 · 12.3 · 0.12; a dash where there is none. */
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 2 : 4);
}

export function percent(share) {
  if (!Number.isFinite(share)) return "–";
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

export function words(name) {
  return name.replaceAll("_", " ");
}

export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

/** Values of the page's colour variables, read anew when the theme changes. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A 2D context that fits its element and the screen's pixels, cleared. */
export function fitted(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const wide = Math.round(width * ratio);
  const high = Math.round(height * ratio);
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
