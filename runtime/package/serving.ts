/** The session that generates and scores, and the weights in it. */
import { DeviceLostError, type Session } from "../device/session.ts";
import type { Engine } from "../serve/engine/engine.ts";

/** Scores beside the answers of an engine, on the same session. */
export class Serving {
  readonly engine: Engine;
  /** Calls that are under way beside those of the engine. */
  readonly #calls = new Set<Promise<unknown>>();
  #updated: Promise<void> = Promise.resolve();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  get session(): Session {
    return this.engine.session;
  }

  /** Runs something on the session, after the updates that were asked for before. */
  async run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    await this.#updated;
    const call = work(this.session).catch((error: unknown) => {
      if (error instanceof DeviceLostError) this.engine.deviceLost(error);
      throw error;
    });
    const settled = call.catch(() => undefined).finally(() => this.#calls.delete(settled));
    this.#calls.add(settled);
    return call;
  }

  /** Reads stores: when nothing runs. */
  read<T>(work: (session: Session) => T | Promise<T>): Promise<T> {
    return this.engine.whenIdle(async () => {
      while (this.#calls.size > 0) await Promise.all(this.#calls);
      return work(this.session);
    });
  }

  /** Changes the weights when nothing runs; what begins later sees the new ones. */
  update(write: (session: Session) => void | Promise<void>): Promise<void> {
    const update = this.engine.whenIdle(async () => {
      while (this.#calls.size > 0) await Promise.all(this.#calls);
      this.engine.forget();
      await write(this.session);
    });
    this.#updated = update.catch(() => undefined);
    return update;
  }
}
