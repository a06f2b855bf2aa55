// Dark and light: the system's choice until one is made here.

import { button } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];

/** A button that goes round the themes; `redraw` is called when the colours have changed. */
export function themeButton(redraw) {
  const root = document.documentElement;
  const made = button("", () => set(CHOICES[(CHOICES.indexOf(current()) + 1) % 3]), { class: "quiet" });
  const current = () => root.dataset.theme ?? "auto";
  function set(theme) {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    made.textContent = `Theme: ${theme}`;
    redraw();
  }
  made.textContent = "Theme: auto";
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  return made;
}
