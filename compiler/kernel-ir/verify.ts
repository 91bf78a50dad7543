/** Rules of the kernel IR that targets rely on. */
import { type Extent, type LaunchProgram, runTimeDim } from "../../runtime/program/launch.ts";
import { arityOf, walk } from "./expr.ts";
import { isOfLists, isOfOneList } from "./lists.ts";
import { insideNames, together as allParts } from "./parts.ts";
import type { Axis, Expr, Kernel, KernelModule, PlaneStmt, ScalarType, SoloKernel, Stmt, Target } from "./types.ts";

/** What is wrong with a module, a line each; empty when it is sound. */
export function verifyKernels({ kernels, programs }: KernelModule): string[] {
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel] as const));
  const twice = kernels.length === byName.size ? [] : ["two kernels have one name"];
  return [
    ...twice,
    ...kernels.flatMap((kernel) => verifyKernel(kernel).map((fault) => `@${kernel.name}: ${fault}`)),
    ...programs.flatMap((program) => verifyLaunches(program, byName).map((fault) => `@${program.name}: ${fault}`)),
  ];
}

function verifyLaunches(program: LaunchProgram, kernels: ReadonlyMap<string, Kernel>): string[] {
  const { dims, buffers, launches } = program;
  const faults = [...verifyBlocks(program), ...verifyTogether(program, kernels)];
  const written = new Set<number>();
  for (const [i, { kernel: name, args, extents }] of launches.entries()) {
    const kernel = kernels.get(name);
    if (kernel === undefined) {
      faults.push(`launch ${i} calls @${name}, which does not exist`);
      continue;
    }
    if (args.length !== kernel.args.length) faults.push(`launch ${i} gives @${name} ${args.length} buffers`);
    if (extents.length !== kernel.extents.length) faults.push(`launch ${i} gives @${name} ${extents.length} extents`);
    for (const extent of extents) {
      if (typeof extent === "string" && !dims.includes(runTimeDim(extent).dim))
        faults.push(`launch ${i} has the extent ${extent}`);
    }
    for (const [at, buffer] of args.entries()) {
      const spec = buffers[buffer];
      const arg = kernel.args[at];
      if (spec === undefined || arg === undefined) {
        faults.push(`launch ${i} has no buffer for argument ${at}`);
        continue;
      }
      if (spec.dtype !== arg.dtype) faults.push(`launch ${i} gives ${arg.name} a buffer of ${spec.dtype}`);
      if (arg.access !== "read" && spec.kind === "input") faults.push(`launch ${i} writes the input ${spec.name}`);
      const isMade = spec.kind === "temp" || spec.kind === "output";
      if (arg.access === "read" && isMade && !written.has(buffer))
        faults.push(`launch ${i} reads ${spec.name} before it is made`);
    }
    for (const [at, buffer] of args.entries()) if (kernel.args[at]?.access !== "read") written.add(buffer);
  }
  for (const [i, { kind, name }] of buffers.entries()) {
    if (kind === "output" && !written.has(i)) faults.push(`the output ${name} is never made`);
  }
  return faults;
}

function verifyBlocks({ dims, buffers, launches, blocks = [] }: LaunchProgram): string[] {
  const faults: string[] = [];
  let end = 0;
  for (const [i, { dim, rows, first, count }] of blocks.entries()) {
    if (!dims.includes(dim)) faults.push(`blocks ${i} are of ${dim}, which is no run-time dim`);
    if (rows === 0 || rows % 64 !== 0) faults.push(`blocks ${i} have ${rows} rows, no multiple of 64`);
    if (first < end || count === 0 || first + count > launches.length)
      faults.push(`blocks ${i} are the launches ${first} to ${first + count - 1}`);
    end = first + count;
  }
  for (const [at, { args }] of launches.entries()) {
    const inside = blocks.find(({ first, count }) => at >= first && at < first + count);
    for (const { name, block, shape } of args.flatMap((arg) => buffers[arg] ?? [])) {
      if (block !== undefined && (inside?.dim !== shape[0] || inside!.rows > block))
        faults.push(`launch ${at} uses ${name}, which holds another block`);
      const cut = shape.findIndex(
        (extent, i) => dependsOn(extent, inside?.dim) && !(i === 0 && extent === inside?.dim),
      );
      if (block === undefined && inside !== undefined && cut >= 0)
        faults.push(`launch ${at} uses ${name}, whose rows are not its first dim`);
    }
  }
  for (const { kind, name, block } of buffers)
    if (block !== undefined && kind !== "temp") faults.push(`${name} is no temp and holds a block`);
  return faults;
}

function dependsOn(extent: Extent, dim: string | undefined): boolean {
  return typeof extent === "string" && runTimeDim(extent).dim === dim;
}

