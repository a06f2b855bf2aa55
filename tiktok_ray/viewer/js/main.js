// The page of one report: all it needs is inside the document.

import { el } from "./dom.js";
import { embedded, embeddedVideo } from "./embedded.js";
import { mountReport } from "./report.js";
import { themeButton } from "./theme.js";

const report = embedded("report");
const host = el("div");
let redraw = () => {};
document.getElementById("app").append(
  el("header", { class: "top" }, el("span", { class: "brand" }, "tiktok-ray"), themeButton(() => redraw())),
  host,
);
redraw = mountReport(host, report, { hints: embedded("hints"), video: embedded("video-url") ?? embeddedVideo() });
