// Search over words, texts, labels, descriptions and tags of one report.

import { el, said, spanText, words } from "./dom.js";
import { findings, LANES } from "./lanes.js";

const SHOWN = 100;
const TITLES = Object.fromEntries(LANES.map((lane) => [lane.analyzer, lane.title]));

/** Lower case, accents off: `Grüße` is found by `grusse` as well as by `grüße`. */
export function folded(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ß", "ss");
}

/** All that can be found: `{start, end, text, analyzer}`, by time. */
export function entriesOf(model) {
  const made = model.report.timeline.map((event) => ({ start: event.start, end: event.end, text: event.label, analyzer: event.analyzer }));
  const add = (analyzer, entry) => made.push({ end: entry.start, ...entry, analyzer });
  for (const segment of model.section("speech_transcription").output?.segments ?? []) {
    add("speech_transcription", { start: segment.start, end: segment.end, text: segment.text });
  }
  for (const window of model.section("qwen2_vl_temporal").output?.windows ?? []) {
    const text = [window.setting, window.people, window.action, window.visible_text, window.mood].filter(Boolean).join(" · ");
    add("qwen2_vl_temporal", { start: window.start, end: window.end, text: text || window.raw });
  }
  for (const tag of model.section("qwen2_vl_temporal").output?.tags ?? []) add("qwen2_vl_temporal", { start: 0, text: tag });
  const cross = model.section("cross_analyzer_intelligence").output;
  for (const tag of cross?.tags ?? []) add("cross_analyzer_intelligence", { start: tag.evidence?.[0]?.start ?? 0, text: tag.tag });
  for (const finding of findings(cross)) for (const piece of finding.evidence.slice(0, 1)) add("cross_analyzer_intelligence", { start: piece.start, end: piece.end, text: finding.text });
  const seen = new Set();
  return made
    .filter((entry) => {
      const key = `${entry.analyzer} ${entry.start} ${entry.text}`;
      return entry.text && !seen.has(key) && seen.add(key);
    })
    .map((entry) => ({ ...entry, folded: folded(entry.text) }))
    .sort((a, b) => a.start - b.start);
}

/** A search field and its hits; a hit leads to its place in the timeline. */
export function makeSearch(model, show) {
  let entries = null;
  const list = el("ul", { class: "hits" });
  const count = el("p", { class: "note", role: "status" });
  const field = el("input", { type: "search", id: "search", placeholder: "Words, texts, labels, tags", autocomplete: "off", on: { input: look } });
  const node = el("section", { class: "search card", role: "search" }, el("label", { for: "search" }, "Search this video"), field, count, list);

  function look() {
    const wanted = folded(field.value.trim());
    list.replaceChildren();
    count.textContent = "";
    if (!wanted) return;
    entries ??= entriesOf(model);
    const hits = entries.filter((entry) => entry.folded.includes(wanted));
    count.textContent = `${hits.length} found${hits.length > SHOWN ? `, showing the first ${SHOWN}` : ""}`;
    list.append(...hits.slice(0, SHOWN).map((hit) => el("li", {},
      el("button", { type: "button", on: { click: () => show(hit.analyzer, hit.start, hit.end) } },
        el("span", { class: "at" }, spanText(hit.start, hit.end)), said("span", hit.text, { class: "hit" }),
        el("span", { class: "note" }, TITLES[hit.analyzer] ?? words(hit.analyzer))))));
  }
  return { node };
}
