// A whole report: summary, video and plots, timeline, run.

import { button, el } from "./dom.js";
import { makeClock } from "./clock.js";
import { makePlots } from "./plots.js";
import { makeRun } from "./run.js";
import { makeSearch } from "./search.js";
import { makeStage } from "./stage.js";
import { makeSummary } from "./summary.js";
import { makeTimeline } from "./timeline.js";
import { makeTranscript } from "./transcript.js";
import { modelOf } from "./model.js";

/** Fills `host` with the report. Returns `redraw`, for when colours or sizes have changed. */
export function mountReport(host, report, { hints = {}, video = null } = {}) {
  const model = modelOf(report, hints);
  const clock = makeClock(model.duration);
  model.now = () => clock.time;
  const timeline = makeTimeline(model, clock);
  const stage = makeStage(model, clock, video);
  const plots = makePlots(model, clock);
  host.replaceChildren(
    makeSummary(model, timeline.show),
    el("div", { class: "watch" },
      el("div", { class: "watch-left" }, stage.node),
      el("div", { class: "watch-right" }, makeSearch(model, timeline.show).node, makeTranscript(model, clock), plots.node)),
    timeline.node,
    makeRun(model).node,
    el("p", {}, button("Save the JSON", () => save(report), { class: "quiet" })),
  );
  return () => {
    timeline.redraw();
    stage.redraw();
    plots.redraw();
  };
}

function save(report) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(report, null, 1)], { type: "application/json" }));
  el("a", { href: url, download: `${report.video.id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
