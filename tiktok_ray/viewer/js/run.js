// How it ran: the real schedule, memory as planned and as measured, and the least time possible.

import { el, number, percent, said, words } from "./dom.js";

/**
 * The time that no schedule could beat, in seconds: the longest chain of work that waits for work, or
 * all work spread evenly over the cores, whichever is longer. Decoding and loading count as work.
 */
export function bound(report) {
  const { run, analyzers } = report;
  const decode = run.decode_s ?? 0;
  const loads = run.load_s ?? {};
  const waits = run.waits_for ?? {};
  const ends = new Map();
  function end(name) {
    if (!ends.has(name)) {
      ends.set(name, 0);
      const before = (waits[name] ?? []).map(end);
      ends.set(name, Math.max(decode, loads[name] ?? 0, ...before) + (analyzers[name]?.seconds ?? 0));
    }
    return ends.get(name);
  }
  const worked = Object.keys(analyzers).filter((name) => analyzers[name].started_s != null);
  const path = Math.max(decode, ...worked.map(end));
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const work = decode + sum(Object.values(loads)) + sum(worked.map((name) => analyzers[name].seconds));
  const cores = run.cores || 1;
  return { seconds: Math.max(path, work / cores), path, shared: work / cores, work, cores };
}

/** The chart as a table: a row for decoding and each analyzer, in the order in which work began. */
export function makeRun(model) {
  const { report } = model;
  const { run } = report;
  const least = bound(report);
  const rows = schedule(report);
  const scale = Math.max(run.wall_s ?? 0, least.seconds, ...rows.map((row) => row.start + row.seconds)) || 1;
  const most = Math.max(0.1, ...rows.flatMap((row) => [row.planned ?? 0, row.measured ?? 0]));
  const body = el("tbody", {}, rows.map((row) => line(row, scale, most, least, run)));
  const node = el("section", { class: "run card", "aria-labelledby": "run-title" },
    el("h2", { id: "run-title" }, "The run: planned and actual"),
    el("p", {}, sentence(run, least)),
    legend(),
    el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Schedule and memory" },
      el("table", { class: "gantt" },
        el("thead", {}, el("tr", {},
          el("th", { scope: "col" }, "Work"), el("th", { scope: "col" }, "Where"),
          el("th", { scope: "col", class: "schedule" }, axis(scale)), el("th", { scope: "col" }, "Memory, planned and peak"))),
        body)),
    notes(run, least));
  return { node };
}

function schedule(report) {
  const { run, analyzers } = report;
  const planned = new Map((Array.isArray(run.plan) ? run.plan : []).map((row) => [row.analyzer, row]));
  const memory = run.memory ?? {};
  const rows = [{ name: "decode", title: "decode", start: 0, seconds: run.decode_s ?? 0, queued: 0, where: "cpu", measured: memory.decoder?.peak_gib }];
  for (const [name, section] of Object.entries(analyzers)) {
    if (section.started_s == null) continue;
    const plan = planned.get(name);
    const card = Boolean(plan && plan.device !== "cpu");
    rows.push({
      name, title: words(name), start: section.started_s, seconds: section.seconds, queued: section.queued_s ?? 0,
      status: section.status, load: run.load_s?.[name],
      where: plan ? `${plan.variant} on ${plan.device}` : (section.device ?? ""),
      planned: card ? plan.vram_gib : plan?.ram_gib,
      // Nothing takes no memory: zero says that it was not measured.
      measured: (card ? memory[name]?.peak_vram_gib : memory[name]?.peak_gib) || null,
      kind: card ? "GPU" : "RAM",
      basis: plan?.basis,
    });
  }
  return [rows[0], ...rows.slice(1).sort((a, b) => a.start - b.start)];
}

