/** A project that uses a generated package as any other: installed, checked by TypeScript, run by plain Node. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Checkpoint } from "../../../runtime/io/safetensors/read.ts";
import { type PicoPackage, picoPackage } from "../../support/pico-package.ts";

// Kernels are compiled here when nobody did it before.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const MAIN = `
import { chat, defaults, dims, load, params, type Pico, trainings } from "pico";

const rows = [[5, 9, 2, 44, 8], [17, 3]] as const;
const sizes: 160 = dims.V;
const shape: readonly [4, 8, 6] = params["trunk.0.ffn.experts.gate"];
const loss: "next_token" | "mtp" = trainings.Short.losses[0];
const roles: readonly ["system", "user", "assistant"] = chat.roles;
const limits: 64 = defaults.context;

const model: Pico = await load({ device: "cpu", serve: "Local" });
const trainer = await model.trainer("Short", { metrics: ["trunk.0.ffn.load"] });
const losses: number[] = [];
for (let i = 0; i < 2; i++) {
  const step = await trainer.step(rows);
  losses.push(step.losses.next_token + 0 * step.losses.mtp);
  if (step.metrics["trunk.0.ffn.load"]?.length !== 4) throw new Error("4 experts");
}
await trainer.save("weights");
await model.load("weights");
const { loss: scored } = await model.score(rows);
const tokens: number[] = [];
let text = "";
for await (const token of model.generate("hello", { maxTokens: 6, ignoreEos: true })) {
  tokens.push(token.token);
  text += token.text;
}
const { shape: own } = await model.param("norm.weight");
const width: 8 = own[0];
await model.chat([{ role: "user", content: "?" }], { maxTokens: 1 }).text();
console.log(JSON.stringify({ losses, scored, tokens, text, width, sizes, shape, loss, roles, limits }));
await model.close();
`;

const WRONG = `
import { load } from "pico";
const model = await load();
// @ts-expect-error there is no such section
await model.trainer("Shirt");
// @ts-expect-error there is no such loss
(await (await model.trainer("Short")).step([[1, 2]])).losses.next;
// @ts-expect-error there is no such metric
await model.trainer("Short", { metrics: ["trunk.1.ffn.load"] });
// @ts-expect-error there is no such param
await model.param("trunk.1.norm.weight");
// @ts-expect-error the template has no such role
model.chat([{ role: "tool", content: "x" }]);
// @ts-expect-error there is no such serve section
await load({ serve: "Elsewhere" });
// @ts-expect-error numbers are no text
await load({ weights: 3 });
`;

let pico: PicoPackage;

/** `npm install` of folders: a link for each. */
function install(name: string, from: string): void {
  const path = join(pico.folder, "node_modules", name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(from, path);
}

function tsc(...args: string[]): string {
  const { stdout, status } = spawnSync(process.execPath, [resolve("node_modules/typescript/bin/tsc"), ...args], {
    cwd: pico.folder,
    encoding: "utf8",
  });
  return status === 0 ? "" : stdout || "failed";
}

beforeAll(() => {
  pico = picoPackage();
  install("pico", pico.directory);
  install("dskc", resolve("."));
  install("@types/node", resolve("node_modules/@types/node"));
  mkdirSync(join(pico.folder, "src"));
  writeFileSync(join(pico.folder, "src", "main.ts"), MAIN);
  writeFileSync(join(pico.folder, "src", "wrong.ts"), WRONG);
  writeFileSync(join(pico.folder, "package.json"), JSON.stringify({ type: "module" }));
  const options = {
    target: "es2023",
    module: "nodenext",
    strict: true,
    types: ["node"],
    rootDir: "src",
    outDir: "out",
  };
  const tsconfig = { compilerOptions: { ...options, exactOptionalPropertyTypes: true }, include: ["src"] };
  writeFileSync(join(pico.folder, "tsconfig.json"), JSON.stringify(tsconfig));
});
afterAll(() => rmSync(pico.folder, { recursive: true }));

test("a project checks with names, shapes and sections of the model, trains, generates and scores", () => {
  expect(tsc("-p", ".")).toBe("");
  const output = execFileSync(process.execPath, ["out/main.js"], { cwd: pico.folder, encoding: "utf8" });
  const result = JSON.parse(output) as { losses: number[]; scored: number; tokens: number[]; text: string };
  expect(result).toMatchObject({ width: 8, sizes: 160, shape: [4, 8, 6], limits: 64, loss: "next_token" });
  expect(result.tokens).toHaveLength(6);
  expect(result.losses[1]).not.toBe(result.losses[0]);

  writeFileSync(
    join(pico.folder, "rows.json"),
    JSON.stringify({
      tokens: [
        [5, 9, 2, 44, 8],
        [17, 3],
      ],
    }),
  );
  const score = ["score", "pico.dsk", "--weights", "weights", "--tokens", "rows.json", "-o", "out.safetensors"];
  execFileSync(process.execPath, [resolve("bin/dskc.js"), ...score, "--device", "cpu"], { cwd: pico.folder });
  const [loss] = new Checkpoint(join(pico.folder, "out.safetensors")).tensor("loss").read();
  expect(result.scored).toBe(loss);
});

test("index.ts is what index.js and index.d.ts were made from, and checks as a part of a project", () => {
  const text = readFileSync(join(pico.directory, "index.ts"), "utf8");
  expect(text).toMatch(/^\/\*\*\n \* A model for tests\.\n/);
  expect(text.split("\n").filter((line) => /^import|from "/.test(line))).toEqual([
    'import type * as dskc from "dskc/runtime";',
    'import { openPackage } from "dskc/runtime";',
  ]);
  const strict = ["--strict", "--isolatedDeclarations", "--declaration", "--erasableSyntaxOnly", "--noUnusedLocals"];
  const options = ["--target", "es2023", "--module", "nodenext", "--types", "node", "--rootDir", "pico"];
  expect(tsc("pico/index.ts", "--ignoreConfig", ...options, ...strict, "--outDir", "emitted")).toBe("");
  const code = (path: string): string =>
    readFileSync(join(pico.folder, path), "utf8").replaceAll(/^\s*(\/\*\*|\*|\/\/).*$|\s/gm, "");
  expect(code("emitted/index.js")).toBe(code("pico/index.js"));
  expect(code("emitted/index.d.ts")).toBe(code("pico/index.d.ts"));
});
