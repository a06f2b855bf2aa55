// The picture with what was found drawn over it, and the controls of time.

import { button, clockTime, el, fitted } from "./dom.js";
import { OVERLAYS, drawOverlays } from "./overlays.js";
import { firstFrom, spanAt } from "./series.js";

const SKIP_S = 1;

/**
 * `video`: a URL to play, or null. `bare`: without switches, while nothing is known. `subtitles`:
 * WebVTT tracks that the player may show, `{title, url, language}`. Returns `{node, redraw}`; keys work on the whole page.
 */
export function makeStage(model, clock, video, { bare = false, poster = null, onvideo = () => {}, subtitles = [] } = {}) {
  const { width, height } = model.video;
  const chosen = new Set(OVERLAYS.filter((overlay) => overlay.on).map((overlay) => overlay.id));
  const canvas = el("canvas", { class: "overlay", "aria-hidden": "true" });
  const caption = el("p", { class: "caption", dir: "auto" });
  const note = el("p", { class: "note", role: "status" });
  if (poster) poster = el("img", { src: poster, class: "poster-picture", alt: "" });
  const picture = el("div", { class: "picture", style: { "aspect-ratio": `${width} / ${height}`, "--aspect": `${width / height}` } }, poster, canvas, caption);

  const play = button("Play", clock.toggle, { class: "play" });
  const seek = el("input", { type: "range", min: "0", max: String(model.duration), step: "0.01", value: "0", "aria-label": "Time",
    on: { input: () => clock.seek(Number(seek.value)) } });
  const time = el("output", { class: "time" });
  const switches = el("fieldset", { class: "switches" }, el("legend", {}, "Overlays on the video"), OVERLAYS.map(toggle));
  const WORDS = "Speech, word by word";
  const chooser = el("select", { on: { change: subtitle } }, [WORDS, ...subtitles.map((track) => track.title), "None"].map((title) => el("option", { value: title }, title)));
  switches.append(el("label", {}, "Subtitles", chooser));

  /** Shows the words, one of the player's tracks, or neither. */
  function subtitle() {
    caption.hidden = chooser.value !== WORDS;
    for (const track of picture.querySelectorAll("track")) track.track.mode = track.label === chooser.value ? "showing" : "disabled";
  }

  /** A track of the player. Its times are those of the report, which begin with the first picture. */
  function trackOf({ title, url, language }) {
    const track = el("track", { kind: "captions", label: title, src: url, srclang: language ?? "und" });
    track.addEventListener("load", () => {
      for (const cue of track.track.cues) {
        cue.startTime += model.video.start_offset_s;
        cue.endTime += model.video.start_offset_s;
      }
    }, { once: true });
    return track;
  }

  function toggleBox(title, on, change, missing) {
    const input = el("input", { type: "checkbox", on: { change: () => change(input.checked) } });
    input.checked = on && !missing;
    input.disabled = Boolean(missing);
    return el("label", { title: missing || null }, input, title);
  }

  function toggle(overlay) {
    const section = model.section(overlay.analyzer);
    const missing = section.output ? "" : `${overlay.analyzer} is ${section.status}: ${section.reason ?? "no reason given"}`;
    return toggleBox(overlay.title, overlay.on, (on) => {
      if (on) chosen.add(overlay.id);
      else chosen.delete(overlay.id);
      draw();
    }, missing);
  }

  function attach(url, name) {
    const player = el("video", { src: url, playsinline: true, preload: "auto", "aria-label": name }, subtitles.map(trackOf));
    player.addEventListener("error", () => {
      note.textContent = `This browser cannot play the video (${model.video.video_codec}); the findings are drawn without it.`;
      player.remove();
    });
    player.addEventListener("loadedmetadata", () => {
      const longer = Math.abs(player.duration - model.video.start_offset_s - model.duration);
      note.textContent = longer > 0.5 ? `This file is ${clockTime(player.duration)} long, the report's video is ${clockTime(model.duration)}: it may be a different one.` : "";
      clock.follow(player, model.video.start_offset_s);
      onvideo(url);
    }, { once: true });
    picture.querySelector("video")?.remove();
    picture.prepend(player);
    poster?.after(player);
    picture.classList.add("filled");
    subtitle();
  }

  const opener = el("input", { type: "file", accept: "video/*,image/gif", class: "hidden-input", id: "open-video",
    on: { change: () => opener.files[0] && attach(URL.createObjectURL(opener.files[0]), opener.files[0].name) } });
  const open = el("p", { class: "open" }, opener, el("label", { for: "open-video" }, video ? "Another file …" : "Open the video file …"),
    video ? null : el("span", { class: "note" }, " to play it here; it does not leave this page."));
  if (video) attach(video, "The video");

  const spoken = (model.section("speech_transcription").output?.segments ?? []);

  function draw() {
    const place = { width: picture.clientWidth, height: picture.clientHeight };
    if (!place.width) return;
    const context = fitted(canvas, place.width, place.height);
    if (!picture.classList.contains("filled")) backdrop();
    // At the very end the last picture still stands, and with it what was found in it.
    const t = Math.min(clock.time, model.duration - 2e-3);
    drawOverlays(context, model.section, t, place, chosen, model.leftOut);
  }

  /** Without the video, the main colour of the moment stands for the picture. */
  function backdrop() {
    const strip = model.section("color_analysis").output?.strip;
    const k = strip ? Math.max(0, firstFrom(strip.times, clock.time + 1e-6) - 1) : 0;
    if (strip && /^#[0-9a-f]{6}$/i.test(strip.dominant[k])) picture.style.background = strip.dominant[k];
  }

  function speak() {
    const segment = spanAt(spoken, clock.time);
    if (caption.segment !== segment) {
      caption.segment = segment;
      caption.replaceChildren(...(segment ? segment.words.map((word) => el("span", {}, `${word.text} `)) : []));
    }
    segment?.words.forEach((word, k) => caption.children[k].classList.toggle("now", clock.time >= word.start && clock.time < word.end));
  }

  function show() {
    play.textContent = clock.playing ? "Pause" : "Play";
    seek.value = String(clock.time);
    seek.setAttribute("aria-valuetext", `${clockTime(clock.time)} of ${clockTime(model.duration)}`);
    time.textContent = `${clockTime(clock.time)} / ${clockTime(model.duration)}`;
    draw();
    speak();
  }

  const frame = 1 / (model.video.fps || 30);
  const cuts = [0, ...(model.section("cut_analysis").output?.shots ?? []).map((shot) => shot.start)].sort((a, b) => a - b);
  const steps = {
    " ": () => clock.toggle(),
    ArrowLeft: () => clock.seek(clock.time - SKIP_S),
    ArrowRight: () => clock.seek(clock.time + SKIP_S),
    ",": () => clock.seek(clock.time - frame),
    ".": () => clock.seek(clock.time + frame),
    "[": () => clock.seek(cuts[Math.max(0, firstFrom(cuts, clock.time - 0.02) - 1)] ?? 0),
    "]": () => clock.seek(cuts[firstFrom(cuts, clock.time + 0.02)] ?? clock.duration),
    Home: () => clock.seek(0),
    End: () => clock.seek(clock.duration),
  };

  function key(event) {
    if (!node.isConnected || event.ctrlKey || event.metaKey || event.altKey || !steps[event.key]) return;
    const busy = event.target.closest?.("input, textarea, select, [contenteditable]");
    const pressed = event.key === " " && event.target.closest?.("button, a, summary, label");
    if (busy || pressed) return;
    event.preventDefault();
    steps[event.key]();
  }

  const node = el("section", { class: "stage card", "aria-label": "Video", style: { "--aspect": `${width / height}` } }, picture,
    el("div", { class: "controls" }, play, seek, time), note, bare ? null : el("details", { class: "more-controls", open: matchMedia("(min-width: 761px)").matches }, el("summary", {}, "Overlays and file"), switches, open));
  document.addEventListener("keydown", key);
  new ResizeObserver(draw).observe(picture);
  clock.on(show);
  show();
  return { node, redraw: draw };
}
