/** Weights in blobs: files of the page's file system, of the reader's, or memory. */
import { CheckpointError } from "../io/safetensors/format.ts";
import { CheckpointTensors } from "../io/safetensors/tensors.ts";

/** Reads a blob at once; only workers have it. */
interface SyncReader {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

/** @param path what messages call it */
export async function openBlobs(path: string, shards: ReadonlyMap<string, Blob>): Promise<CheckpointTensors> {
  const read = await readerOf([...shards.values()]);
  const named = (file: string): Blob => shards.get(file)!;
  return new CheckpointTensors(path, {
    files: [...shards.keys()],
    index: undefined,
    sizeOf: (file) => named(file).size,
    bytesOf: (file, start, length) => {
      const blob = named(file);
      if (blob.size < start + length) throw new CheckpointError(`${file}: the file became shorter`);
      return new Uint8Array(read(blob, start, start + length));
    },
  });
}

/** Parts of blobs. Outside of workers all of them have to be in memory. */
async function readerOf(blobs: readonly Blob[]): Promise<(blob: Blob, start: number, end: number) => ArrayBuffer> {
  const { FileReaderSync: Reader } = globalThis as { FileReaderSync?: new () => SyncReader };
  if (Reader !== undefined) {
    const reader = new Reader();
    return (blob, start, end) => reader.readAsArrayBuffer(blob.slice(start, end));
  }
  const buffers = new Map<Blob, ArrayBuffer>();
  for (const blob of blobs) buffers.set(blob, await blob.arrayBuffer());
  return (blob, start, end) => buffers.get(blob)!.slice(start, end);
}
