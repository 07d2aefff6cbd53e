/** Estimates how far the server's clock is from this page's. */

const SAMPLES = 8;

/** Return this page's time in Unix ms, finer than `Date.now()`. */
export function now() {
  return performance.timeOrigin + performance.now();
}

/** Return `{offset, uncertainty}` in ms; the server's time is `now() + offset`. */
export async function measureClock(address, signal) {
  const samples = [];
  for (let i = 0; i < SAMPLES; i += 1) samples.push(await sample(address, signal));
  return estimate(samples);
}

async function sample(address, signal) {
  const asked = now();
  const response = await fetch(address, { cache: "no-store", signal });
  const { now_us: server } = await response.json();
  return { asked, answered: now(), server: server / 1000 };
}

/**
 * Cristian's algorithm: the server's time was read somewhere within the round trip, so the
 * shortest of several is the least uncertain.
 */
export function estimate(samples) {
  const roundTrip = ({ asked, answered }) => answered - asked;
  const best = samples.reduce((one, other) =>
    roundTrip(other) < roundTrip(one) ? other : one,
  );
  return {
    offset: best.server - (best.asked + best.answered) / 2,
    uncertainty: roundTrip(best) / 2,
  };
}
