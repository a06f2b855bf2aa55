// What each analyzer puts into its lane: bars, marks, a curve, a strip of colours.

import { number, percent } from "./dom.js";
import { embedded } from "./embedded.js";

const ROWS_MAX = 8;

/** Lanes from the picture's frame to what it all means. `hue` is in degrees. */
export const LANES = [
  { analyzer: "cut_analysis", title: "Shots and cuts", hue: 215, make: shots },
  { analyzer: "scene_segmentation", title: "Scenes", hue: 250 },
  { analyzer: "camera_analysis", title: "Camera", hue: 190 },
  { analyzer: "qwen2_vl_temporal", title: "Descriptions", hue: 275 },
  { analyzer: "text_overlay", title: "Text", hue: 45 },
  { analyzer: "speech_transcription", title: "Speech", hue: 145, make: speech },
  { analyzer: "speech_flow", title: "Delivery", hue: 120, make: delivery },
  { analyzer: "speech_emotion", title: "Emotion", hue: 330, make: emotion },
  { analyzer: "object_detection", title: "Objects and people", hue: 25 },
  { analyzer: "body_pose", title: "Poses and gestures", hue: 95, make: poses },
  { analyzer: "age_estimation", title: "Faces", hue: 350 },
  { analyzer: "eye_tracking", title: "Gaze and blinks", hue: 175, make: eyes },
  { analyzer: "background_segmentation", title: "Background", hue: 80, make: background },
  { analyzer: "audio_environment", title: "Sounds", hue: 60 },
  { analyzer: "audio_analysis", title: "Loudness and beats", hue: 205, make: loudness },
  { analyzer: "color_analysis", title: "Colour", hue: 300, make: colours },
  { analyzer: "content_quality", title: "Image quality", hue: 160, make: quality },
  { analyzer: "temporal_flow", title: "Key moments and pace", hue: 15, make: flow },
  { analyzer: "cross_analyzer_intelligence", title: "Insights", hue: 235, make: insights },
];
// Those of analyzers that other packages bring, drawn from their events.
for (const lane of embedded("lanes") ?? []) if (!LANES.some((known) => known.analyzer === lane.analyzer)) LANES.push(lane);

/** `{rows, marks, curve, strip}` of a lane; `events` are the analyzer's entries of the timeline. */
export function contents(lane, output, events, leftOut = []) {
  const given = { output: output ?? {}, events, leftOut, bars: [], marks: [] };
  for (const event of events) (event.end > event.start ? given.bars : given.marks).push(event);
  const made = output && lane.make ? lane.make(given) : {};
  return {
    rows: (made.layers ?? [made.bars ?? given.bars]).flatMap(packed),
    marks: made.marks ?? given.marks,
    curve: made.curve ?? null,
    strip: made.strip ?? null,
    shade: made.shade ?? [],
  };
}

/** Bars in as few rows as hold them without overlap, at most eight; each row by start. */
export function packed(bars) {
  const rows = [];
  for (const bar of [...bars].sort((a, b) => a.start - b.start || a.end - b.end)) {
    let row = rows.find((candidate) => candidate.end <= bar.start + 1e-6);
    if (!row && rows.length < ROWS_MAX) rows.push((row = { bars: [], end: 0, longest: 0 }));
    row ??= rows[ROWS_MAX - 1];
    row.bars.push(bar);
    row.end = Math.max(row.end, bar.end);
    row.longest = Math.max(row.longest, bar.end - bar.start);
  }
  return rows;
}

function mark(t, label, more = {}) {
  return { start: t, end: t, label, ...more };
}

function shots({ bars, marks, output }) {
  const shown = bars.filter((bar) => bar.kind === "shot");
  const gradual = bars.filter((bar) => bar.kind === "transition");
  const strengths = new Map((output.transitions ?? []).map((cut) => [cut.new_shot, cut.strength]));
  const cuts = marks.map((cut) => ({
    ...cut,
    label: cut.kind === "cut" ? `${cut.label} cut` : cut.label,
    about: strengths.has(cut.start) ? [`strength ${number(strengths.get(cut.start))}`] : [],
  }));
  return { bars: [...shown, ...gradual], marks: cuts };
}

function speech({ bars, output }) {
  const spoken = (output.segments ?? []).flatMap((segment) => segment.words);
  if (!spoken.length) return { bars };
  const each = spoken.map((word) => ({ start: word.start, end: word.end, label: word.text, confidence: word.probability }));
  return { layers: [bars, each], shade: output.speech ?? [] };
}

function delivery({ bars, marks, output }) {
  const fillers = (output.fillers ?? []).map((f) => ({ ...f, label: f.text, about: [`filler: ${f.kind}`] }));
  const stressed = (output.emphasis ?? []).map((word) => ({
    start: word.start,
    end: word.end,
    label: word.word,
    about: [`emphasised: ${number(word.score)} robust z`],
  }));
  const known = new Set(bars.map((bar) => bar.start));
  const rates = output.rates;
  return {
    bars: [...bars, ...[...fillers, ...stressed].filter((bar) => !known.has(bar.start))],
    marks,
    curve: rates && { times: rates.times, values: rates.speaking, unit: `${output.counted}/min`, name: "speaking rate", low: 0 },
  };
}

