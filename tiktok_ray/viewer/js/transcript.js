// What is said, sentence by sentence; the words follow the voice.

import { clockTime, el, number, said } from "./dom.js";
import { firstFrom } from "./series.js";
import { reasonOf } from "./status.js";

/** A card with the transcript, or with why there is none. */
export function makeTranscript(model, clock) {
  const section = model.section("speech_transcription");
  const segments = section.output?.segments ?? [];
  const { language, text_language: written = language } = section.output ?? {};
  const node = el("section", { class: "card", "aria-labelledby": "said-title" },
    el("h2", { id: "said-title" }, "Transcript", language ? el("span", { class: "badge" }, written && written !== language ? `${language} → ${written}` : language) : null));
  const reason = reasonOf(section);
  if (!segments.length) {
    node.append(said("p", reason || (section.status === "ok" ? "No speech." : section.status), { class: "note" }));
    return { node };
  }
  if (reason) node.append(said("p", reason, { class: "note" }));
  const dropped = section.output?.words_dropped;
  if (dropped) node.append(el("p", { class: "note" }, `${dropped} word${dropped === 1 ? "" : "s"} that the model placed outside of speech: left out.`));
  const several = new Set((section.output?.speakers ?? []).map((one) => one.name)).size > 1;
  let speaker = null;
  const spans = [];
  const box = el("div", { class: "transcript", tabindex: "0", role: "group", "aria-label": "Transcript", lang: written ?? language },
    segments.map((segment) => el("p", { dir: "auto" },
      el("button", { type: "button", class: "link", on: { click: () => clock.seek(segment.start) } }, clockTime(segment.start)), " ",
      named(segment), segment.doubtful ? el("span", { class: "badge" }, "doubtful") : null,
      segment.words.map((word) => {
        const span = el("span", { class: "word", on: { click: () => clock.seek(word.start) } }, `${word.text} `);
        spans.push({ start: word.start, end: word.end, span });
        return span;
      }))));
  /** Who says it, where another has spoken before. */
  function named(segment) {
    const name = segment.words[0]?.speaker;
    if (!several || !name || name === speaker) return null;
    speaker = name;
    return el("strong", {}, `${name}: `);
  }

  let now = null;
  clock.on((t, playing) => {
    const next = firstFrom(spans, t + 1e-6, (word) => word.start) - 1;
    const word = spans[next] && t < spans[next].end ? spans[next] : null;
    if (word === now) return;
    now?.span.classList.remove("now");
    word?.span.classList.add("now");
    now = word;
    if (playing && word) {
      const line = word.span.offsetTop - box.offsetTop;
      if (line < box.scrollTop || line > box.scrollTop + box.clientHeight - 30) box.scrollTop = line - 30;
    }
  });
  node.append(box);
  return { node };
}

/** A card on the captions written onto the picture against the voice; empty without any. */
export function makeCaptionAudit(model, clock) {
  const audit = model.section("cross_analyzer_intelligence").output?.caption_audit;
  if (!audit?.captions?.length) return { node: "" };
  const rows = audit.captions.map((one) => el("tr", {},
    el("td", {}, el("button", { type: "button", class: "link", on: { click: () => clock.seek(one.start) } }, clockTime(one.start))),
    el("td", { dir: "auto" }, one.text),
    el("td", {}, one.offset_s == null ? "–" : `${number(one.offset_s)} s`),
    el("td", { dir: "auto" }, differences(one)),
    el("td", {}, number(one.characters_per_s)),
    el("td", {}, one.contrast == null ? "–" : `${number(one.contrast)} : 1`),
    el("td", {}, one.unsafe == null ? "–" : one.unsafe.join(", ") || "none")));
  const heads = ["Time", "Caption", "Delay to speech", "Compared with speech", "Characters/s", "Contrast", "Covered by the app"];
  return { node: el("section", { class: "card", "aria-labelledby": "captions-title" },
    el("h2", { id: "captions-title" }, "Captions compared with speech"),
    el("div", { class: "list", tabindex: "0", role: "group", "aria-label": "Captions compared with speech" },
      el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows)))) };
}

/** Words of a caption that differ from the voice, in words. */
function differences(one) {
  if (one.offset_s == null) return "not a speech caption";
  const parts = [
    one.missing?.length && `missing: ${one.missing.join(" ")}`,
    one.extra?.length && `not spoken: ${one.extra.join(" ")}`,
    ...(one.misheard ?? []).map((word) => `“${word.written}” heard as “${word.heard}”`),
  ].filter(Boolean);
  return parts.join("; ") || "same words";
}
