import { STORAGE_BYTES, type StorageType } from "../../../runtime/program/launch.ts";
import type { Capability } from "../../kernel-ir/capability.ts";
import { TILES } from "./gemm-tiles.ts";

/** One thread runs an item, with scratch memory of any size. */
export const CPU: Capability = {
  target: "cpu",
  families: ["rows", "gemm", "columns", "plane", "serial", "parts"],
  vectors: [...new Set(TILES.map(({ lanes }) => lanes))].toSorted((a, b) => a - b),
  threads: 1,
  itemBytes: Infinity,
  runTimeLocals: true,
  // Nothing stops more, but the norm of all gradients of a deep model would have more than a thousand: nobody reads such a list.
  bindings: 128,
  arenaIsOne: false,
  largestBuffer: Infinity,
  largestBinding: Infinity,
  alignment: 1,
  // Two of i4 lie in a byte.
  stored: (Object.keys(STORAGE_BYTES) as StorageType[]).filter((dtype) => dtype !== "i4"),
  computed: ["f64", "f32", "i32", "bool", "index"],
  atomics: [],
  timestamps: true,
};
