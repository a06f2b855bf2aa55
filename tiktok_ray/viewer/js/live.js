// The page of the service: send a video, watch it being analyzed, look at results.

import { ask, askJson } from "./api.js";
import { button, clockTime, el, said } from "./dom.js";
import { embedded } from "./embedded.js";
import { mountReport } from "./report.js";
import { makeSame } from "./same.js";
import { themeButton } from "./theme.js";
import { makeWatch } from "./watch.js";

const hints = embedded("hints");
const HITS = 20;
const files = new Map();
let redraw = () => {};
let leave = () => {};

const host = el("div");
const trouble = el("p", { class: "trouble", role: "alert", hidden: true });
const health = el("span", { class: "badge" });
document.getElementById("app").append(
  el("header", { class: "top" }, el("a", { class: "brand", href: "#" }, "tiktok-ray"), health, el("a", { href: "/docs", class: "quiet" }, "API"), themeButton(() => redraw())),
  trouble,
  host,
);

function complain(error) {
  trouble.hidden = !error;
  if (error) trouble.replaceChildren(said("span", error.message));
}

/** Do something that may fail, and say so where it did. */
async function attempt(action) {
  try {
    complain(null);
    return await action();
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
    return undefined;
  }
}

function route() {
  leave();
  leave = redraw = () => {};
  const [, kind, id, at] = /^#\/(job|result)\/([0-9a-f]+)(?:@([\d.]+))?$/.exec(location.hash) ?? [];
  if (kind === "job") attempt(() => watchJob(id));
  else if (kind === "result") attempt(() => showResult(id, Number(at) || 0));
  else attempt(home);
}

async function home() {
  const results = el("div", { class: "cards" });
  const jobs = el("div", { class: "jobs" });
  host.replaceChildren(el("h1", { class: "hidden" }, "tiktok-ray"), intake(), jobs, gallery(results));
  const timer = setInterval(() => attempt(() => listJobs(jobs)), 3000);
  leave = () => clearInterval(timer);
  await Promise.all([listJobs(jobs), listResults(results, ""), showHealth()]);
}

async function showHealth() {
  const facts = await askJson("/health");
  health.textContent = facts.status;
  health.dataset.status = facts.status === "ready" ? "ok" : "partial";
  health.title = (facts.reasons ?? []).join("\n");
}

function intake() {
  const link = el("input", { type: "url", id: "link", placeholder: "https://www.tiktok.com/@name/video/…", autocomplete: "off" });
  const picker = el("input", { type: "file", id: "file", accept: "video/*,image/gif", class: "hidden-input", on: { change: () => picker.files[0] && send(picker.files[0]) } });
  const drop = el("label", { for: "file", class: "drop" }, el("strong", {}, "Drop a video here"), el("span", { class: "note" }, "or choose a file"));
  const progress = el("p", { class: "note", role: "status" });
  const over = (on) => (event) => { event.preventDefault(); drop.classList.toggle("over", on); };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
  });

  async function send(file) {
    const form = new FormData();
    form.append("file", file, file.name);
    progress.textContent = `Sending ${file.name} …`;
    const job = await attempt(() => askJson("/analyze", { method: "POST", body: form }));
    progress.textContent = "";
    if (job) begin(job, file);
  }

  async function sendLink(event) {
    event.preventDefault();
    const body = JSON.stringify({ url: link.value.trim() });
    const job = await attempt(() => askJson("/analyze", { method: "POST", body, headers: { "Content-Type": "application/json" } }));
    if (job) begin(job, null);
  }

  return el("section", { class: "intake card", "aria-label": "New video" }, picker, drop,
    el("form", { on: { submit: sendLink } }, el("label", { for: "link" }, "Or paste a link"), el("div", { class: "inline" }, link, el("button", { class: "primary" }, "Analyze"))),
    progress);
}

function begin(job, file) {
  if (file) files.set(job.id, file);
  location.hash = `#/job/${job.id}`;
}

