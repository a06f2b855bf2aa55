// Draws one lane's contents into a canvas: shade, curve, strip, bars, marks, in this order.

import { colour } from "./dom.js";
import { firstFrom } from "./series.js";

export const BAR = 18;
const GAP = 3;
const PAD = 5;
const LABEL_MIN = 22;
const CURVE_HEIGHT = 34;
const STRIP_HEIGHT = 26;

/** The height that a lane's contents want, in pixels. */
export function heightOf({ rows, curve, strip }) {
  const bars = rows.length * (BAR + GAP);
  return 2 * PAD + Math.max(bars + (curve ? CURVE_HEIGHT : -GAP), strip ? STRIP_HEIGHT : 0, BAR);
}

/** Colours of the theme, for `paint`. */
export function palette() {
  const dark = colour("scheme") === "dark";
  return {
    text: colour("text"),
    font: "12px system-ui, sans-serif",
    grid: colour("line"),
    fill: (hue, strong) => `hsl(${hue} ${dark ? 38 : 62}% ${dark ? (strong ? 42 : 28) : strong ? 70 : 84}%)`,
    edge: (hue) => `hsl(${hue} ${dark ? "55% 60%" : "55% 42%"})`,
    label: (hue) => (dark ? "hsl(0 0% 96%)" : `hsl(${hue} 60% 14%)`),
    curve: (hue) => `hsl(${hue} ${dark ? "60% 62%" : "60% 38%"})`,
    soft: (hue) => `hsl(${hue} ${dark ? "50% 55% / 0.22" : "60% 45% / 0.18"})`,
    shade: dark ? "hsl(0 0% 100% / 0.07)" : "hsl(0 0% 0% / 0.06)",
  };
}

/** `view`: `{from, to, width, height}`, seconds and pixels. */
export function paint(context, lane, view, look, hot) {
  const scale = view.width / (view.to - view.from);
  const x = (t) => (t - view.from) * scale;
  context.font = look.font;
  context.textBaseline = "middle";
  for (const span of visible(lane.shade, view, Infinity)) {
    context.fillStyle = look.shade;
    context.fillRect(x(span.start), 0, Math.max(1, (span.end - span.start) * scale), view.height);
  }
  if (lane.curve) paintCurve(context, lane, view, look, x);
  if (lane.strip) paintStrip(context, lane.strip, view, x);
  lane.rows.forEach((row, k) => {
    const top = PAD + k * (BAR + GAP);
    paintRow(context, row, top, lane.hue, view, look, x, hot);
  });
  paintMarks(context, lane, view, look, x, hot);
}

/** Entries that touch the view; `longest` bounds their length. Without bound all are looked at. */
export function visible(entries, view, longest) {
  const begin = Number.isFinite(longest) ? firstFrom(entries, view.from - longest, (e) => e.start) : 0;
  const shown = [];
  for (let k = begin; k < entries.length && entries[k].start <= view.to; k += 1) {
    if (entries[k].end >= view.from) shown.push(entries[k]);
  }
  return shown;
}

function paintRow(context, row, top, hue, view, look, x, hot) {
  let drawn = -1;
  for (const bar of visible(row.bars, view, row.longest)) {
    const left = Math.max(-2, x(bar.start));
    const right = Math.min(view.width + 2, x(bar.end));
    if (right <= drawn) continue;
    const wide = Math.max(1, right - left - (right - left > 4 ? 1 : 0));
    context.fillStyle = look.fill(hue, bar.strong || bar === hot);
    context.fillRect(left, top, wide, BAR);
    if (wide > 4) {
      context.fillStyle = look.edge(hue);
      context.fillRect(left, top, 2, BAR);
    }
    if (bar === hot) {
      context.strokeStyle = look.edge(hue);
      context.strokeRect(left + 0.5, top + 0.5, wide - 1, BAR - 1);
    }
    drawn = Math.max(drawn, Math.floor(left) + 1);
    if (wide >= LABEL_MIN && bar.label) {
      const from = Math.max(0, left);
      label(context, bar.label, from + 5, top + BAR / 2 + 1, Math.min(right, view.width) - from - 8, look.label(hue));
    }
  }
}

/** Text cut with an ellipsis where it does not fit; nothing where not even two letters do. */
function label(context, text, x, y, room, style) {
  const short = text.length > 200 ? text.slice(0, 200) : text;
  let shown = short;
  if (context.measureText(short).width > room) {
    let low = 0;
    let high = short.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText(`${short.slice(0, middle)}…`).width <= room) low = middle;
      else high = middle - 1;
    }
    if (low < 2) return;
    shown = `${short.slice(0, low).trimEnd()}…`;
  }
  context.fillStyle = style;
  context.fillText(shown, x, y);
}

