// A whole report: summary, video and plots, timeline, run.

import { button, el, said } from "./dom.js";
import { makeClock } from "./clock.js";
import { makePlots } from "./plots.js";
import { makeRun } from "./run.js";
import { makeSearch } from "./search.js";
import { makeStage } from "./stage.js";
import { makeHeading, makeSummary } from "./summary.js";
import { makeTimeline } from "./timeline.js";
import { makeCaptionAudit, makeTranscript } from "./transcript.js";
import { modelOf } from "./model.js";

/** Fills `host` with the report, at `at` seconds. Returns `redraw`, for new colours or sizes. */
export function mountReport(host, report, { hints = {}, video = null, poster = null, away = null, same = null, at = 0, subtitles = [] } = {}) {
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
  const filled = (url) => timeline.film?.(url);
  host.replaceChildren(
    part("The heading", () => makeHeading(model)).node,
    el("div", { class: "watch" },
      el("div", { class: "watch-left" }, part("The video", () => makeStage(model, clock, video, { poster, onvideo: filled, subtitles })).node),
      el("div", { class: "watch-right" },
        timeline.node,
        part("The summary", () => makeSummary(model, show)).node,
        part("The search", () => makeSearch(model, show)).node,
        part("The transcript", () => makeTranscript(model, clock)).node,
        part("The captions", () => makeCaptionAudit(model, clock)).node,
        part("The plots", () => makePlots(model, clock)).node,
        part("The files", () => makeAway(report, away)).node,
        same,
        part("The run", () => makeRun(model)).node)),
  );
  if (at) clock.seek(at);
  const print = () => {
    for (const folded of host.querySelectorAll("details")) folded.open = true;
    for (let more = host.querySelector("button.more"); more; more = host.querySelector("button.more")) more.click();
    parts.forEach((made) => made.print?.());
  };
  window.addEventListener("beforeprint", print);
  window.addEventListener("afterprint", () => parts.forEach((made) => made.redraw?.()));
  return () => parts.forEach((made) => made.redraw?.());
}

/** What can be taken away. `away`: links of the service; without it, what the page makes itself. */
function makeAway(report, away) {
  const { id } = report.video;
  const segments = report.analyzers.speech_transcription?.output?.segments ?? [];
  const here = [
    button("Report (JSON)", () => save(`${id}.json`, JSON.stringify(report, null, 1), "application/json")),
    segments.length ? button("Captions (WebVTT)", () => save(`${id}.vtt`, vtt(segments), "text/vtt")) : null,
  ];
  const more = away ?? el("p", { class: "note" }, "Captions and files for other tools: ", el("code", {}, "tiktok-ray captions REPORT"), ", ", el("code", {}, "tiktok-ray export REPORT"));
  return { node: el("section", { class: "card away", "aria-labelledby": "away-title" }, el("h2", { id: "away-title" }, "Export"), el("div", { class: "chips" }, here), more) };
}

function vtt(segments) {
  const time = (seconds) => new Date(Math.max(0, seconds) * 1000).toISOString().slice(11, 23);
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replace(/\s+/g, " ").trim();
  return ["WEBVTT", ...segments.map((one) => `${time(one.start)} --> ${time(one.end)}\n${plain(one.text)}`)].join("\n\n") + "\n";
}

function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
