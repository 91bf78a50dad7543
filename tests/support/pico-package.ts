/** A package of a model that is as small as one with experts and a look-ahead module can be. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { saveTokenizer } from "../../runtime/data/tokenizer/load.ts";
import { tinyTokenizerFiles } from "./tiny-tokenizer.ts";

export const PICO = `edition 2026

import { Gqa } from "std/attention"
import { DeepSeekMoe } from "std/moe"
import { Decoder, Embedding, RmsNorm } from "std/nn"

/// A model for tests.
model Pico {
  dim V = 160
  dim D = 8
  dtype = f32
  init  = normal(0.1)

  use embed = Embedding[V, D]
  use trunk = stack { 1 of Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, keep: 1)) }
  use norm = RmsNorm[D]
  use head = Embedding[V, D].transposed
  use mtp = predict_ahead(
    depth: 1,
    with: Decoder[D](mixer: Gqa[D, 1, 2, 4], ffn: DeepSeekMoe[D](E: 4, F: 6, K: 2, G: 1, keep: 1)),
    shares: [embed, head]
  )

  fn forward(tokens: i32[T], pos: i32[T]) -> f32[T, V] {
    return head(norm(trunk(embed(tokens), pos)))
  }
}

train Short for Pico {
  data         = text("*.md", pack: true)
  length       = 24 tokens
  stop         = 6 steps
  batch        = 2
  optimizer    = adamw(clip: 1.0)
  lr           = schedule by steps { ..2 => ramp(1e-3, 1e-2)  ..end => 1e-2 }
  balance_rate = 1e-3
  loss         = next_token() + mtp(0.3)
  seed         = 5
}

serve Local for Pico {
  weights = run("runs/Short")
  context = 64 tokens
  kv      = paged(page: 8 tokens)
  draft   = mtp()
  sample  = greedy()
}
`;

export interface PicoPackage {
  /** Holds `pico.dsk`, `tokenizer/` and the package. */
  readonly folder: string;
  readonly directory: string;
}

/** Builds it with the command line; whoever calls removes the folder. */
export function picoPackage(...options: readonly string[]): PicoPackage {
  const folder = mkdtempSync(join(tmpdir(), "dskc-pico-"));
  const directory = join(folder, "pico");
  writeFileSync(join(folder, "pico.dsk"), PICO);
  saveTokenizer(join(folder, "tokenizer"), tinyTokenizerFiles());
  const args = ["build", "pico.dsk", "-o", directory, "--tokenizer", "tokenizer", ...options];
  execFileSync(process.execPath, [resolve("bin/dskc.js"), ...args], { cwd: folder, stdio: "pipe" });
  return { folder, directory };
}