async function listJobs(place) {
  const { jobs } = await askJson("/jobs?limit=20");
  const open = jobs.filter((job) => ["queued", "running"].includes(job.state));
  place.replaceChildren(...(open.length ? [el("section", { class: "card", "aria-label": "In progress" }, el("h2", {}, "In progress"),
    el("ul", { class: "job-list" }, open.map((job) => el("li", {},
      el("a", { href: `#/job/${job.id}`, dir: "auto" }, job.request.upload ?? job.request.url ?? job.id),
      el("span", { class: "badge" }, job.cancelling ? "stopping" : job.state)))))] : []));
}

function gallery(place) {
  const field = el("input", { type: "search", id: "find", placeholder: "Titles, spoken or written words, objects", autocomplete: "off" });
  const meaning = el("input", { type: "checkbox", id: "meaning" });
  const hits = el("ul", { class: "hits", "aria-label": "Matches within videos" });
  const note = el("p", { class: "note", role: "status" });
  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => attempt(async () => {
      await listResults(place, field.value.trim());
      await listHits(hits, note, field, meaning);
    }), 200);
  };
  field.addEventListener("input", soon);
  meaning.addEventListener("change", soon);
  return el("section", { class: "gallery card", "aria-labelledby": "results-title" },
    el("header", { class: "bar" }, el("h2", { id: "results-title" }, "Results"), el("label", { for: "find", class: "hidden" }, "Search results"), field,
      el("label", { for: "meaning", title: "Frames that look like it, and passages that mean it in other words" }, meaning, " Also by meaning")), note, hits, place);
}

/** Passages of all results that contain the words in the field, and shots that look like them; each links to its moment. */
async function listHits(list, note, field, meaning) {
  const text = field.value.trim();
  const asked = new URLSearchParams({ q: text, limit: HITS, ...(meaning.checked ? { meaning: true } : {}) });
  const found = /[\p{L}\p{N}]/u.test(text) ? await askJson(`/search?${asked}`) : { hits: [] };
  if (text !== field.value.trim()) return; // another question was asked meanwhile
  note.textContent = [["Frames", found.alike], ["Passages", found.same_meaning]].filter(([, by]) => by?.reason)
    .map(([what, by]) => `${what} by meaning: ${by.status}: ${by.reason}`).join(" ");
  const passages = found.hits.filter((hit) => hit.kind !== "about").map((hit) => moment(hit, hit.start, hit.snippet, hit.kind));
  const shots = (found.alike?.shots ?? []).map((shot) => moment(shot, shot.at, `looks like it (similarity ${shot.cosine.toFixed(2)})`, "frame"));
  const meant = (found.same_meaning?.passages ?? []).map((one) => moment(one, one.start, one.text, `${one.kind}, by meaning (similarity ${one.cosine.toFixed(2)})`));
  list.replaceChildren(...passages, ...meant, ...shots);
}

function moment({ result, title, video_id }, at, words, kind) {
  return el("li", {},
    el("a", { href: `#/result/${result}@${at ?? 0}` },
      el("span", { class: "at" }, at == null ? "whole" : clockTime(at)),
      said("span", words, { class: "hit" }),
      el("span", { class: "note", dir: "auto" }, `${kind}, ${title || video_id}`)));
}

async function listResults(place, text, before = null) {
  const query = new URLSearchParams({ limit: "24", ...(text ? { q: text } : {}), ...(before ? { before } : {}) });
  const { results, next } = await askJson(`/results?${query}`);
  if (!before) place.replaceChildren();
  place.querySelector(".more")?.remove();
  place.append(...results.map((result) => resultCard(result, place)));
  if (!results.length && !before) place.append(el("p", { class: "note" }, text ? "Nothing found." : "No results yet: add a video."));
  if (next) place.append(button("More", () => attempt(() => listResults(place, text, next)), { class: "more" }));
}

function resultCard(result, place) {
  const picture = el("div", { class: "poster" });
  if (result.has_poster) picture.append(el("img", { src: `/results/${result.id}/poster`, alt: "", loading: "lazy" }));
  const counts = Object.values(result.statuses ?? {});
  const measured = counts.filter((status) => status === "ok" || status === "partial").length;
  const failed = counts.filter((status) => status === "failed" || status === "timed_out").length;
  const name = result.title || result.source;
  const card = el("article", { class: "result" },
    el("a", { href: `#/result/${result.id}` }, picture, said("strong", name)),
    el("p", { class: "note", dir: "auto" }, [result.uploader, clockTime(result.duration_s), `${measured} of ${counts.filter((status) => status !== "skipped").length} measured`, failed && `${failed} failed`].filter(Boolean).join(" · ")),
    button("Delete", () => attempt(async () => {
      if (!confirm(`Delete the result of ${name}?`)) return;
      await ask(`/results/${result.id}`, { method: "DELETE" });
      card.remove();
    }), { class: "quiet", "aria-label": `Delete ${name}` }));
  return card;
}

