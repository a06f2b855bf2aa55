// One job on its way: lanes that fill as analyzers end.

import { ENDED, follow } from "./api.js";
import { button, el, number, said, words } from "./dom.js";
import { makeClock } from "./clock.js";
import { LANES } from "./lanes.js";
import { makeStage } from "./stage.js";
import { makeTimeline } from "./timeline.js";

/** `file`: the video, if it was sent from this page. `run(signal)` follows the job to its end. */
export function makeWatch(job, file, hints, { cancel }) {
  const sections = new Map(LANES.map((lane) => [lane.analyzer, { status: "queued" }]));
  const events = new Map();
  const found = new Map();
  const url = file ? URL.createObjectURL(file) : null;
  const model = {
    hints,
    duration: 1,
    video: { width: 9, height: 16, fps: 30, start_offset_s: 0, duration_s: 1, video_codec: "unknown" },
    section: (name) => sections.get(name) ?? { status: "queued" },
    events: (name) => events.get(name) ?? [],
    found: (name) => found.get(name),
    leftOut: [],
  };
  const state = el("span", { class: "badge", role: "status" });
  const phase = said("p", "", { class: "note", role: "status" });
  const bar = el("progress", { max: String(LANES.length), value: "0", "aria-label": "Analyzers finished" });
  const stop = button("Cancel", async () => {
    stop.disabled = true;
    stop.textContent = "Stopping …";
    await cancel();
  });
  const place = el("div", { class: "watch" });
  const node = el("section", { class: "live" },
    el("header", { class: "bar" }, said("h1", job.request.upload ?? job.request.url ?? job.id), state, stop),
    bar, phase, place);
  let timeline = null;

  /** The lanes, once their length in time is known or as soon as something wants to be shown. */
  function build() {
    const clock = makeClock(model.duration);
    timeline = makeTimeline(model, clock);
    const stage = url ? makeStage(model, clock, url, { bare: true, onvideo: (shown) => timeline.film(shown) }) : null;
    place.classList.toggle("alone", !stage);
    place.replaceChildren(...[stage && el("div", { class: "watch-left" }, stage.node), el("div", { class: "watch-right" }, timeline.node)].filter(Boolean));
  }

  function measure() {
    return new Promise((resolve) => {
      if (!url) { resolve(); return; }
      const probe = el("video", { src: url, preload: "metadata" });
      probe.addEventListener("loadedmetadata", () => {
        if (Number.isFinite(probe.duration)) model.duration = probe.duration;
        Object.assign(model.video, { width: probe.videoWidth || 9, height: probe.videoHeight || 16, duration_s: model.duration });
        resolve();
      });
      probe.addEventListener("error", () => resolve());
    });
  }

  function setState(next, problem) {
    state.textContent = next;
    state.dataset.status = { done: "ok", failed: "failed", quarantined: "failed" }[next] ?? "";
    stop.hidden = ENDED.includes(next);
    if (problem) phase.textContent = [problem.title, problem.detail, problem.advice].filter(Boolean).join(" – ");
    else if (next === "cancelled") phase.textContent = "Cancelled.";
  }

  function onPhase(data) {
    const size = data.bytes ? ` ${number(data.bytes / 1e6)} MB${data.of ? ` of ${number(data.of / 1e6)}` : ""}` : "";
    phase.textContent = `${words(data.name)}: ${data.state}${size}${data.state === "done" && data.seconds ? `, ${number(data.seconds)} s` : ""}`;
  }

  function onAnalyzer(data) {
    const name = data.name;
    sections.set(name, { status: data.state, reason: data.reason, missing: data.missing, seconds: data.seconds });
    if (data.found) found.set(name, data.found);
    if (data.events) events.set(name, data.events);
    const longest = (data.events ?? []).reduce((most, event) => Math.max(most, event.end), 0);
    if (longest > model.duration) {
      model.duration = longest;
      build();
    }
    if (LANES.some((lane) => lane.analyzer === name)) timeline.refresh(name);
    bar.value = [...sections.values()].filter((section) => !["queued", "loading", "waiting", "running"].includes(section.status)).length;
  }

  async function run(signal) {
    setState(job.state, job.problem);
    await measure();
    build();
    let last = job;
    for await (const { kind, data } of follow(`/jobs/${job.id}/events`, signal)) {
      if (kind === "job") {
        last = { ...last, ...data };
        setState(data.state, data.problem);
      } else if (kind === "phase") onPhase(data);
      else if (kind === "analyzer") onAnalyzer(data);
    }
    return last;
  }

  return { node, run, redraw: () => timeline?.redraw() };
}
