/** Bundles calls that come in quick succession. */

/**
 * Return a function that calls `work(signal)` once it has not been called itself for
 * `milliseconds`. A further call aborts the signal of the work before it, whose result
 * would be out of date.
 */
export function debounce(work, milliseconds) {
  let timer;
  let controller;
  return () => {
    clearTimeout(timer);
    controller?.abort();
    controller = new AbortController();
    timer = setTimeout(work, milliseconds, controller.signal);
  };
}

/** Return a function that calls `work()` in the next frame, once for all its calls. */
export function oncePerFrame(work) {
  let isScheduled = false;
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      work();
    });
  };
}
