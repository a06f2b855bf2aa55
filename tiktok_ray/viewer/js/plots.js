// Curves and shares beside the video: loudness, pace, palette, screen time, what is heard.

import { clamp, clockTime, colour, el, number, percent, said } from "./dom.js";
import { reasonOf } from "./status.js";
import { shareBar } from "./summary.js";

const HEIGHT = 150;

/** Returns `{node, redraw}`. Curves seek on click and carry the playhead. */
export function makePlots(model, clock) {
  const node = el("section", { class: "plots", "aria-label": "Plots" });
  const curves = [loudness(model), pace(model)].map((plot) => card(plot, model, clock));
  node.append(...curves.map((curve) => curve.node), paletteCard(model), screenTime(model), heard(model));
  const redraw = () => curves.forEach((curve) => curve.draw());
  clock.on(() => curves.forEach((curve) => curve.mark()));
  return { node, redraw };
}

function loudness(model) {
  const section = model.section("audio_analysis");
  const curve = section.output?.loudness;
  const facts = section.output?.integrated_lufs != null ? `${number(section.output.integrated_lufs)} LUFS integrated` : "";
  return {
    title: "Loudness", unit: "LUFS", facts, section, range: [-60, 0],
    data: curve && [curve.times, curve.momentary, curve.short_term],
    series: [["momentary", "accent", 1], ["short-term", "accent-2", 2]],
  };
}

function pace(model) {
  const section = model.section("temporal_flow");
  const pacing = section.output?.pacing;
  return {
    title: "Pace", unit: "", section, range: [0, 1], facts: "",
    data: pacing && [pacing.times, pacing.pace],
    series: [["pace", "accent", 2]],
  };
}

function card(plot, model, clock) {
  const place = el("div", { class: "plot" });
  const node = el("div", { class: "card" }, el("h2", {}, plot.title, plot.facts ? el("span", { class: "note" }, ` ${plot.facts}`) : null), place);
  let chart = null;
  if (!plot.data || !plot.data[0].length) {
    place.replaceWith(said("p", reasonOf(plot.section) || plot.section.status, { class: "note" }));
    return { node, draw() {}, mark() {} };
  }
  const playhead = el("div", { class: "plot-head" });
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `${plot.title} over time. ${plot.facts}`);

  function draw() {
    chart?.destroy();
    const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    chart = new uPlot({
      width: Math.max(120, place.clientWidth),
      height: HEIGHT,
      legend: { show: plot.series.length > 1, live: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: [0, model.duration] }, y: { range: plot.range } },
      axes: [{ ...axis, size: 26, values: (_, ticks) => ticks.map((t) => clockTime(t, Number.isInteger(t) ? 0 : 1)) }, { ...axis, size: 40 }],
      series: [{ label: "time" }, ...plot.series.map(([label, tint, width]) => ({ label, stroke: colour(tint), width, points: { show: false } }))],
    }, plot.data, place);
    chart.over.append(playhead);
    chart.over.addEventListener("click", (event) => {
      const box = chart.over.getBoundingClientRect();
      clock.seek(chart.posToVal(clamp(event.clientX - box.left, 0, box.width), "x"));
    });
    mark();
  }

  function mark() {
    if (chart) playhead.style.transform = `translateX(${chart.valToPos(clock.time, "x")}px)`;
  }

  let known = 0;
  new ResizeObserver(() => {
    if (place.clientWidth === known) return;
    known = place.clientWidth;
    if (chart) chart.setSize({ width: Math.max(120, known), height: HEIGHT });
    else draw();
    mark();
  }).observe(place);
  return { node, draw: () => chart && draw(), mark };
}

function paletteCard(model) {
  const section = model.section("color_analysis");
  const swatches = (section.output?.palette ?? []).filter((swatch) => /^#[0-9a-f]{6}$/i.test(swatch.hex));
  const node = el("div", { class: "card" }, el("h2", {}, "Palette"));
  if (!swatches.length) return withReason(node, section);
  node.append(
    el("div", { class: "palette", "aria-hidden": "true" }, swatches.map((swatch) => el("span", { style: { background: swatch.hex, "flex-grow": String(swatch.share) } }))),
    el("ul", { class: "swatches" }, swatches.map((swatch) =>
      el("li", {}, el("span", { class: "dot", style: { background: swatch.hex } }), `${swatch.name} ${percent(swatch.share)}`))));
  return node;
}

function screenTime(model) {
  const section = model.section("object_detection");
  const classes = [...(section.output?.classes ?? [])].sort((a, b) => b.screen_share - a.screen_share).slice(0, 8);
  const faces = model.section("age_estimation").output;
  const node = el("div", { class: "card" }, el("h2", {}, "Screen time"));
  if (!classes.length && !faces) return withReason(node, section);
  node.append(...classes.map((kind) =>
    shareBar(kind.label, kind.screen_share, `${number(kind.screen_time_s)} s, ${kind.tracks} tracks, ${percent(kind.area)} of the frame`)));
  if (faces) node.append(shareBar("faces", faces.screen_share, `${number(faces.screen_time_s)} s`));
  const text = model.section("text_overlay").output;
  if (text) node.append(shareBar("text", text.share, `${number(text.on_screen_s)} s`));
  return node;
}

function heard(model) {
  const section = model.section("audio_environment");
  const shares = section.output?.shares;
  const node = el("div", { class: "card" }, el("h2", {}, "Sounds"));
  if (!shares) return withReason(node, section);
  node.append(...Object.entries(shares).filter(([, share]) => typeof share === "number").map(([name, share]) => shareBar(name, share, "share of the time")));
  return node;
}

function withReason(node, section) {
  node.append(said("p", reasonOf(section) || (section.status === "ok" ? "Nothing found." : section.status), { class: "note" }));
  return node;
}