async function watchJob(id) {
  const job = await askJson(`/jobs/${id}`);
  const stop = new AbortController();
  leave = () => stop.abort();
  const file = files.get(id);
  const watch = makeWatch(job, file ?? null, hints, {
    cancel: () => attempt(() => ask(`/jobs/${id}`, { method: "DELETE" })),
  });
  host.replaceChildren(watch.node);
  redraw = watch.redraw;
  const end = await watch.run(stop.signal);
  if (end?.state === "done" && !stop.signal.aborted) {
    if (file) files.set(end.result, file);
    location.replace(`#/result/${end.result}`);
  }
}

async function showResult(id, at = 0) {
  const report = await askJson(`/results/${id}`);
  const file = files.get(id);
  const here = await kept(id, report.video.sha256);
  const video = file ? URL.createObjectURL(file) : here?.has_video ? `/results/${id}/video` : null;
  const place = el("div");
  host.replaceChildren(el("p", { class: "crumbs" }, el("a", { href: "#" }, "← All results"), " · ", el("a", { href: `/results/${id}.html?embed=true`, download: `${id}.html` }, "Save as one file")), place);
  const away = el("p", {}, captionLinks(id, report), exportLinks(id));
  const poster = here?.has_poster ? `/results/${id}/poster` : null;
  redraw = mountReport(place, report, { hints, video, poster, away, at, same: here?.has_video ? makeSame(id).node : null, subtitles: subtitles(id, report) });
  document.title = `${report.video.title || report.video.id} · tiktok-ray`;
}

/** What caption files can be made of a report: of what is said, of what is written on the picture. */
function captioned(report) {
  const output = (name) => report.analyzers[name]?.output;
  return {
    said: output("speech_transcription")?.segments?.length ? output("speech_transcription") : null,
    written: output("text_overlay")?.overlays?.some((one) => one.kind === "caption") ?? false,
  };
}

/** Subtitle tracks for the player. */
function subtitles(id, report) {
  const { said, written } = captioned(report);
  const tracks = [];
  if (said) tracks.push({ title: "Speech", url: `/results/${id}.vtt`, language: said.text_language ?? said.language });
  if (written) tracks.push({ title: "On-screen text", url: `/results/${id}.vtt?source=text` });
  return tracks;
}

/** Links to the caption files of a report. */
function captionLinks(id, report) {
  const { said, written } = captioned(report);
  const files = said ? [["SRT", "srt"], ["WebVTT", "vtt"], ["Text", "txt"], ["Words", "words.json"]] : [];
  if (written) files.push(["On-screen captions", "vtt?source=text"]);
  return files.flatMap(([title, end], k) => [k ? ", " : "Captions: ", el("a", { href: `/results/${id}.${end}`, download: `${id}.${end.split("?")[0]}` }, title)]);
}

/** Formats of other tools that the service tells a report in. */
const EXPORTS = [
  ["OpenTimelineIO", "otio"], ["EDL", "edl"], ["FCPXML", "fcpxml"], ["Chapters", "chapters"],
  ["CSV", "csv"], ["JSON Lines", "jsonl"], ["COCO", "coco"], ["CVAT", "cvat"],
  ["Label Studio", "label-studio"], ["FiftyOne", "fiftyone"], ["Text", "text"],
];

function exportLinks(id) {
  return [el("br"), "For other tools: ", EXPORTS.flatMap(([title, to], k) => [k ? ", " : "", el("a", { href: `/results/${id}/export?to=${to}`, download: "" }, title)])];
}

/** What the service has of a result besides the report: `has_video`, `has_poster`. */
async function kept(id, sha256) {
  const { results } = await askJson(`/results?${new URLSearchParams({ sha256, limit: "200" })}`);
  return results.find((result) => result.id === id);
}

window.addEventListener("hashchange", route);
route();
