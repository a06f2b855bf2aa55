// What is drawn over the picture: boxes, skeletons, gaze, texts. Coordinates are shares of the picture.

import { sampled } from "./series.js";

/** COCO's 17 keypoints, as the bones between them. */
const BONES = [
  [0, 1], [0, 2], [1, 3], [2, 4], [5, 6], [5, 7], [7, 9], [6, 8], [8, 10],
  [5, 11], [6, 12], [11, 12], [11, 13], [13, 15], [12, 14], [14, 16],
];
const SEEN = 0.5;
const COLOURS = { person: "#4cc2ff", object: "#ffb454", face: "#ff7eb6", text: "#f4e04d", pose: "#7ee787", gaze: "#ffffff" };

/** The switches, in order: `{id, title, analyzer, draw(context, output, t, place, sections)}`. */
export const OVERLAYS = [
  { id: "persons", title: "Persons", analyzer: "object_detection", on: true, draw: (...a) => objects(true, ...a) },
  { id: "objects", title: "Objects", analyzer: "object_detection", on: true, draw: (...a) => objects(false, ...a) },
  { id: "skeletons", title: "Skeletons", analyzer: "body_pose", on: true, draw: skeletons },
  { id: "faces", title: "Faces", analyzer: "age_estimation", on: true, draw: faces },
  { id: "gaze", title: "Gaze", analyzer: "eye_tracking", on: true, draw: gaze },
  { id: "texts", title: "Text", analyzer: "text_overlay", on: false, draw: texts },
];

/** `leftOut`: tracks of bodies that another analyzer denies. `place`: `{width, height}` of the picture on the canvas, in pixels; its corner is at 0, 0. */
export function drawOverlays(context, sections, t, place, chosen, leftOut = []) {
  for (const overlay of OVERLAYS) {
    const output = sections(overlay.analyzer).output;
    if (output && chosen.has(overlay.id)) overlay.draw(context, output, t, place, sections, leftOut);
  }
}

/** From its start on, and no longer at its end: at a cut the next shot's own are drawn. */
function present(track, t) {
  return holds(track.start, track.end, t);
}

function holds(start, end, t) {
  return t >= start - 1e-3 && t < end - 1e-3;
}

function objects(persons, context, output, t, place) {
  for (const track of output.tracks ?? []) {
    if ((track.label === "person") !== persons || !present(track, t)) continue;
    if (track.seen && !track.seen.some(([from, to]) => holds(from, to, t))) continue;
    const found = sampled(track.times, track.boxes, t);
    if (found) box(context, found, place, persons ? COLOURS.person : COLOURS.object, `${track.label} ${track.track} (${track.confidence?.toFixed(2)})`);
  }
}

function faces(context, output, t, place) {
  for (const face of output.faces ?? []) {
    if (!present(face, t)) continue;
    const found = sampled(face.times, face.boxes, t);
    const about = [`face ${face.track}`, face.age != null && `about ${Math.round(face.age)}`].filter(Boolean).join(", ");
    if (found) box(context, found, place, COLOURS.face, about, true);
  }
}

function texts(context, output, t, place) {
  for (const overlay of output.overlays ?? []) {
    if (present(overlay, t)) box(context, overlay.box, place, COLOURS.text, overlay.kind, true);
  }
}

function skeletons(context, output, t, place, sections, leftOut) {
  context.lineCap = "round";
  for (const person of output.persons ?? []) {
    if (!present(person, t) || leftOut.includes(person.track)) continue;
    const points = sampled(person.times, person.keypoints, t);
    if (!points) continue;
    const at = (k) => [points[3 * k] * place.width, points[3 * k + 1] * place.height];
    const seen = (k) => points[3 * k + 2] >= SEEN;
    for (const [style, width] of [["rgb(0 0 0 / 0.55)", 5], [COLOURS.pose, 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      for (const [a, b] of BONES) {
        if (!seen(a) || !seen(b)) continue;
        context.moveTo(...at(a));
        context.lineTo(...at(b));
      }
      context.stroke();
    }
    context.fillStyle = COLOURS.pose;
    for (let k = 0; k < 17; k += 1) {
      if (!seen(k)) continue;
      context.beginPath();
      context.arc(...at(k), 3, 0, 7);
      context.fill();
    }
  }
}

/** Arrows from the faces of `age_estimation`, which number the tracks of the eyes. */
function gaze(context, output, t, place, sections) {
  const known = output.located_by === "age_estimation" ? (sections("age_estimation").output?.faces ?? []) : [];
  for (const eyes of output.tracks ?? []) {
    const face = known.find((candidate) => candidate.track === eyes.track);
    if (!face || !present(eyes, t)) continue;
    const found = sampled(face.times, face.boxes, t);
    const open = eyes.times
      .map((time, k) => [time, k])
      .filter(([, k]) => eyes.gaze_yaw[k] != null && eyes.gaze_pitch[k] != null);
    const angles = sampled(open.map(([time]) => time), open.map(([, k]) => [eyes.gaze_yaw[k], eyes.gaze_pitch[k]]), t, 0.2);
    if (!found || !angles) continue;
    const [left, top, right, bottom] = found;
    const reach = (right - left) * place.width;
    const x = ((left + right) / 2) * place.width;
    const y = (top + 0.4 * (bottom - top)) * place.height;
    const radians = angles.map((degrees) => (degrees * Math.PI) / 180);
    arrow(context, x, y, x + 1.2 * reach * Math.sin(radians[0]), y - 1.2 * reach * Math.sin(radians[1]));
  }
}

function arrow(context, x, y, tipX, tipY) {
  for (const [style, width] of [["rgb(0 0 0 / 0.6)", 5], [COLOURS.gaze, 2.5]]) {
    context.strokeStyle = context.fillStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(tipX, tipY);
    context.stroke();
    context.beginPath();
    context.arc(tipX, tipY, width + 1.5, 0, 7);
    context.fill();
  }
}

function box(context, [left, top, right, bottom], place, style, label, below = false) {
  const x = left * place.width;
  const y = top * place.height;
  const wide = (right - left) * place.width;
  const high = (bottom - top) * place.height;
  context.lineWidth = 4;
  context.strokeStyle = "rgb(0 0 0 / 0.45)";
  context.strokeRect(x, y, wide, high);
  context.lineWidth = 2;
  context.strokeStyle = style;
  context.strokeRect(x, y, wide, high);
  context.font = "600 12px system-ui, sans-serif";
  context.textBaseline = "middle";
  const room = context.measureText(label).width + 10;
  const labelX = Math.min(Math.max(0, x), Math.max(0, place.width - room));
  const labelY = Math.min(Math.max(0, below ? y + high - 18 : y), place.height - 18);
  context.fillStyle = style;
  context.fillRect(labelX, labelY, room, 18);
  context.fillStyle = "#111";
  context.fillText(label, labelX + 5, labelY + 9.5);
}
