// One report as the parts of the page ask for it.

const NONE = { status: "skipped", reason: "not in this report" };

/** `report`: as the engine writes it. `hints`: what output fields say of themselves. */
export function modelOf(report, hints) {
  const events = new Map();
  for (const event of report.timeline) {
    if (!events.has(event.analyzer)) events.set(event.analyzer, []);
    events.get(event.analyzer).push(event);
  }
  return {
    report,
    hints,
    video: report.video,
    duration: Math.max(report.video.duration_s, 0.01),
    names: Object.keys(report.analyzers),
    section: (name) => report.analyzers[name] ?? NONE,
    events: (name) => events.get(name) ?? [],
    found: (name) => report.summary?.found?.[name],
    leftOut: report.summary?.left_out?.body_pose ?? [],
  };
}