function verifyTogether(program: LaunchProgram, kernels: ReadonlyMap<string, Kernel>): string[] {
  const { launches, blocks = [], together = [] } = program;
  const faults: string[] = [];
  let end = 0;
  for (const [i, { first, count }] of together.entries()) {
    const where = `together ${i}`;
    const isCut = blocks.some((each) => first < each.first + each.count && each.first < first + count);
    if (first < end || count < 2 || first + count > launches.length || isCut)
      faults.push(`${where} are the launches ${first} to ${first + count - 1}`);
    end = first + count;
    const all = launches.slice(first, end);
    const kernel = kernels.get(all[0]?.kernel ?? "");
    if (kernel === undefined) continue;
    if (!isOfLists(kernel)) faults.push(`${where} launch @${kernel.name}, which is no kernel of lists`);
    if (all.some((launch) => launch.kernel !== kernel.name)) faults.push(`${where} launch several kernels`);
    const touched = new Map<number, number>();
    for (const [at, { args }] of all.entries()) {
      for (const [j, arg] of kernel.args.entries()) {
        const buffer = args[j]!;
        if (!isOfOneList(arg)) {
          if (buffer !== all[0]!.args[j]) faults.push(`${where} give ${arg.name} several buffers`);
        } else if (arg.access !== "read") touched.set(buffer, at);
      }
    }
    for (const [at, { args }] of all.entries()) {
      const other = args.find((buffer) => (touched.get(buffer) ?? at) !== at);
      if (other !== undefined)
        faults.push(`launch ${first + at} touches #${other}, which another one of ${where} writes`);
    }
  }
  return faults;
}

function verifyKernel(kernel: Kernel): string[] {
  if (kernel.family !== "parts") return new KernelVerifier(kernel).verify();
  const { parts, args, extents } = kernel;
  const faults = parts.flatMap((part) => new KernelVerifier(part).verify().map((fault) => `${part.name}: ${fault}`));
  const all = allParts(parts);
  if (parts.length < 2) faults.push("there are no parts to run together");
  if (JSON.stringify([all.args, all.extents]) !== JSON.stringify([args, extents]))
    faults.push("arguments and extents are not those of the parts");
  for (const part of parts) {
    for (const { name, access } of part.args) {
      const others = parts.filter((other) => other !== part && other.args.some((arg) => arg.name === name));
      if (access !== "read" && others.length > 0)
        faults.push(`${name} is written by ${part.name} and used by ${others[0]!.name}`);
    }
  }
  const inside = parts.flatMap(insideNames);
  if (new Set([...inside, ...args.map(({ name }) => name)]).size !== inside.length + args.length)
    faults.push("two parts have one name");
  return faults;
}

interface Store {
  readonly dtype: ScalarType;
  readonly rank: number;
  readonly writable: boolean;
}

class KernelVerifier {
  readonly #kernel: SoloKernel;
  readonly #shapes: ReadonlyMap<string, Store>;
  readonly #faults: string[] = [];

