import { printDims, printOp, printValue } from "../tensor-ir/print.ts";
import { typeText } from "../tensor-ir/types.ts";
import type { Block, Callee, FactExpr, Fn, Init, Module, Store, Use } from "./types.ts";

/** The text form of a module: see docs/model-ir.md. Spans are not part of it. */
export function printModule(module: Module): string {
  const lines = [
    `model @${module.name} ${module.dtype}`,
    printDims(module.dims),
    `root @${module.root.id}`,
    `forward @${module.forward.id}`,
  ];
  if (module.checkpoint !== undefined) lines.push(`checkpoint ${module.checkpoint}`);
  if (module.losses.size > 0) lines.push(`losses ${[...module.losses].join(", ")}`);
  for (const [use, { forward, readout, embed, head }] of module.ahead) {
    lines.push(
      `ahead ${use} forward @${forward.id} readout @${readout.id} embed ${calleeText(embed)} head ${calleeText(head)}`,
    );
  }
  for (const { left, right, within } of module.expects) {
    lines.push(`expect ${exprText(left, 0)} == ${exprText(right, 0)}${within === 0 ? "" : ` within ${within}`}`);
  }
  for (const block of module.blocks.values()) lines.push("", ...blockLines(block));
  for (const fn of module.fns.values()) lines.push("", ...fnLines(fn));
  return `${lines.join("\n")}\n`;
}

function calleeText({ use, fn }: Callee): string {
  return `${use} @${fn.id}`;
}

function blockLines({ id, names, dims, stores, uses, onStep }: Block): string[] {
  const lines = [`block @${id} : ${names.join(", ")} {`];
  if (dims.size > 0) lines.push(`  dims { ${[...dims].map(([name, label]) => `${name} = ${label}`).join(", ")} }`);
  for (const store of stores.values()) lines.push(`  ${storeText(store)}`);
  for (const [name, use] of uses) lines.push(`  use ${name} = ${useText(use)}`);
  if (onStep !== undefined) lines.push(`  on step @${onStep.id}`);
  return [...lines, "}"];
}

function storeText({ kind, name, type, init }: Store): string {
  return `${kind} ${name}: ${typeText(type)} = ${initText(init)}`;
}

function initText(init: Init): string {
  return init.kind === "constant" ? `${init.value}` : `${init.kind}(${init.scale})`;
}

function useText(use: Use): string {
  switch (use.kind) {
    case "block":
      return `block @${use.block.id} ${use.fn}${use.over === undefined ? "" : ` over ${use.over}`}`;
    case "stack":
      return `stack { ${use.layers.map(({ count, block }) => `${count} of @${block.id}`).join(", ")} }`;
    case "alias":
      return `alias ${use.of} ${use.fn}`;
    case "ahead":
      return `ahead ${use.depth} of @${use.block.id}`;
  }
}

function fnLines({ id, params, results, ops }: Fn): string[] {
  return [
    `fn @${id}(${params.map((param) => printValue(param)).join(", ")}) -> (${results.map((value) => `%${value.id}`).join(", ")}) {`,
    ...ops.map((op) => `  ${printOp(op)}`),
    "}",
  ];
}

const PRECEDENCE = { "+": 1, "-": 1, "*": 2, "/": 2 } as const;

function exprText(expr: FactExpr, around: number): string {
  if (expr.kind === "number") return `${expr.value}`;
  if (expr.kind === "fact") return expr.name;
  const level = PRECEDENCE[expr.op];
  const text = `${exprText(expr.left, level)} ${expr.op} ${exprText(expr.right, level + 1)}`;
  return level < around ? `(${text})` : text;
}
