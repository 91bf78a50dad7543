/**
 * What lowering makes of a head with a bias and a cap on its logits, its loss and its gradients: launches for one block of tokens
 * after the other. `npm run golden` writes it anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import { printKernels } from "../../compiler/kernel-ir/print.ts";
import { lowered } from "../../compiler/package/package.ts";
import { lossProgram } from "../support/loss-programs.ts";

test("loss.kernels", () => {
  const text = printKernels(lowered([lossProgram({ name: "loss", heads: 1, bias: true, cap: 3 })]));
  const file = resolve(import.meta.dirname, "loss.kernels");
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, "utf8"));
});
