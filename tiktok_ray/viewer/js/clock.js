// The one time that all parts of the page show: the video's own, or a clock where there is none.

import { clamp } from "./dom.js";

/** A clock over 0..`duration` seconds. `on(listener)` is called with every new time. */
export function makeClock(duration) {
  const listeners = new Set();
  let video = null;
  let offset = 0;
  let last = 0;

  const clock = { duration, time: 0, playing: false };
  const tell = () => listeners.forEach((listener) => listener(clock.time, clock.playing));
  const read = () => {
    clock.time = clamp(video.currentTime - offset, 0, clock.duration);
  };

  function step(now) {
    if (!clock.playing) return;
    if (video) read();
    else clock.time = Math.min(clock.duration, clock.time + (now - last) / 1000);
    last = now;
    if (!video && clock.time >= clock.duration) clock.playing = false;
    tell();
    requestAnimationFrame(step);
  }

  function run() {
    if (clock.playing) return;
    clock.playing = true;
    last = performance.now();
    tell();
    requestAnimationFrame(step);
  }

  function halt() {
    clock.playing = false;
    tell();
  }

  clock.on = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };
  clock.seek = (time) => {
    clock.time = clamp(time, 0, clock.duration);
    if (video) video.currentTime = clock.time + offset;
    tell();
  };
  clock.toggle = () => {
    if (clock.playing) {
      if (video) video.pause();
      else halt();
      return;
    }
    if (clock.time >= clock.duration - 0.05) clock.seek(0);
    if (video) video.play().catch(halt);
    else run();
  };
  /** Follow a video whose first displayed frame stands at `start` seconds of its own time. */
  clock.follow = (element, start) => {
    if (clock.playing) halt();
    video = element;
    offset = start;
    video.addEventListener("play", run);
    video.addEventListener("pause", halt);
    video.addEventListener("ended", halt);
    for (const type of ["seeked", "timeupdate"]) {
      video.addEventListener(type, () => {
        if (clock.playing || video.seeking) return;
        read();
        tell();
      });
    }
    video.currentTime = clock.time + offset;
  };
  return clock;
}
