// What the video is and what was found, above everything else.

import { button, clockTime, el, number, percent, said, words } from "./dom.js";
import { findings, LANES } from "./lanes.js";
import { reasonOf, STATUSES } from "./status.js";

const INSIGHTS = 3;
const MOMENTS = 4;
const TOPICS = 4;
const EVIDENCE = 4;
const TITLES = Object.fromEntries(LANES.map((lane) => [lane.analyzer, lane.title]));

/** What the video is called, its facts, and how the analyzers ended: the top of the page. */
export function makeHeading(model) {
  const { video } = model;
  const told = model.section("qwen2_vl_temporal").output;
  const node = el("header", { class: "heading" });
  node.append(said("h1", video.title || told?.title || nameOf(video)));
  node.append(el("p", { class: "note" }, facts(video).flatMap((fact, k) => (k ? [" · ", fact] : [fact]))));
  node.append(statusLine(model));
  return { node };
}

/** `show(analyzer, start, end)` leads to evidence. */
export function makeSummary(model, show) {
  const told = model.section("qwen2_vl_temporal").output;
  const node = el("section", { class: "summary", "aria-label": "Summary" });
  if (told?.summary) node.append(said("p", told.summary, { class: "lead" }));
  const cross = model.section("cross_analyzer_intelligence");
  const flow = model.section("temporal_flow");
  const evident = (moment) => insight({ text: `${clockTime(moment.at ?? moment.start)} · ${moment.what}`, evidence: moment.evidence }, show);
  const moments = [...(flow.output?.moments ?? [])].sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
  node.append(el("div", { class: "columns" },
    el("div", { class: "stack" }, statements(model, show) ?? found(model, show), tags(cross.output, told)),
    el("div", { class: "stack" },
      listed("Key moments, strongest first", moments, MOMENTS, evident, flow),
      listed("Insights", findings(cross.output), INSIGHTS, (finding) => insight(finding, show), cross))));
  return { node };
}

/** What a video without a title is called: its file, or its identifier. */
function nameOf(video) {
  return isWeb(video) ? video.id : video.source.split(/[\\/]/).at(-1) || video.id;
}

function isWeb(video) {
  return /^https?:\/\//.test(video.source);
}

function facts(video) {
  const source = isWeb(video)
    ? el("a", { href: video.source, rel: "noreferrer noopener", target: "_blank", dir: "ltr" }, video.source)
    : said("span", video.source, { class: "path" });
  const sound = video.has_audio ? `${video.audio_codec ?? "sound"}, ${video.audio_channels === 1 ? "mono" : `${video.audio_channels} channels`}` : (video.streams ?? []).some((one) => one.kind === "audio") ? "sound that cannot be used" : "no sound";
  const damage = [video.damaged_packets && `${video.damaged_packets} damaged packets`, video.truncated && "truncated file"].filter(Boolean);
  return [
    video.uploader && said("span", video.uploader),
    clockTime(video.duration_s),
    `${video.width} × ${video.height}`,
    `${number(video.fps)} fps`,
    video.video_codec,
    sound,
    ...damage,
    source,
  ].filter(Boolean);
}

function statusLine(model) {
  const counts = STATUSES.map((status) => [status, model.names.filter((name) => model.section(name).status === status).length]);
  return el("ul", { class: "statuses", "aria-label": "Analyzers by status" },
    counts.filter(([, count]) => count).map(([status, count]) =>
      el("li", { class: "badge", "data-status": status }, `${count} ${words(status)}`)));
}

function listed(title, entries, most, draw, section) {
  const list = el("ol", { class: "findings" }, entries.slice(0, most).map(draw));
  const rest = entries.slice(most);
  const more = rest.length
    ? button(`${rest.length} more`, () => { list.append(...rest.map(draw)); more.remove(); }, { class: "quiet more" })
    : null;
  const reason = entries.length ? "" : reasonOf(section) || (section.status === "ok" ? "None." : words(section.status));
  return el("div", { class: "card" }, el("h2", {}, title), reason ? said("p", reason, { class: "note" }) : list, more);
}

