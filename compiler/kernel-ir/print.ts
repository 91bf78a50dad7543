/** Kernels and launch programs as text, which `parseKernels` reads back: see docs/kernel-ir.md. */
import type { BufferSpec, Launch, LaunchProgram } from "../../runtime/program/launch.ts";
import { numberText } from "../tensor-ir/text-cursor.ts";
import { INFIX, usualDtype } from "./expr.ts";
import type { Arg, Axis, Expr, Kernel, KernelModule, Local, PlaneStmt, Stmt, Target, Terms } from "./types.ts";

export function printKernels({ kernels, programs }: KernelModule): string {
  return [...kernels.map(printKernel), ...programs.map(printLaunches)].join("\n");
}

export function printKernel(kernel: Kernel): string {
  return `${[`kernel @${kernel.name} ${headText(kernel)} {`, ...bodyLines(kernel)].join("\n")}\n}\n`;
}

function headText({ family, extents }: Kernel): string {
  return `${family} extents [${extents.join(", ")}]`;
}

function bodyLines(kernel: Kernel): string[] {
  const lines: string[] = [];
  const add = (...more: string[]): void => void lines.push(...more.map((line) => `  ${line}`));
  if (kernel.family === "parts") {
    for (const part of kernel.parts) add(`part ${headText(part)} {`, ...bodyLines(part), "}");
    return lines;
  }
  add(...kernel.args.map(({ access, ...store }) => `${access} ${storeText(store)}`));
  if ("locals" in kernel) add(...kernel.locals.map((local) => `local ${storeText(local)}`));
  switch (kernel.family) {
    case "rows":
      add(`rows ${axesText(kernel.rows)}`, ...kernel.body.map(stmtText));
      break;
    case "serial":
      add(...kernel.body.map(stmtText));
      break;
    case "columns":
      add(`columns ${axesText(kernel.columns)} over ${axesText(kernel.over)}`);
      add(
        ...kernel.sums.map(
          ({ reduction, value, ...target }) => `${targetText(target)} = ${reduction} ${exprText(value)}`,
        ),
      );
      break;
    case "gemm":
      add(`batch ${axesText(kernel.batch)} m ${axesText(kernel.m)} n ${axesText(kernel.n)}`);
      if (kernel.groups !== undefined) {
        const { over, group, of } = kernel.groups;
        add(`group ${axesText([group])} over ${over} of ${exprText(of)}`);
      }
      if (kernel.prologue !== undefined) {
        add(...kernel.prologue.locals.map((local) => `row local ${storeText(local)}`));
        add(...kernel.prologue.body.map((stmt) => `row ${stmtText(stmt)}`));
      }
      add(...kernel.products.map(({ name, dtype, ...terms }) => `product ${name}: ${dtype} = ${termsText(terms)}`));
      add(...kernel.epilogue.map(stmtText));
      break;
    case "plane":
      add(`batch ${axesText(kernel.batch)} rows ${axesText(kernel.rows)} column ${axesText([kernel.column])}`);
      if (kernel.span !== undefined) add(`span ${exprText(kernel.span.from)} to ${exprText(kernel.span.to)}`);
      add(...kernel.body.map(planeText));
  }
  return lines;
}

export function printLaunches({ name, dims, buffers, launches, blocks = [], together = [] }: LaunchProgram): string {
  const groups = [
    ...blocks.map((all) => ({ ...all, head: `blocks ${all.rows} of ${all.dim}` })),
    ...together.map((all) => ({ ...all, head: "together" })),
  ];
  const lines = [
    `program @${name} dims [${dims.join(", ")}] {`,
    ...buffers.map((buffer, i) => `  #${i} ${bufferText(buffer)}`),
    ...launches.flatMap((launch, at) => {
      const inside = groups.find(({ first, count }) => at >= first && at < first + count);
      const closes = inside !== undefined && at === inside.first + inside.count - 1;
      return [
        ...(inside?.first === at ? [`  ${inside.head} {`] : []),
        `${inside === undefined ? "  " : "    "}${launchText(launch)}`,
        ...(closes ? ["  }"] : []),
      ];
    }),
  ];
  return `${lines.join("\n")}\n}\n`;
}

function launchText({ kernel, args, extents, note }: Launch): string {
  const given = extents.length === 0 ? "" : ` [${extents.join(", ")}]`;
  return `@${kernel}(${args.map((arg) => `#${arg}`).join(", ")})${given}${note === undefined ? "" : `  // ${note}`}`;
}

function bufferText({ kind, name, dtype, shape, block, quantized }: BufferSpec): string {
  const [first, ...rest] = shape;
  const text = block === undefined ? shape : [`${block} of ${first}`, ...rest];
  const store = `${kind} ${JSON.stringify(name)}: ${dtype}[${text.join(", ")}]`;
  if (quantized === undefined) return store;
  const { scales, dim, group } = quantized;
  return `${store} scales ${JSON.stringify(scales)} dim ${dim} group ${group}`;
}

function storeText({ name, dtype, shape }: Pick<Arg | Local, "name" | "dtype" | "shape">): string {
  return `${name}: ${dtype}[${shape.join(", ")}]`;
}

function axesText(axes: readonly Axis[]): string {
  return `(${axes.map(({ name, extent }) => (name === extent ? name : `${name} < ${extent}`)).join(", ")})`;
}

function termsText({ k, a, b }: Terms): string {
  return `sum ${axesText(k)} ${exprText(a)} @ ${exprText(b)}`;
}

function targetText({ to, at }: Target): string {
  return `${to}[${at.map(exprText).join(", ")}]`;
}

function stmtText(stmt: Stmt): string {
  const loops = stmt.axes.length === 0 ? "" : `for ${axesText(stmt.axes)} `;
  const target = targetText(stmt);
  const value = exprText(stmt.value);
  switch (stmt.kind) {
    case "assign":
      return `${loops}${target} = ${value}`;
    case "reduce":
      return `${loops}${target} = ${stmt.reduction} over ${axesText(stmt.over)} ${value}`;
    case "top_k":
      return `${loops}${target} = top_k ${axesText([stmt.counter])} over ${axesText([stmt.over])} ${value}`;
    case "rank":
      return `${loops}${target} = rank over ${axesText([stmt.over])} ${value}`;
    case "scan": {
      const how = `${stmt.exclusive ? " exclusive" : ""}${stmt.reverse ? " reverse" : ""}`;
      return `${loops}${target} = scan${how} over ${axesText([stmt.over])} ${value}`;
    }
    case "sort":
      return `${loops}${target} = sort into ${stmt.groups} over ${axesText(stmt.over)} ${value}`;
    case "scatter": {
      const zeroed = targetText({ to: stmt.to, at: stmt.zeroedAt });
      return `zero ${axesText(stmt.zeroed)} ${zeroed}; ${loops}${target} += ${value} when ${exprText(stmt.when)}`;
    }
  }
}

function planeText(stmt: PlaneStmt): string {
  switch (stmt.kind) {
    case "row":
      return stmtText(stmt.stmt);
    case "enter":
      return `enter ${stmt.local} = ${stmt.products.map(termsText).join(" + ")}`;
    case "leave_rows":
      return `leave ${axesText(stmt.n)} ${targetText(stmt)} = sum over columns ${stmt.local} @ ${exprText(stmt.b)}`;
    case "leave_columns":
      return `leave ${axesText(stmt.n)} ${targetText(stmt)} = sum over rows ${stmt.local} @ ${exprText(stmt.x)}`;
  }
}

function exprText(expr: Expr): string {
  switch (expr.kind) {
    case "const": {
      const value = typeof expr.value === "number" ? numberText(expr.value) : `${expr.value}`;
      return expr.dtype === "index" ? value : `${expr.dtype} ${value}`;
    }
    case "axis":
      return expr.axis;
    case "extent":
      return `size(${expr.extent})`;
    case "load":
      return `${expr.from}[${expr.at.map(exprText).join(", ")}]`;
    case "random": {
      const parts = [`${expr.stream}`, ...[expr.element, expr.seed, expr.step].map(exprText)];
      return `random.${expr.draw}(${parts.join(", ")}${expr.dtype === "f32" ? "" : `: ${expr.dtype}`})`;
    }
    case "op": {
      const symbol = INFIX[expr.op];
      const operands = expr.operands.map(exprText);
      if (expr.op === "cast") return `${expr.dtype}(${operands[0]})`;
      const dtype = expr.dtype === usualDtype(expr.op, expr.operands) ? "" : `: ${expr.dtype}`;
      if (symbol !== undefined) return `(${operands[0]} ${symbol} ${operands[1]}${dtype})`;
      return `${expr.op}(${operands.join(", ")}${dtype})`;
    }
  }
}

/** What the first lines of a generated file say about where its kernel came from. */
export function originLines({ from }: Pick<Kernel, "from">): string[] {
  return from.length === 0 ? [] : [`of ${from.join(", ")}`];
}
