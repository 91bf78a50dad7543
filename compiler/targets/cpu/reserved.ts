import { CPP_WORDS } from "../reserved.ts";

/** Words of C++, variables of the frames of kernels whose names are fixed, and types of templates/cpu/dsk.h. */
export const RESERVED: ReadonlySet<string> = new Set(
  `args extents begin end scratch item first limit c run abi bf16 f16 f8e4m3 i4 ${CPP_WORDS}`.split(" "),
);