function insight(finding, show) {
  const item = el("li", {}, said("p", finding.text));
  const pieces = finding.evidence ?? [];
  const chip = (piece) =>
    el("button", { type: "button", class: "chip", title: piece.what, on: { click: () => show(piece.analyzer, piece.start, piece.end) } },
      TITLES[piece.analyzer] ?? words(piece.analyzer), el("span", { class: "at" }, clockTime(piece.start)));
  const chips = el("div", { class: "chips" }, pieces.slice(0, EVIDENCE).map(chip));
  if (pieces.length > EVIDENCE) {
    const more = button(`+${pieces.length - EVIDENCE}`, () => { more.replaceWith(...pieces.slice(EVIDENCE).map(chip)); }, { class: "chip", "aria-label": "More evidence" });
    chips.append(more);
  }
  item.append(chips);
  return item;
}

/** Sentences by topic, each with the way to what it rests on; null in reports without any. */
function statements(model, show) {
  const made = model.report.summary?.statements ?? [];
  if (!made.length) return null;
  const topics = new Map();
  for (const statement of made) topics.set(statement.about, [...(topics.get(statement.about) ?? []), statement]);
  const rows = [...topics].map(([about, told]) =>
    el("div", {}, el("dt", {}, about), el("dd", {}, told.map((statement) => sentence(statement, show)))));
  const left = Object.entries(model.report.summary?.topics_not_measured ?? {});
  const list = el("dl", { class: "topics" }, rows.slice(0, TOPICS));
  const more = rows.length > TOPICS
    ? button(`${rows.length - TOPICS} more topic${rows.length - TOPICS === 1 ? "" : "s"}`, () => { list.append(...rows.slice(TOPICS)); more.remove(); }, { class: "quiet more" })
    : null;
  return el("div", { class: "card" }, el("h2", {}, "Summary"), list, more,
    left.length ? el("details", {}, el("summary", {}, `${left.length} topic${left.length === 1 ? "" : "s"} not measured`),
      el("dl", { class: "topics" }, left.map(([about, why]) => el("div", {}, el("dt", {}, about), said("dd", why, { class: "note" }))))) : null);
}

function sentence(statement, show) {
  const sources = (statement.from ?? []).filter((source) => TITLES[source.analyzer]);
  const way = sources.slice(0, 1).map((source) =>
    button("↗", () => show(source.analyzer, source.start, source.end),
      { class: "way", title: sources.map((s) => `${TITLES[s.analyzer]} ${clockTime(s.start)}`).join("\n"),
        "aria-label": `Evidence: ${TITLES[source.analyzer]} at ${clockTime(source.start)}` }));
  return el("span", { class: "sentence" }, said("span", statement.text), way, " ");
}

function found(model, show) {
  const rows = LANES.filter((lane) => model.found(lane.analyzer)).map((lane) =>
    el("div", {}, el("dt", {}, button(lane.title, () => show(lane.analyzer, model.now(), model.now()), { class: "link" })),
      said("dd", model.found(lane.analyzer))));
  return el("div", { class: "card" }, el("h2", {}, "Found"), rows.length ? el("dl", { class: "found-list" }, rows) : el("p", { class: "note" }, "Nothing was measured."));
}

function tags(findings, told) {
  const computed = (findings?.tags ?? []).map((tag) => el("li", { class: "tag", title: `${tag.rule}: ${number(tag.value)}`, dir: "auto" }, tag.confidence ? `${tag.tag} (${tag.confidence.toFixed(2)})` : tag.tag));
  const described = (told?.tags ?? []).map((tag) => el("li", { class: "tag model", title: "by the describer model", dir: "auto" }, tag));
  const all = [...computed, ...described];
  return all.length ? el("div", { class: "card" }, el("h2", {}, "Tags"), el("ul", { class: "tags" }, all)) : null;
}

export function shareBar(label, share, about, tint) {
  return el("div", { class: "share", title: about },
    said("span", label, { class: "share-label" }),
    el("span", { class: "share-bar" }, el("span", { style: { width: `${Math.max(0.5, 100 * Math.min(1, share))}%`, ...(tint ? { background: tint } : {}) } })),
    el("span", { class: "share-value" }, percent(share)));
}
