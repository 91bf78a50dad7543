/** Milliseconds between two chances for displays and signals. */
const BREATH = 50;

/** Long work gives way now and then: awaited often, it seldom waits. It throws the signal's reason when that is aborted. */
export function breathing(signal: AbortSignal | undefined): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < BREATH) return;
    await new Promise((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    last = performance.now();
  };
}