function line(row, scale, most, least, run) {
  const place = (seconds) => `${(100 * seconds) / scale}%`;
  const queue = Math.min(row.queued, row.start);
  const about = [
    `${row.title}: started at ${number(row.start)} s, ran for ${number(row.seconds)} s`,
    queue ? `waited ${number(queue)} s in the queue before` : "",
    row.load ? `its model took ${number(row.load)} s to load` : "",
  ].filter(Boolean).join("; ");
  const bars = el("div", { class: "bars", role: "img", "aria-label": about, title: about },
    queue ? el("span", { class: "queue", style: { left: place(row.start - queue), width: place(queue) } }) : null,
    el("span", { class: "work", "data-status": row.status ?? "ok", style: { left: place(row.start), width: place(row.seconds) } }),
    el("span", { class: "least", style: { left: place(least.seconds) } }),
    run.wall_s ? el("span", { class: "wall", style: { left: place(run.wall_s) } }) : null,
    el("span", { class: "figure", style: label(row, scale) }, `${number(row.seconds)} s`));
  return el("tr", {}, el("th", { scope: "row" }, row.title), said("td", row.where), el("td", { class: "schedule" }, bars), el("td", {}, memory(row, most)));
}

/** Beside the bar, on the side that has room. */
function label(row, scale) {
  const end = (row.start + row.seconds) / scale;
  return end < 0.86 ? { left: `calc(${100 * end}% + 4px)` } : { right: `calc(${100 * (1 - row.start / scale)}% + 4px)` };
}

function memory(row, most) {
  if (row.planned == null && row.measured == null) return "";
  const bar = (name, value) => value == null ? null : el("span", { class: name, style: { width: `${(100 * value) / most}%` } });
  const text = [row.planned != null && `${number(row.planned)} planned${row.basis ? ` (${row.basis})` : ""}`, row.measured != null && `${number(row.measured)} peak`]
    .filter(Boolean).join(", ");
  return el("div", { class: "memory", title: `${text} GiB ${row.kind ?? "RAM"}` },
    el("div", { class: "memory-bars", "aria-hidden": "true" }, bar("planned", row.planned), bar("measured", row.measured)),
    el("span", { class: "figure" }, [row.planned, row.measured].map((v) => (v == null ? "–" : v.toFixed(2))).join(" / ")));
}

function axis(scale) {
  const step = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000].find((s) => scale / s <= 6) ?? scale / 5;
  const ticks = [];
  for (let t = 0; t < scale * 0.97; t += step) ticks.push(el("span", { style: { left: `${(100 * t) / scale}%` } }, `${number(t)} s`));
  return el("div", { class: "axis" }, ticks);
}

function sentence(run, least) {
  const wall = run.wall_s ?? 0;
  const parts = [`${number(wall)} s from the file to the report, ${number(run.realtime_factor ?? 0)} × the video's length. `];
  const why = least.path >= least.shared
    ? `the critical path takes ${number(least.path)} s`
    : `${number(least.work)} s of work share ${least.cores} core${least.cores === 1 ? "" : "s"}`;
  parts.push(`No schedule could beat ${number(least.seconds)} s: ${why}`);
  parts.push(wall ? `; this run achieved ${percent(least.seconds / wall)} of that ideal.` : ".");
  return parts.join("");
}

function legend() {
  const entry = (name, text) => el("li", {}, el("span", { class: `key ${name}` }), text);
  return el("ul", { class: "legend" }, entry("queue", "waiting for cores"), entry("work", "work"), entry("least", "no schedule could beat this"),
    entry("wall", "report built"), entry("planned", "memory planned"), entry("measured", "memory peak"));
}

function notes(run, least) {
  const made = [];
  if (run.workers === "threads") made.push("The analyzers ran as threads of one process: each peak is that of the whole process.");
  const loads = Object.values(run.load_s ?? {}).reduce((a, b) => a + b, 0);
  if (loads > 0.1) made.push(`Models took ${number(loads)} s to load in total; when each was loaded is not recorded.`);
  if (!run.waits_for) made.push("The report does not record which analyzer waited for which: the critical path counts decoding and one analyzer.");
  const versions = Object.entries(run.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  made.push([`${least.cores} cores`, run.workers && `workers: ${run.workers}`, run.decoder && `decoder: ${run.decoder}`, versions].filter(Boolean).join(" · "));
  return el("div", {}, made.map((text) => said("p", text, { class: "note" })));
}
