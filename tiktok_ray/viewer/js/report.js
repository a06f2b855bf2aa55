// A whole report: summary, video and plots, timeline, run.

import { button, el, said } from "./dom.js";
import { makeClock } from "./clock.js";
import { makePlots } from "./plots.js";
import { makeRun } from "./run.js";
import { makeSearch } from "./search.js";
import { makeStage } from "./stage.js";
import { makeSummary } from "./summary.js";
import { makeTimeline } from "./timeline.js";
import { makeCaptionAudit, makeTranscript } from "./transcript.js";
import { modelOf } from "./model.js";

/** Fills `host` with the report, at `at` seconds. Returns `redraw`, for new colours or sizes. */
export function mountReport(host, report, { hints = {}, video = null, at = 0 } = {}) {
  const model = modelOf(report, hints);
  const parts = [];
  const clock = makeClock(model.duration);
  model.now = () => clock.time;

  /** A part of the page; where a report of another version breaks it, the others stand. */
  function part(title, make) {
    try {
      const made = make();
      parts.push(made);
      return made;
    } catch (error) {
      console.error(error);
      return { node: said("p", `${title} cannot be shown: ${error}`, { class: "trouble" }) };
    }
  }

  const timeline = part("The timeline", () => makeTimeline(model, clock));
  const show = timeline.show ?? ((name, start) => clock.seek(start));
  host.replaceChildren(
    part("The summary", () => makeSummary(model, show)).node,
    el("div", { class: "watch" },
      el("div", { class: "watch-left" }, part("The video", () => makeStage(model, clock, video)).node),
      el("div", { class: "watch-right" },
        part("The search", () => makeSearch(model, show)).node,
        part("The transcript", () => makeTranscript(model, clock)).node,
        part("The plots", () => makePlots(model, clock)).node)),
    timeline.node,
    part("The captions", () => makeCaptionAudit(model, clock)).node,
    part("The run", () => makeRun(model)).node,
    el("p", {}, button("Save the JSON", () => save(report), { class: "quiet" })),
  );
  if (at) clock.seek(at);
  return () => parts.forEach((made) => made.redraw?.());
}

function save(report) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(report, null, 1)], { type: "application/json" }));
  el("a", { href: url, download: `${report.video.id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