  constructor(kernel: SoloKernel) {
    this.#kernel = kernel;
    const locals = "locals" in kernel ? kernel.locals : kernel.family === "gemm" ? (kernel.prologue?.locals ?? []) : [];
    const products = kernel.family === "gemm" ? kernel.products : [];
    this.#shapes = new Map<string, Store>([
      ...kernel.args.map(
        ({ name, dtype, shape, access }) => [name, { dtype, rank: shape.length, writable: access !== "read" }] as const,
      ),
      ...locals.map(({ name, dtype, shape }) => [name, { dtype, rank: shape.length, writable: true }] as const),
      ...products.map(({ name, dtype }) => [name, { dtype, rank: 0, writable: false }] as const),
    ]);
    if (this.#shapes.size !== kernel.args.length + locals.length + products.length)
      this.#faults.push("a name is taken twice");
  }

  verify(): string[] {
    const kernel = this.#kernel;
    switch (kernel.family) {
      case "rows":
        for (const stmt of kernel.body) this.#stmt(stmt, kernel.rows);
        break;
      case "serial":
        for (const stmt of kernel.body) this.#stmt(stmt, []);
        if (kernel.body.some(({ kind }) => kind === "sort") && kernel.body.length + kernel.locals.length > 1)
          this.#faults.push("rows are sorted beside other statements");
        break;
      case "columns":
        this.#axes([...kernel.columns, ...kernel.over]);
        for (const { value, ...target } of kernel.sums) {
          this.#expr(value, [...kernel.columns, ...kernel.over]);
          this.#target(target, kernel.columns);
        }
        break;
      case "gemm": {
        const { batch, m, n, products, groups, prologue, epilogue } = kernel;
        this.#axes([...batch, ...m, ...n]);
        if (prologue !== undefined) {
          if (batch.length > 0 || groups !== undefined) this.#faults.push("a prologue has batches or groups");
          if (prologue.locals.some(({ shape }) => shape.length > 0)) this.#faults.push("a prologue has an array");
          for (const stmt of prologue.body) this.#stmt(stmt, m);
        }
        const grouped = groups?.over === "m" ? [groups.group] : [];
        for (const { k, a, b } of products) {
          this.#axes(k);
          this.#expr(a, [...batch, ...m, ...k]);
          this.#expr(b, [...batch, ...n, ...k, ...grouped]);
          if (groups !== undefined) this.#expr(groups.of, groups.over === "m" ? m : k);
        }
        for (const stmt of epilogue) this.#stmt(stmt, [...batch, ...m, ...n]);
        break;
      }
      case "plane": {
        this.#axes([...kernel.batch, ...kernel.rows, kernel.column]);
        if (kernel.span !== undefined) {
          this.#expr(kernel.span.from, kernel.rows.slice(0, 1));
          this.#expr(kernel.span.to, kernel.rows.slice(0, 1));
        }
        for (const stmt of kernel.body) this.#planeStmt(stmt);
      }
    }
    return this.#faults;
  }

  #planeStmt(stmt: PlaneStmt): void {
    const kernel = this.#kernel;
    if (kernel.family !== "plane") return;
    const { batch, rows, column } = kernel;
    switch (stmt.kind) {
      case "row":
        return this.#stmt(stmt.stmt, [...batch, ...rows]);
      case "enter":
        this.#plane(stmt.local);
        for (const { k, a, b } of stmt.products) {
          this.#expr(a, [...batch, ...rows, ...k]);
          this.#expr(b, [...batch, column, ...k]);
        }
        return;
      case "leave_rows":
        this.#plane(stmt.local);
        this.#expr(stmt.b, [...batch, column, ...stmt.n]);
        return this.#target(stmt, [...batch, ...rows, ...stmt.n]);
      case "leave_columns":
        this.#plane(stmt.local);
        this.#expr(stmt.x, [...batch, ...rows, ...stmt.n]);
        return this.#target(stmt, [...batch, column, ...stmt.n]);
    }
  }

  #plane(local: string): void {
    if (this.#shapes.get(local)?.rank !== 1) this.#faults.push(`${local} is no plane`);
  }

  #stmt(stmt: Stmt, bound: readonly Axis[]): void {
    const inner = [...bound, ...stmt.axes];
    const over =
      "over" in stmt ? (Array.isArray(stmt.over) ? (stmt.over as readonly Axis[]) : [stmt.over as Axis]) : [];
    this.#axes([...stmt.axes, ...over]);
    this.#expr(stmt.value, [...inner, ...over]);
    switch (stmt.kind) {
      case "sort":
        if (this.#kernel.family !== "serial") this.#faults.push("rows are sorted inside of rows");
        if (typeof stmt.axes[1].extent !== "number") this.#faults.push("tiles of rows have a size that a launch gives");
        return this.#target(stmt, inner);
      case "assign":
      case "reduce":
        return this.#target(stmt, inner);
      case "top_k":
        return this.#target(stmt, [...inner, stmt.counter]);
      case "rank":
      case "scan":
        return this.#target(stmt, [...inner, stmt.over]);
      case "scatter":
        this.#expr(stmt.when, inner);
        this.#target({ to: stmt.to, at: stmt.zeroedAt }, [...bound, ...stmt.zeroed]);
        return this.#target(stmt, inner);
    }
  }

  #target({ to, at }: Target, bound: readonly Axis[]): void {
    const store = this.#shapes.get(to);
    if (store === undefined) this.#faults.push(`there is no ${to}`);
    else if (!store.writable) this.#faults.push(`${to} is written`);
    else if (store.rank !== at.length) this.#faults.push(`${to} is written with ${at.length} indices`);
    for (const index of at) this.#expr(index, bound);
  }

  #axes(axes: readonly Axis[]): void {
    for (const { name, extent } of axes) {
      if (typeof extent === "string" && !this.#kernel.extents.includes(extent))
        this.#faults.push(`the axis ${name} runs to ${extent}, which no launch gives`);
    }
  }

  #expr(expr: Expr, bound: readonly Axis[]): void {
    const names = new Set(bound.map(({ name }) => name));
    walk(expr, (part) => {
      if (part.kind === "axis" && !names.has(part.axis)) this.#faults.push(`the axis ${part.axis} is not bound here`);
      if (part.kind === "extent" && !this.#kernel.extents.includes(part.extent))
        this.#faults.push(`the extent ${part.extent} is not known`);
      if (part.kind === "op" && part.operands.length !== arityOf(part.op))
        this.#faults.push(`${part.op} has ${part.operands.length} operands`);
      if (part.kind !== "load") return;
      const store = this.#shapes.get(part.from);
      if (store === undefined) this.#faults.push(`there is no ${part.from}`);
      else if (store.rank !== part.at.length) this.#faults.push(`${part.from} is read with ${part.at.length} indices`);
      else if (store.dtype !== part.dtype) this.#faults.push(`${part.from} is read as ${part.dtype}`);
    });
  }
}
