// All that one analyzer found, as lists: what its lane shows, for reading and for screen readers.

import { button, el, number, said, spanText, words } from "./dom.js";
import { reasonOf } from "./status.js";

const PAGE = 100;

/** A panel with the analyzer's figures and a table of its entries, a page at a time. */
export function details(lane, model, clock) {
  const section = model.section(lane.analyzer);
  const entries = [...lane.data.rows.flatMap((row) => row.bars), ...lane.data.marks].sort((a, b) => a.start - b.start);
  const panel = el("div", { class: "details", role: "region", "aria-label": `${lane.title}: what was found` });
  panel.append(el("p", { class: "note", dir: "auto" }, origin(lane, section)));
  const reason = reasonOf(section);
  if (reason) panel.append(said("p", reason, { class: "note" }));
  const facts = figures(section.output, model.hints[lane.analyzer] ?? {});
  if (facts.length) panel.append(el("dl", { class: "facts" }, facts));
  if (entries.length) panel.append(table(lane, entries, clock));
  return panel;
}

function origin(lane, section) {
  const parts = [lane.analyzer, words(section.status)];
  if (section.model) parts.push(`${section.model.id} (${section.model.variant})`);
  if (section.device) parts.push(`on ${section.device}`);
  if (section.seconds) parts.push(`${number(section.seconds)} s of work`);
  if (section.cached) parts.push("from the cache");
  if (section.coverage) parts.push(`${number(section.coverage.samples)} samples, up to ${number(section.coverage.max_gap_s)} s apart`);
  for (const limit of section.limits ?? []) {
    const least = [limit.shorter_than_s != null && `shorter than ${number(limit.shorter_than_s)} s`, limit.smaller_than_px != null && `smaller than ${number(limit.smaller_than_px)} px`];
    parts.push(`may miss ${limit.of} ${least.filter(Boolean).join(" or ")}`);
  }
  return parts.join(" · ");
}

/** Single numbers and words of an output, one level deep, with what each field says of itself. */
function figures(output, hints) {
  const made = [];
  const add = (path, value) => {
    const hint = hints[path] ?? {};
    const plain = typeof value === "number" ? number(value) : String(value);
    const error = hint.error ?? (hint.basis === "estimated" ? "not measured" : "");
    const about = [hint.about, hint.basis && `(${hint.basis})`, hint.range && `range ${hint.range}`, hint.method, error && `error: ${error}`].filter(Boolean).join(" · ");
    made.push(el("div", { title: about }, el("dt", {}, words(path).replace(".", ": ")), said("dd", hint.unit ? `${plain} ${hint.unit}` : plain)));
  };
  const single = (value) => ["number", "boolean"].includes(typeof value) || (typeof value === "string" && value.length <= 80);
  for (const [name, value] of Object.entries(output ?? {})) {
    if (single(value)) add(name, value);
    else if (value && typeof value === "object" && !Array.isArray(value)) {
      for (const [inner, deep] of Object.entries(value)) if (single(deep)) add(`${name}.${inner}`, deep);
    }
  }
  return made;
}

function table(lane, entries, clock) {
  const body = el("tbody");
  let shown = 0;
  const more = button("", next, { class: "quiet" });
  function next() {
    for (const entry of entries.slice(shown, shown + PAGE)) {
      const seek = button(spanText(entry.start, entry.end), () => clock.seek(entry.start), { class: "link" });
      const words = [entry.label, ...(entry.about ?? [])].join(" · ");
      body.append(el("tr", {}, el("td", {}, seek), said("td", words), el("td", {}, entry.confidence != null ? entry.confidence.toFixed(2) : "")));
    }
    shown = Math.min(entries.length, shown + PAGE);
    more.textContent = `${number(entries.length - shown)} more`;
    more.hidden = shown === entries.length;
  }
  next();
  return el("div", { class: "list", tabindex: "0", role: "group", "aria-label": `${lane.title}: list` },
    el("table", {}, el("thead", {}, el("tr", {}, ["Time", "What", "Confidence"].map((title) => el("th", { scope: "col" }, title)))), body),
    more);
}
