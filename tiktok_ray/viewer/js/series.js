// Ordered times: search and interpolation.

/** Index of the first entry that is at or after `t`, in a sorted list. */
export function firstFrom(times, t, key = (entry) => entry) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(times[middle]) < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The vector at time `t` of vectors sampled at `times`, between samples a straight line. Null where
 * the next sample is further than `reach` seconds.
 */
export function sampled(times, vectors, t, reach = 0.75) {
  if (!times.length) return null;
  const after = firstFrom(times, t);
  if (after === 0) return times[0] - t <= reach ? vectors[0] : null;
  if (after === times.length) return t - times[after - 1] <= reach ? vectors[after - 1] : null;
  const before = after - 1;
  const gap = times[after] - times[before];
  if (gap > 2 * reach) {
    if (t - times[before] <= reach) return vectors[before];
    return times[after] - t <= reach ? vectors[after] : null;
  }
  const share = (t - times[before]) / gap;
  return vectors[before].map((value, k) => value + share * (vectors[after][k] - value));
}

/** The entry of `spans` (sorted by start, not overlapping) that holds `t`, or null. */
export function spanAt(spans, t) {
  const next = firstFrom(spans, t, (span) => span.start);
  const here = spans[next]?.start === t ? spans[next] : spans[next - 1];
  return here && t < Math.max(here.end, here.start + 1e-3) ? here : null;
}