function paintMarks(context, lane, view, look, x, hot) {
  let drawn = -2;
  context.fillStyle = look.edge(lane.hue);
  for (const mark of visible(lane.marks, view, 0)) {
    const place = Math.round(x(mark.start));
    if (place - drawn < 1) continue;
    drawn = place;
    const wide = mark === hot ? 4 : 2;
    context.fillRect(place - wide / 2, 0, wide, mark.small && mark !== hot ? 8 : view.height);
  }
}

function paintStrip(context, strip, view, x) {
  const { times, colours } = strip;
  const begin = Math.max(0, firstFrom(times, view.from) - 1);
  for (let k = begin; k < times.length && times[k] <= view.to; k += 1) {
    // The last sample stands for as long as the one before it.
    const end = times[k + 1] ?? (k ? 2 * times[k] - times[k - 1] : view.to);
    if (!/^#[0-9a-f]{6}$/i.test(colours[k])) continue;
    const left = Math.floor(x(times[k]));
    context.fillStyle = colours[k];
    context.fillRect(left, PAD, Math.ceil(x(end)) - left, view.height - 2 * PAD);
  }
}

/** The range of a curve: what the lane says, or that of its values. */
export function rangeOf(curve) {
  const known = curve.values.filter((value) => value !== null);
  const low = curve.low ?? known.reduce((a, b) => Math.min(a, b), Infinity);
  const high = curve.high ?? known.reduce((a, b) => Math.max(a, b), -Infinity);
  return Number.isFinite(low) && high > low ? [low, high] : [low - 1, low + 1];
}

function paintCurve(context, lane, view, look, x) {
  const { times, values, fill, gap = Infinity } = lane.curve;
  lane.curve.range ??= rangeOf(lane.curve);
  const [low, high] = lane.curve.range;
  const bottom = view.height - PAD;
  const top = bottom - CURVE_HEIGHT + 2;
  const y = (value) => bottom - ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (bottom - top);
  const begin = Math.max(0, firstFrom(times, view.from) - 1);
  let runs = [[]];
  let column = null;
  for (let k = begin; k < times.length; k += 1) {
    const value = values[k];
    if (value === null || value === undefined || times[k] - (times[k - 1] ?? times[k]) > gap) runs.push([]);
    if (value === null || value === undefined) { column = null; continue; }
    const place = x(times[k]);
    // Many samples in one column of pixels: its highest and lowest say all that can be seen.
    if (column && Math.floor(place) === column.place) {
      column.low = Math.min(column.low, value);
      column.high = Math.max(column.high, value);
    } else {
      column = { place: Math.floor(place), x: place, low: value, high: value };
      runs.at(-1).push(column);
    }
    if (times[k] > view.to) break;
  }
  runs = runs.filter((run) => run.length);
  context.lineWidth = 1.25;
  context.strokeStyle = look.curve(lane.hue);
  for (const run of runs) {
    context.beginPath();
    for (const point of run) {
      context.lineTo(point.x, y(point.high));
      if (point.low < point.high) context.lineTo(point.x, y(point.low));
    }
    if (run.length === 1) context.lineTo(run[0].x + 1.5, y(run[0].high));
    context.stroke();
    if (!fill) continue;
    context.lineTo(run.at(-1).x, bottom);
    context.lineTo(run[0].x, bottom);
    context.fillStyle = look.soft(lane.hue);
    context.fill();
  }
  context.lineWidth = 1;
}

/** What lies under a point of the lane: a mark within 4 pixels, else the bar of that row. */
export function hit(lane, view, px, py) {
  const scale = view.width / (view.to - view.from);
  const t = view.from + px / scale;
  const near = 4 / scale;
  const around = { from: t - near, to: t + near };
  const marks = visible(lane.marks, around, near);
  const closest = marks.sort((a, b) => Math.abs(a.start - t) - Math.abs(b.start - t))[0];
  if (closest) return closest;
  const row = lane.rows[Math.floor((py - PAD) / (BAR + GAP))];
  return row ? (visible(row.bars, { from: t, to: t }, row.longest).at(-1) ?? null) : null;
}

/** Round steps for the ruler: at least `room` pixels apart. */
export function rulerStep(secondsPerPixel, room = 80) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  return steps.find((step) => step >= secondsPerPixel * room) ?? 7200;
}
