// What is said, sentence by sentence; the words follow the voice.

import { clockTime, el, said } from "./dom.js";
import { firstFrom } from "./series.js";
import { reasonOf } from "./status.js";

/** A card with the transcript, or with why there is none. */
export function makeTranscript(model, clock) {
  const section = model.section("speech_transcription");
  const segments = section.output?.segments ?? [];
  const language = section.output?.language;
  const node = el("section", { class: "card", "aria-labelledby": "said-title" },
    el("h2", { id: "said-title" }, "Transcript", language ? el("span", { class: "badge" }, language) : null));
  const reason = reasonOf(section);
  if (!segments.length) {
    node.append(said("p", reason || (section.status === "ok" ? "Nobody speaks." : section.status), { class: "note" }));
    return { node };
  }
  if (reason) node.append(said("p", reason, { class: "note" }));
  const spans = [];
  const box = el("div", { class: "transcript", tabindex: "0", role: "group", "aria-label": "Transcript", lang: language },
    segments.map((segment) => el("p", { dir: "auto" },
      el("button", { type: "button", class: "link", on: { click: () => clock.seek(segment.start) } }, clockTime(segment.start)), " ",
      segment.words.map((word) => {
        const span = el("span", { class: "word", on: { click: () => clock.seek(word.start) } }, `${word.text} `);
        spans.push({ start: word.start, end: word.end, span });
        return span;
      }))));
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
