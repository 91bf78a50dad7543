/**
 * Where shards stay between visits: the private file system of the page (OPFS). A shard is kept under its SHA-256, so models
 * that share one have it once. Bytes are appended in place, and a mark beside them says that all of them are there: it is
 * written last, so whatever a closed tab leaves is a beginning to go on from and never taken for the whole.
 */

/** The bytes of a shard that are there so far. */
export interface ShardPlace {
  readonly size: number;
  read(at: number, length: number): Uint8Array;
  append(bytes: Uint8Array): void;
  /** Starts again. */
  clear(): void;
  /** All of it is there, and right. */
  finish(): Promise<Blob>;
  /** Lets go of it; what is there stays for the next time. */
  close(): void;
}

export interface ShardStore {
  /** The whole shard when it is there, otherwise where it may be put. One caller at a time has a place. */
  open(sha256: string, bytes: number): Promise<Blob | ShardPlace>;
}

/** The part of FileSystemSyncAccessHandle that is used here; only workers have it. */
interface AccessHandle {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

const FOLDER = "dskc-weights";

/** The store of this page; in memory, for this visit, where there is none: outside of workers, in some private windows. */
export async function openShardStore(): Promise<ShardStore> {
  if (!("createSyncAccessHandle" in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return IN_MEMORY;
  try {
    const root = await navigator.storage.getDirectory();
    return new PrivateFiles(await root.getDirectoryHandle(FOLDER, { create: true }));
  } catch {
    return IN_MEMORY;
  }
}

/** Removes all shards that were kept. */
export async function removeShards(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  try {
    await root.removeEntry(FOLDER, { recursive: true });
  } catch (error) {
    if ((error as DOMException).name !== "NotFoundError") throw error;
  }
}

class PrivateFiles implements ShardStore {
  readonly #folder: FileSystemDirectoryHandle;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  async open(sha256: string, bytes: number): Promise<Blob | ShardPlace> {
    const file = await this.#folder.getFileHandle(sha256, { create: true });
    if (await this.#isWhole(sha256)) {
      const whole = await file.getFile();
      if (whole.size === bytes) return whole;
      await this.#folder.removeEntry(markOf(sha256));
    }
    const handle = await (
      file as unknown as { createSyncAccessHandle(): Promise<AccessHandle> }
    ).createSyncAccessHandle();
    return new PrivateFile(handle, async () => {
      await this.#folder.getFileHandle(markOf(sha256), { create: true });
      return file.getFile();
    });
  }

  async #isWhole(sha256: string): Promise<boolean> {
    try {
      await this.#folder.getFileHandle(markOf(sha256));
      return true;
    } catch {
      return false;
    }
  }
}

function markOf(sha256: string): string {
  return `${sha256}.whole`;
}

class PrivateFile implements ShardPlace {
  readonly #handle: AccessHandle;
  readonly #mark: () => Promise<Blob>;
  #size: number;

  constructor(handle: AccessHandle, mark: () => Promise<Blob>) {
    this.#handle = handle;
    this.#mark = mark;
    this.#size = handle.getSize();
  }

  get size(): number {
    return this.#size;
  }

  read(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    return bytes.subarray(0, this.#handle.read(bytes, { at }));
  }

  append(bytes: Uint8Array): void {
    this.#size += this.#handle.write(bytes, { at: this.#size });
  }

  clear(): void {
    this.#handle.truncate(0);
    this.#size = 0;
  }

  finish(): Promise<Blob> {
    this.#handle.flush();
    this.#handle.close();
    return this.#mark();
  }

  close(): void {
    this.#handle.flush();
    this.#handle.close();
  }
}

class MemoryPlace implements ShardPlace {
  #parts: Uint8Array<ArrayBuffer>[] = [];
  size = 0;

  read(at: number, length: number): Uint8Array {
    let begin = 0;
    for (const part of this.#parts) {
      if (at < begin + part.length) return part.subarray(at - begin, at - begin + length);
      begin += part.length;
    }
    return new Uint8Array(0);
  }

  append(bytes: Uint8Array): void {
    this.#parts.push(Uint8Array.from(bytes));
    this.size += bytes.length;
  }

  clear(): void {
    this.#parts = [];
    this.size = 0;
  }

  async finish(): Promise<Blob> {
    return new Blob(this.#parts);
  }

  close(): void {}
}

/** Nothing is kept beyond the visit. */
export const IN_MEMORY: ShardStore = { open: async () => new MemoryPlace() };
