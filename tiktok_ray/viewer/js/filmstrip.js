// Small pictures of the video along the time, taken from a second player that nobody sees.

import { el, fitted } from "./dom.js";

const HEIGHT = 44;
const MOST = 48;

/**
 * Takes pictures spread over `duration` seconds, one after the other. `onpicture()` is called with
 * each. Returns `{height, paint(canvas, view)}`; where nothing can be played, nothing is painted.
 */
export function makeFilmstrip(url, { duration, start, aspect }, onpicture) {
  const wide = Math.max(12, Math.round(HEIGHT * aspect));
  const count = Math.max(2, Math.min(MOST, Math.ceil(1200 / wide)));
  const taken = [];
  const player = el("video", { src: url, preload: "auto", playsinline: true });
  player.muted = true;

  /** Every second one first, then those between: a coarse strip is there early. */
  const order = [...Array(count).keys()].sort((a, b) => (a % 4 ? 1 : 0) - (b % 4 ? 1 : 0) || a - b);
  let next = 0;

  function take() {
    if (next >= order.length) {
      player.removeAttribute("src");
      player.load();
      return;
    }
    player.currentTime = start + ((order[next] + 0.5) / count) * duration;
  }

  player.addEventListener("loadeddata", take, { once: true });
  player.addEventListener("seeked", () => {
    const small = el("canvas", { width: String(wide * 2), height: String(HEIGHT * 2) });
    small.getContext("2d").drawImage(player, 0, 0, wide * 2, HEIGHT * 2);
    taken[order[next]] = small;
    next += 1;
    onpicture();
    take();
  });

  function nearest(k) {
    for (let away = 0; away < count; away += 1) {
      if (taken[k - away]) return taken[k - away];
      if (taken[k + away]) return taken[k + away];
    }
    return null;
  }

  function paint(canvas, view) {
    const context = fitted(canvas, view.width, HEIGHT);
    const scale = view.width / (view.to - view.from);
    const first = Math.floor((view.from * scale) / wide);
    for (let k = first; k * wide < view.to * scale; k += 1) {
      const middle = ((k + 0.5) * wide) / scale;
      const picture = nearest(Math.min(count - 1, Math.max(0, Math.floor((middle / duration) * count))));
      if (picture && middle <= duration + wide / scale) context.drawImage(picture, k * wide - view.from * scale, 0, wide, HEIGHT);
    }
  }

  return { height: HEIGHT, paint };
}