function emotion({ bars, output }) {
  const stretches = (output.segments ?? []).map((segment) => ({
    start: segment.start,
    end: segment.end,
    label: segment.emotion?.dominant ?? (segment.prosody?.pitch_hz ? `${number(segment.prosody.pitch_hz)} Hz` : "unvoiced"),
    confidence: segment.emotion?.probability,
    about: [
      segment.prosody?.pitch_hz && `pitch ${number(segment.prosody.pitch_hz)} Hz`,
      segment.prosody?.level_db != null && `level ${number(segment.prosody.level_db)} dBFS`,
      ...distribution(segment.emotion?.distribution),
    ].filter(Boolean),
  }));
  const curve = output.curve;
  return {
    bars: stretches.length ? stretches : bars,
    curve: curve && { times: curve.times, values: curve.pitch_hz, unit: "Hz", name: "pitch", gap: 0.3 },
  };
}

function distribution(shares) {
  return Object.entries(shares ?? {})
    .sort((a, b) => b[1] - a[1])
    .slice(0, 4)
    .map(([name, share]) => `${name} ${percent(share)}`);
}

function poses({ marks, output, leftOut }) {
  const persons = (output.persons ?? []).filter((person) => !leftOut.includes(person.track));
  const bars = persons.map((person) => ({
    start: person.start,
    end: person.end,
    label: person.posture === "unknown" ? `body ${person.track}` : `body ${person.track}, ${person.posture}`,
    confidence: person.confidence,
    about: [person.activity != null && `activity ${number(person.activity)} torso lengths/s`].filter(Boolean),
  }));
  const gestures = persons.flatMap((person) =>
    person.gestures.map((g) => ({ start: g.start, end: g.end, label: g.gesture, confidence: person.confidence, about: [`body ${person.track}, ${g.side}`], strong: true })),
  );
  return { layers: [bars, gestures], marks };
}

function eyes({ bars, output }) {
  const tracks = output.tracks ?? [];
  const into = tracks.flatMap((track) =>
    track.into_camera.map((span) => ({ start: span.start, end: span.end, label: `face ${track.track} into the camera` })),
  );
  const blinks = tracks.flatMap((track) =>
    track.blinks.map((blink) => ({ start: blink.time ?? blink.start, end: blink.time ?? blink.start, label: `blink, face ${track.track}` })),
  );
  return { bars: [...bars.filter((bar) => bar.kind === "face"), ...into], marks: blinks.sort((a, b) => a.start - b.start) };
}

function background({ bars, marks, output }) {
  const places = (output.environments ?? []).map((span) => ({
    start: span.start,
    end: span.end,
    label: span.environment,
    about: [`${percent(span.evidence)} of the background: ${span.rests_on.join(", ")}`],
  }));
  const changes = (output.changes ?? []).map((change) => mark(change.time, "background changes", { about: [`distance ${number(change.distance)}`] }));
  const shares = output.person_shares;
  return {
    bars: places.length ? places : bars,
    marks: changes.length ? changes : marks,
    curve: shares && { times: output.times, values: shares, name: "share of people", unit: "", low: 0, high: 1 },
  };
}

function loudness({ marks, output }) {
  const beats = (output.beats ?? []).map((t) => mark(t, "beat", { small: true }));
  const curve = output.loudness;
  return {
    bars: [],
    marks: beats.length ? beats : marks.filter((event) => event.kind === "beat"),
    curve: curve && { times: curve.times, values: curve.momentary, unit: "LUFS", name: "momentary loudness", low: -60, high: 0, fill: true },
    shade: output.silences ?? [],
  };
}

function colours({ marks, output }) {
  const strip = output.strip;
  return { bars: [], marks, strip: strip && { times: strip.times, colours: strip.dominant } };
}

function quality({ output }) {
  const technical = output.technical;
  const best = (output.aesthetic ?? []).map((pair) => mark(pair.best_s, `best frame: ${pair.pair} ${number(pair.score)}`));
  return {
    bars: [],
    marks: best.sort((a, b) => a.start - b.start),
    curve: technical && { times: technical.times, values: technical.sharpness_curve, unit: "", name: "sharpness", low: 0, high: 1 },
  };
}

function flow({ bars, marks, output }) {
  const pacing = output.pacing;
  return { bars, marks, curve: pacing && { times: pacing.times, values: pacing.pace, unit: "", name: "pace", low: 0, high: 1 } };
}

function insights({ bars, marks, output }) {
  const cited = findings(output).flatMap((finding) =>
    finding.evidence.map((piece) => ({ start: piece.start, end: piece.end, label: finding.text, about: [`${piece.analyzer}: ${piece.what}`] })),
  );
  const shown = bars.length + marks.length ? [...bars, ...marks] : cited;
  return { bars: shown.filter((b) => b.end > b.start), marks: shown.filter((b) => b.end <= b.start) };
}

/** Insights of `cross_analyzer_intelligence`, best first: `{text, about, evidence}`. */
export function findings(output) {
  return (output?.insights ?? []).map((insight) => ({
    text: insight.text,
    about: insight.about,
    evidence: insight.evidence ?? [],
  }));
}

/** The value of a curve at `t`, in words: that of the sample there, or that there is none. */
export function curveText(curve, t, nearest) {
  const value = curve.values[nearest];
  curve.step ??= stepOf(curve.times);
  if (value === null || value === undefined || Math.abs(curve.times[nearest] - t) > curve.step) return `${curve.name}: no value here`;
  return `${curve.name} ${number(value)}${curve.unit ? ` ${curve.unit}` : ""}`;
}

/** The usual time between two samples. */
function stepOf(times) {
  const gaps = times.slice(1).map((time, k) => time - times[k]).sort((a, b) => a - b);
  return gaps.length ? gaps[gaps.length >> 1] : Infinity;
}
