// How an analyzer ended, in words.

/** Why there is nothing, or which parts are missing; "" where all is well. */
export function reasonOf(section) {
  if (section.missing?.length) {
    const byReason = new Map();
    for (const { part, reason } of section.missing) byReason.set(reason, [...(byReason.get(reason) ?? []), part]);
    return [...byReason].map(([reason, parts]) => `no ${parts.join(", ")}: ${reason}`).join("; ");
  }
  return section.reason ?? "";
}

export const STATUSES = ["ok", "partial", "skipped", "unavailable", "failed", "timed_out"];
