/** The figures of a lane: what it brought, how late, and at what cost. No DOM. */

/** Return a percentile of sorted numbers by nearest rank; null if there are none. */
export function percentile(sorted, percent) {
  if (sorted.length === 0) return null;
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1];
}

/** Return the lane's figures; of `due` events it should have had all. */
export function figuresOf({ arrivals, meter }, due) {
  const delays = [...arrivals.values()].map(({ delay }) => delay);
  delays.sort((one, other) => one - other);
  const events = arrivals.size;
  const { requests, bytesSent: sent, bytesReceived: received } = meter;
  return {
    events,
    lost: Math.max(0, due - events),
    requests,
    sent,
    received,
    perEvent: events ? (sent + received) / events : null,
    p50: percentile(delays, 50),
    p95: percentile(delays, 95),
  };
}

/** Return the indexes of the events that have not come. */
export function missing(arrivals, events) {
  return Array.from({ length: events }, (_, index) => index).filter(
    (index) => !arrivals.has(index),
  );
}
