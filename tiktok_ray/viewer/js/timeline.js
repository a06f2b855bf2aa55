// The timeline: a lane for every analyzer, all under one ruler, zoom and playhead.

import { button, clamp, clockTime, el, fitted, said, spanText, words } from "./dom.js";
import { LANES, contents, curveText } from "./lanes.js";
import { heightOf, hit, paint, palette, rulerStep } from "./paint.js";
import { firstFrom } from "./series.js";
import { details } from "./details.js";
import { makeFilmstrip } from "./filmstrip.js";
import { reasonOf } from "./status.js";

const ZOOM_MAX_PX_PER_S = 400;
const RULER = 24;

/**
 * Builds the timeline into a section. `model`: `{duration, section(name), events(name)}`. Returns
 * `{node, redraw, refresh(name), show(name, start, end), setDuration}`.
 */
export function makeTimeline(model, clock) {
  let zoom = 1;
  let head = 0;
  let look = palette();
  let wanted = false;
  const lanes = new Map();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const lane = lanes.get(entry.target.id.slice("lane-".length));
      lane.visible = entry.isIntersecting;
      if (lane.visible) drawLane(lane);
    }
  }, { rootMargin: "200px" });

  const ruler = el("canvas", { "aria-hidden": "true" });
  const playhead = el("div", { class: "playhead", "aria-hidden": "true" });
  const sheet = el("div", { class: "sheet" });
  const scroller = el(
    "div",
    { class: "scroller", tabindex: "0", role: "group", "aria-label": "Lanes over time. Arrow keys seek, plus and minus zoom." },
    sheet,
  );
  const tip = el("div", { class: "tip", role: "status", hidden: true });
  const zoomIn = button("+", () => setZoom(zoom * 1.6), { "aria-label": "Zoom in" });
  const zoomOut = button("−", () => setZoom(zoom / 1.6), { "aria-label": "Zoom out" });
  const zoomAll = button("Fit", () => setZoom(1), { title: "Show the whole video" });
  const node = el(
    "section",
    { class: "timeline card", "aria-labelledby": "timeline-title" },
    el("header", { class: "bar" },
      el("h2", { id: "timeline-title" }, "Timeline"),
      el("div", { class: "group", role: "group", "aria-label": "Zoom" }, zoomOut, zoomAll, zoomIn)),
    scroller,
    el("p", { class: "note keys" }, "Space plays ·  ← → 1 s · , . one frame · [ ] previous or next cut · + − zoom · click seeks"),
    tip,
  );
  const strip = el("canvas", { "aria-hidden": "true" });
  const pictures = el("div", { class: "lane film", hidden: true }, el("div", { class: "lane-head" }, el("span", { class: "film-title" }, "Frames")), el("div", { class: "lane-body" }, strip));
  let film = null;
  strip.addEventListener("click", (event) => {
    const seen = view(0);
    clock.seek(seen.from + ((event.clientX - strip.getBoundingClientRect().left) / seen.width) * (seen.to - seen.from));
  });
  sheet.append(el("div", { class: "ruler lane" }, el("div", { class: "lane-head" }), el("div", { class: "lane-body" }, ruler)), pictures, playhead);
  LANES.forEach(addLane);

  function addLane(kind) {
    const canvas = el("canvas", { "aria-hidden": "true" });
    const badge = el("span", { class: "badge" });
    const found = el("span", { class: "found", dir: "auto" });
    const open = button("", () => toggle(lane), { class: "lane-title", "aria-expanded": "false" });
    open.append(el("span", { class: "name" }, kind.title), badge);
    const reason = el("p", { class: "reason", dir: "auto" });
    const body = el("div", { class: "lane-body" }, canvas, reason);
    const row = el("div", { class: "lane", id: `lane-${kind.analyzer}` }, el("div", { class: "lane-head" }, open, found), body);
    const lane = { ...kind, canvas, badge, found, open, reason, body, row, list: null, data: null, hot: null, visible: true };
    sheet.append(row);
    lanes.set(kind.analyzer, lane);
    watcher.observe(row);
    canvas.addEventListener("pointermove", (event) => point(lane, event));
    canvas.addEventListener("pointerleave", () => unpoint(lane));
    canvas.addEventListener("click", (event) => click(lane, event));
    fill(lane);
  }

  function fill(lane) {
    const section = model.section(lane.analyzer);
    lane.data = { hue: lane.hue, ...contents(lane, section.output, model.events(lane.analyzer), model.leftOut) };
    const empty = !lane.data.rows.length && !lane.data.marks.length && !lane.data.curve && !lane.data.strip;
    const reason = reasonOf(section);
    lane.badge.textContent = section.status === "ok" ? "" : words(section.status);
    lane.badge.dataset.status = section.status;
    lane.open.title = `List what ${lane.analyzer} found`;
    lane.found.textContent = model.found(lane.analyzer) ?? "";
    lane.found.title = lane.found.textContent;
    lane.row.dataset.status = section.status;
    lane.row.title = "";
    lane.reason.textContent = reason || (empty ? nothing(section) : "");
    lane.row.classList.toggle("empty", empty);
    lane.height = empty ? 0 : heightOf(lane.data);
    lane.canvas.style.height = `${lane.height}px`;
    if (lane.list) refill(lane);
  }

  function nothing(section) {
    if (section.status === "ok") return "Nothing found.";
    return section.status === "partial" ? "Nothing to show on the timeline." : "";
  }

  const width = () => Math.max(80, scroller.clientWidth - head);
  const content = () => width() * zoom;
  const view = (height) => {
    const from = (scroller.scrollLeft / content()) * model.duration;
    return { from, to: from + model.duration / zoom, width: width(), height };
  };

  function draw() {
    wanted = false;
    const seen = view(0);
    drawRuler(seen);
    film?.paint(strip, seen);
    for (const lane of lanes.values()) if (lane.visible) drawLane(lane);
    movePlayhead();
  }

  function drawLane(lane) {
    if (!lane.height) return;
    const seen = view(lane.height);
    paint(fitted(lane.canvas, seen.width, lane.height), lane.data, seen, look, lane.hot);
  }

  function drawRuler(seen) {
    const context = fitted(ruler, seen.width, RULER);
    const step = rulerStep((seen.to - seen.from) / seen.width);
    context.font = look.font;
    context.textBaseline = "middle";
    context.fillStyle = look.text;
    context.strokeStyle = look.grid;
    for (let t = Math.ceil(seen.from / step) * step; t <= seen.to + 1e-6; t += step) {
      const x = Math.round(((t - seen.from) / (seen.to - seen.from)) * seen.width) + 0.5;
      context.beginPath();
      context.moveTo(x, RULER - 7);
      context.lineTo(x, RULER);
      context.stroke();
      const text = clockTime(t, step < 1 ? 1 : 0);
      const wide = context.measureText(text).width;
      if (x + 3 + wide < seen.width) context.fillText(text, x + 3, RULER / 2 - 1);
    }
  }

  function redraw() {
    if (wanted) return;
    wanted = true;
    requestAnimationFrame(draw);
  }

  function layout() {
    const sideways = getComputedStyle(sheet).getPropertyValue("--head").trim();
    head = Number.parseFloat(sideways) || 0;
    sheet.style.setProperty("--view", `${width()}px`);
    sheet.style.width = `${head + content()}px`;
    movePlayhead(); // at its old place it would hold the sheet as wide as before
    redraw();
  }

  function setZoom(next, around = clock.time) {
    const most = Math.max(1, (ZOOM_MAX_PX_PER_S * model.duration) / width());
    const seen = view(0);
    const place = clamp((around - seen.from) / (seen.to - seen.from), 0, 1);
    zoom = clamp(next, 1, most);
    layout();
    scroller.scrollLeft = (around / model.duration) * content() - place * width();
    zoomOut.disabled = zoom === 1;
    zoomIn.disabled = zoom === most;
    redraw();
  }

  function movePlayhead() {
    playhead.style.transform = `translateX(${head + (clock.time / model.duration) * content()}px)`;
  }

  /** The view turns the page when the playhead leaves it: while it plays, and after every seek. */
  function follow() {
    const x = (clock.time / model.duration) * content() - scroller.scrollLeft;
    if (x < 0 || x > width() * (clock.playing ? 0.95 : 1)) scroller.scrollLeft += x - width() * (clock.playing ? 0.1 : 0.4);
    movePlayhead();
  }

  function timeAt(event, lane) {
    const box = lane.canvas.getBoundingClientRect();
    const seen = view(lane.height);
    return { px: event.clientX - box.left, py: event.clientY - box.top, seen,
      t: seen.from + ((event.clientX - box.left) / seen.width) * (seen.to - seen.from) };
  }

  function point(lane, event) {
    const { px, py, seen, t } = timeAt(event, lane);
    const under = hit(lane.data, seen, px, py);
    if (under !== lane.hot) {
      lane.hot = under;
      drawLane(lane);
    }
    tell(lane, under, t, event);
  }

  function unpoint(lane) {
    tip.hidden = true;
    if (!lane.hot) return;
    lane.hot = null;
    drawLane(lane);
  }

  function tell(lane, under, t, event) {
    const lines = [clockTime(t, 2), ...(under ? [spanText(under.start, under.end)] : [])];
    if (under?.confidence != null) lines.push(`confidence ${under.confidence.toFixed(2)}`);
    lines.push(...(under?.about ?? []));
    const { curve, strip } = lane.data;
    if (strip?.times.length) lines.push(strip.colours[Math.max(0, firstFrom(strip.times, t + 1e-6) - 1)]);
    if (curve?.times.length) {
      const after = clamp(firstFrom(curve.times, t), 0, curve.times.length - 1);
      const nearest = after > 0 && t - curve.times[after - 1] < curve.times[after] - t ? after - 1 : after;
      lines.push(curveText(curve, t, nearest));
    }
    tip.replaceChildren(
      said("strong", under?.label ?? lane.title),
      ...lines.filter(Boolean).map((line) => said("span", line)),
    );
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${clamp(event.clientX + 14, 4, innerWidth - box.width - 4)}px`;
    const below = event.clientY + 18;
    tip.style.top = `${below + box.height > innerHeight ? event.clientY - box.height - 12 : below}px`;
  }

  function click(lane, event) {
    clock.seek(timeAt(event, lane).t);
    point(lane, event);
  }

  function toggle(lane) {
    const opening = !lane.list;
    lane.open.setAttribute("aria-expanded", String(opening));
    if (opening) refill(lane);
    else {
      lane.list.remove();
      lane.list = null;
    }
  }

  function refill(lane) {
    const made = details(lane, model, clock);
    if (lane.list) lane.list.replaceWith(made);
    else lane.row.after(made);
    lane.list = made;
  }

  /** Bring a lane and a stretch of time into view, and mark it for a moment. */
  function show(name, start, end) {
    const lane = lanes.get(name);
    clock.seek(start);
    const seen = view(0);
    if (start < seen.from || end > seen.to) scroller.scrollLeft = (start / model.duration) * content() - width() * 0.3;
    if (!lane) return;
    lane.row.scrollIntoView({ block: "nearest", behavior: "smooth" });
    lane.row.classList.remove("flash");
    void lane.row.offsetWidth;
    lane.row.classList.add("flash");
    const entries = [...lane.data.rows.flatMap((row) => row.bars), ...lane.data.marks];
    lane.hot = entries.find((entry) => Math.abs(entry.start - start) < 0.02 && Math.abs(entry.end - end) < 0.02) ?? null;
    redraw();
  }

  function key(event) {
    if (event.key === "+" || event.key === "=") setZoom(zoom * 1.6);
    else if (event.key === "-") setZoom(zoom / 1.6);
    else if (event.key === "0") setZoom(1);
    else return;
    event.preventDefault();
  }

  scroller.addEventListener("scroll", redraw, { passive: true });
  scroller.addEventListener("keydown", key);
  scroller.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = scroller.getBoundingClientRect();
    const seen = view(0);
    const place = clamp((event.clientX - box.left - head) / width(), 0, 1);
    setZoom(zoom * Math.exp(-event.deltaY / 300), seen.from + place * (seen.to - seen.from));
  }, { passive: false });
  ruler.addEventListener("pointerdown", (event) => {
    const seek = (moved) => {
      const box = ruler.getBoundingClientRect();
      const seen = view(0);
      clock.seek(seen.from + ((moved.clientX - box.left) / seen.width) * (seen.to - seen.from));
    };
    seek(event);
    ruler.setPointerCapture(event.pointerId);
    ruler.addEventListener("pointermove", seek);
    ruler.addEventListener("pointerup", () => ruler.removeEventListener("pointermove", seek), { once: true });
  });
  new ResizeObserver(layout).observe(scroller);
  clock.on(follow);
  zoomOut.disabled = true;

  return {
    node,
    show,
    /** A strip of pictures of the video over the lanes. */
    film: (url) => {
      const { width: wide, height: high, start_offset_s: start } = model.video;
      pictures.hidden = false;
      film = makeFilmstrip(url, { duration: model.duration, start: start ?? 0, aspect: wide / high }, redraw);
      strip.style.height = `${film.height}px`;
      redraw();
    },
    /** All lanes over the whole time, whether or not they were ever in view. */
    print: () => {
      setZoom(1);
      draw();
      for (const lane of lanes.values()) drawLane(lane);
    },
    redraw: () => {
      look = palette();
      redraw();
    },
    refresh: (name) => {
      fill(lanes.get(name));
      layout();
    },
  };
}
