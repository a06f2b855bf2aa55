// Results whose videos show the same as this one's, and what was changed.

import { askJson } from "./api.js";
import { button, clockTime, el, said } from "./dom.js";

/** A card that compares the result with the others when it is asked to: that reads each kept video once. */
export function makeSame(id) {
  const list = el("ul", { class: "same" });
  const note = el("p", { class: "note", role: "status" });
  const start = button("Compare with the other results", compare);
  const node = el("section", { class: "card", "aria-labelledby": "same-title" },
    el("h2", { id: "same-title" }, "The same elsewhere"), start, note, list);

  async function compare() {
    start.disabled = true;
    note.textContent = "Comparing…";
    list.replaceChildren();
    try {
      const found = await askJson(`/results/${id}/duplicates`);
      const unread = Object.keys(found.not_compared).length;
      note.textContent = `${found.matches.length || "None"} of ${found.compared - 1} other videos that were kept${unread ? `; ${unread} could not be compared` : ""}`;
      list.append(...found.matches.map((match) => line(match, id)));
    } catch (error) {
      note.textContent = String(error.message ?? error);
    }
    start.disabled = false;
  }
  return { node };
}

function line(match, id) {
  const first = match.a === id;
  const [other, here, there] = first ? [match.b, match.a_span, match.b_span] : [match.a, match.b_span, match.a_span];
  return el("li", {},
    el("a", { href: `#/result/${other}@${there[0]}` }, other), " ",
    said("strong", changed(match, first)), " ",
    said("span", `${span(here)} of this one is ${span(there)} of that one`, { class: "note" }));
}

const OTHER_WAY = { "sped up": "slowed down", "slowed down": "sped up" };

/** What was changed from this video to that one; which of them is the older is not known. */
function changed({ same_file, changes, cropped, speed }, first) {
  if (same_file) return "the same file";
  const told = changes.map((change) => {
    const from = first ? change : OTHER_WAY[change] ?? change;
    if (change === "cropped" && cropped) return `cropped (${(cropped === "a") === first ? "this" : "that"} one shows less)`;
    return change in OTHER_WAY && speed ? `${from} (${(first ? speed : 1 / speed).toFixed(2)} times)` : from;
  });
  return told.join(", ") || "no change was found";
}

const span = ([from, to]) => `${clockTime(from, 1)} to ${clockTime(to, 1)}`;
