/** What becomes of calls when their device is gone. */
import { DeviceLostError } from "../session.ts";

/** A promise that a device may never settle: it rejects when the device is lost. */
export class DeviceWatch {
  #error: Error | undefined;
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #device: GPUDevice;

  constructor(device: GPUDevice) {
    this.#device = device;
    void device.lost.then(({ reason, message }) =>
      this.end(new DeviceLostError(`the GPU device was lost: ${message.trim() || reason}`)),
    );
    device.addEventListener("uncapturederror", this.#refused);
  }

  close(): void {
    this.#device.removeEventListener("uncapturederror", this.#refused);
    this.end(new Error("the session is closed"));
  }

  /** What waits, and whatever comes later, fails with this; the first one counts. */
  end(error: Error): void {
    this.#error ??= error;
    for (const reject of this.#waiting) reject(this.#error);
    this.#waiting.clear();
  }

  /** @throws the error that ended it */
  check(): void {
    if (this.#error !== undefined) throw this.#error;
  }

  /** Work that the device refuses leaves buffers as they were: nothing that comes later is right. */
  readonly #refused = (event: Event): void =>
    this.end(new Error(`the GPU device: ${(event as GPUUncapturedErrorEvent).error.message}`));

  async of<T>(work: Promise<T>): Promise<T> {
    // Where this fails first nobody looks at it.
    work.catch(() => undefined);
    this.check();
    let reject!: (error: Error) => void;
    const ended = new Promise<never>((_, fail) => (reject = fail));
    this.#waiting.add(reject);
    try {
      return await Promise.race([work, ended]);
    } catch (error) {
      // A device that is lost fails what it was doing, too, and tells why a little later.
      await new Promise((resolve) => setTimeout(resolve));
      throw this.#error ?? error;
    } finally {
      this.#waiting.delete(reject);
    }
  }
}
