/** Matrix products in f32: blocks of results, one per item, with packed operands (templates/cpu/gemm.h.hbs). */
import type { Lines } from "../../emit/lines.ts";
import { add, known, loadedBy, walk } from "../../kernel-ir/expr.ts";
import type { Axis, Expr, GemmKernel, Product } from "../../kernel-ir/types.ts";
import { Frame, product } from "./frame.ts";
import { codesOf, insideGroup, linear, type Operand, operandOf, type Place } from "../operands.ts";
import { type Blocks, blocksFor, type GemmShape, TILES } from "./gemm-tiles.ts";
import { STORAGE_BYTES } from "../../../runtime/program/launch.ts";
import { Scalars } from "../scalars.ts";
import { CPP, storageType } from "./cpp.ts";

/** A kernel of which `products` compute in f32 and groups have a known number. */
export function printPackedGemm(kernel: GemmKernel): string {
  return new PackedGemm(kernel).file();
}

/** Floats of the longest vector. */
const WIDEST = Math.max(...TILES.map(({ lanes }) => lanes));

/** How many B may stay packed: what a thread has of them is in the bytes that are zero at first (templates/cpu/abi.h). */
const KEPT = 4;

/** Products with the same A: it is packed once for all of them. */
interface Shared {
  readonly k: readonly Axis[];
  readonly a: Side;
  readonly products: readonly SharingProduct[];
}

interface SharingProduct {
  readonly b: Side;
  readonly sums: string;
  /** Its number among the products of the kernel, and where its B is packed. */
  readonly number: number;
  readonly panels: string;
}

/** An operand, and the arrays that a block of it needs: offsets, values when it is computed. */
interface Side {
  readonly operand: Operand;
  readonly outer: readonly Axis[];
  readonly at: string;
  readonly k: string;
  readonly values: string;
  /** Of codes: offsets of their scales, and scales as floats. */
  readonly scale?: { readonly at: string; readonly k: string; readonly factors: string };
}

/** Where results lie, when they are only stored: rows at equal distances, columns next to each other. */
interface Target {
  readonly to: string;
  /** One index per dim of the argument for what a whole item has in common. */
  readonly fixed: readonly Expr[];
  readonly stride: number;
}

class PackedGemm {
  readonly #kernel: GemmKernel;
  readonly #target: Target | undefined;
  readonly #frame: Frame;
  readonly #blocks: Blocks;
  readonly #shared: readonly Shared[];
  readonly #sums = new Map<string, string>();
  /** Locals of the prologue that operands use, and the array with that of each row of the block. */
  readonly #statistics: ReadonlyMap<string, string>;
  readonly #panels: readonly string[];
  readonly #fetched: readonly Place[];
  #temps = 0;

  constructor(kernel: GemmKernel) {
    this.#kernel = kernel;
    const results = kernel.products.map(({ name }) => ({ name, dtype: "f32" as const, shape: [] }));
    this.#frame = new Frame(kernel, [...(kernel.prologue?.locals ?? []), ...results], "gemm.h");
    const all = kernel.products.map((given) => insideGroup(given, kernel, () => undefined));
    this.#blocks = blocksFor(shapeOf(kernel, all));
    this.#target = targetOf(kernel);
    this.#frame.first(this.#name("kept"), "dsk_kept", String(KEPT));
    this.#array("float", "blocks.panels()", "panels");
    this.#panels = all.slice(0, KEPT).map((_, i) => this.#array("float", "blocks.panel()", `panel${suffix(i)}`));
    this.#fetched = this.#target === undefined ? rowsOf(kernel) : [];
    const lines = countsOf(this.#fetched.map(({ arg }) => storageType(this.#frame.names.store(arg).dtype))).map(
      ([type, count]) => ` + ${count} * blocks.rows * dsk_fetch::lines_of<${type}>(blocks.columns)`,
    );
    this.#array("const void*", `1${lines.join("")}`, "lines");
    this.#statistics = new Map(
      (kernel.prologue?.locals ?? [])
        .filter(({ name }) => all.some(({ a }) => loadedBy(a).includes(name)))
        .map(({ name }) => [name, this.#array("float", "blocks.rows", `${name}_of_row`)]),
    );
    const keys = [...new Set(all.map(shareKey))];
    this.#shared = keys.map((key, i) =>
      this.#share(
        all.filter((one) => shareKey(one) === key),
        i,
      ),
    );
  }

  get #body(): Lines {
    return this.#frame.body;
  }

  /** A name of this printer. */
  #name(hint: string): string {
    return this.#frame.names.local(hint);
  }

  #array(type: string, count: string, hint: string): string {
    return this.#frame.reserve(this.#name(hint), type, count);
  }

  #share(products: readonly Product[], number: number): Shared {
    const { m, n } = this.#kernel;
    const { k, a } = products[0]!;
    return {
      k,
      a: this.#side(a, m, k, "a", suffix(number)),
      products: products.map(({ name, b }) => {
        const index = this.#sums.size;
        const own = suffix(index);
        const sums = this.#target === undefined ? this.#array("float", "blocks.sums()", `sums${own}`) : "";
        this.#sums.set(name, sums);
        return { b: this.#side(b, n, k, "b", own), sums, number: index, panels: this.#panels[index % KEPT]! };
      }),
    };
  }

  #side(value: Expr, outer: readonly Axis[], k: readonly Axis[], which: "a" | "b", suffix: string): Side {
    const operand = (which === "a" ? operandOf : codesOf)(value, outer, k, this.#kernel.args);
    const hint = `${which}${suffix}`;
    const scale = operand.kind === "strided" && operand.scale !== undefined;
    return {
      operand,
      outer,
      at: this.#array("int64_t", which === "a" ? "blocks.rows" : "blocks.most_columns()", `${hint}_at`),
      k: this.#array("int64_t", "blocks.most_depth()", `${hint}_k`),
      values: operand.kind === "computed" ? this.#array("float", `blocks.${which}_values()`, `${hint}_values`) : "",
      ...(scale
        ? {
            scale: {
              at: this.#array("int64_t", "blocks.most_columns()", `${hint}_scale_at`),
              k: this.#array("int64_t", "blocks.most_depth()", `${hint}_scale_k`),
              factors: this.#array("float", "blocks.most_columns()", `${hint}_factors`),
            },
          }
        : {}),
    };
  }

  file(): string {
    const { batch, m, groups } = this.#kernel;
    const body = this.#body;
    const [item, cut, block] = [this.#name("item"), this.#name("cut"), this.#name("block")];
    const whole = `${cut}${this.#cut(sizeOf(m))}`;
    const counting: string[] = [];
    let perBatch = `${cut}.items()`;
    if (groups?.over === "m") {
      counting.push(...this.#sortGroups(m));
      perBatch = `${this.#name("first_item")}[${groups.group.extent} + 1]`;
    } else {
      counting.push(`const dsk_gemm_cut ${whole};`);
      body.add(`const dsk_gemm_cut ${whole};`);
      if (groups !== undefined) counting.push(...this.#sortGroups(this.#kernel.products[0]!.k));
    }
    const items = this.#name("items");
    const outer = this.#name("outer");
    body.block(`for (int64_t ${item} = begin, ${items}; ${item} < end; ${item} += ${items})`, () => {
      let own = item;
      if (batch.length > 0) {
        const each = groups?.over === "m" ? `first_item[${Number(groups.group.extent) + 1}]` : `${cut}.items()`;
        body.add(`const int64_t ${outer} = ${item} / ${each};`);
        this.#frame.unpack(batch, outer);
        own = `${item} % ${each}`;
      }
      if (groups?.over === "m") this.#enterGroup(own, `end - ${item}`);
      else body.add(`const dsk_gemm_block ${block} = ${cut}.block(${own}, end - ${item});`);
      body.add(`${items} = ${block}.items;`);
      this.#prologue();
      this.#fetch();
      for (const shared of this.#shared) this.#multiply(shared);
      if (this.#target === undefined) this.#epilogue();
    });
    return this.#frame.file(product([...batch.map(({ extent }) => String(extent)), perBatch]), {
      counting,
      before: [blocksText(this.#blocks)],
      notes: this.#notes(),
    });
  }

  #notes(): string[] {
    const { m, n, products, groups } = this.#kernel;
    const flops = products.map(({ k }) => product([...n, ...k].map(({ extent }) => String(extent))));
    return [
      `m ${sizeOf(m)}, n ${sizeOf(n)}, k ${products.map(({ k }) => sizeOf(k)).join(" and ")}: ` +
        `2 * ${flops.join(" + ")} floating point operations per row` +
        (groups?.over === "m" ? `; the rows of each of ${groups.group.extent} groups together` : "") +
        (groups?.over === "k" ? `; the terms of each of ${groups.group.extent} groups together` : ""),
    ];
  }

  #scalars(lines: Lines, ...exprs: readonly Expr[]): Scalars {
    const scalars = new Scalars(CPP, this.#frame.names, lines, () => this.#name(`v${this.#temps++}`));
    scalars.prepare(...exprs);
    return scalars;
  }

  /** How so many rows are cut into blocks, as arguments of dsk_gemm_cut. */
  #cut(rows: string): string {
    const { batch, n, products, groups } = this.#kernel;
    const terms = products.map(({ k }) => sizeOf(k)).join(" + ");
    const others = [...batch, ...(groups?.over === "m" ? [groups.group] : [])];
    return `(blocks, ${rows}, ${sizeOf(n)}, ${terms}, ${sizeOf(others)})`;
  }

  // Groups

  /** Brings the members of each group together, once for all items, and counts the items of each group of rows. */
  #sortGroups(axes: readonly Axis[]): string[] {
    const { groups } = this.#kernel;
    const { group, of, over } = groups!;
    const size = sizeOf(axes);
    const share = (type: string, count: string, hint: string): string =>
      this.#frame.share(this.#name(hint), type, count);
    const groupOf = share("int32_t", size, "group_of");
    const start = share("int64_t", `${group.extent} + 2`, "start");
    const order = share("int64_t", size, "order");
    const [i, g] = [this.#name("i"), this.#name("g")];
    const counting = new Frame(this.#kernel, []);
    const { body } = counting;
    body.block(`for (int64_t ${i} = 0; ${i} < ${size}; ${i}++)`, () => {
      counting.unpack(axes, i);
      const scalars = new Scalars(CPP, counting.names, body, () => this.#name(`v${this.#temps++}`));
      scalars.prepare(of);
      body.add(`${groupOf}[${i}] = ${scalars.print(of)};`);
    });
    body.add(`dsk_sort_groups(${groupOf}, ${size}, ${group.extent}, ${start}, ${order});`);
    if (over === "m") {
      const first = share("int64_t", `${group.extent} + 2`, "first_item");
      body.add(
        `${first}[0] = 0;`,
        `for (int64_t ${g} = 0; ${g} <= ${group.extent}; ${g}++)`,
        `  ${first}[${g} + 1] = ${first}[${g}] + dsk_gemm_cut${this.#cut(`${start}[${g} + 1] - ${start}[${g}]`)}.items();`,
      );
    }
    return body.text().trimEnd().split("\n");
  }

  /** The block of an item among those of all groups; the last group is that of rows without one. */
  #enterGroup(item: string, count: string): void {
    const { groups } = this.#kernel;
    const { group } = groups!;
    const g = this.#frame.names.axis(group.name);
    const [first, start] = [this.#name("first_item"), this.#name("start")];
    this.#body.add(
      `const int64_t ${g} = dsk_group_of_item(${first}, ${group.extent} + 1, ${item});`,
      `const dsk_gemm_cut ${this.#name("cut")}${this.#cut(`${start}[${g} + 1] - ${start}[${g}]`)};`,
      `const dsk_gemm_block ${this.#name("block")} = ${this.#name("cut")}.block(${item} - ${first}[${g}], ${count});`,
    );
  }

  // Products

  /** The index of row i of the block, among all of m. */
  #row(i: string): string {
    const { groups } = this.#kernel;
    const at = `${this.#name("block")}.m + ${i}`;
    if (groups?.over !== "m") return at;
    return `${this.#name("order")}[${this.#name("start")}[${this.#frame.names.axis(groups.group.name)}] + ${at}]`;
  }

  /** The index of term j of those that are packed, among all of k. */
  #term(j: string): string {
    const { groups } = this.#kernel;
    const at = `${this.#name("k0")} + ${j}`;
    if (groups?.over !== "k") return at;
    return `${this.#name("order")}[${this.#name("start")}[${this.#frame.names.axis(groups.group.name)}] + ${at}]`;
  }

  /** How many terms the results of an item have. */
  #terms(k: readonly Axis[]): string {
    const { groups } = this.#kernel;
    if (groups === undefined) return sizeOf(k);
    const g = this.#frame.names.axis(groups.group.name);
    const start = this.#name("start");
    return groups.over === "k"
      ? `${start}[${g} + 1] - ${start}[${g}]`
      : `${g} < ${groups.group.extent} ? ${sizeOf(k)} : 0`;
  }

  /** What each row of the block has for itself. */
  #prologue(): void {
    const { prologue, m } = this.#kernel;
    if (prologue === undefined) return;
    const body = this.#body;
    const i = this.#name("i");
    body.block(`for (int64_t ${i} = 0; ${i} < ${this.#name("block")}.rows; ${i}++)`, () => {
      this.#frame.unpack(m, `(${this.#row(i)})`);
      this.#frame.scalars(prologue.locals);
      for (const stmt of prologue.body) this.#frame.statements.print(stmt);
      for (const [name, array] of this.#statistics) body.add(`${array}[${i}] = ${name};`);
    });
  }

  /** What the epilogue reads and writes is brought while the products run. */
  #fetch(): void {
    const body = this.#body;
    const [fetch, lines, block, i] = ["fetch", "lines", "block", "i"].map((hint) => this.#name(hint)) as string[];
    body.add(`dsk_fetch ${fetch}(${lines});`);
    if (this.#fetched.length === 0) return;
    body.block(`if (${block}.rows > dsk_few_rows)`, () =>
      body.block(`for (int64_t ${i} = 0; ${i} < ${block}.rows; ${i}++)`, () => {
        this.#frame.unpack(this.#kernel.m, `(${this.#row(i!)})`);
        for (const { arg, at } of this.#fetched) {
          const offset = this.#offset(
            arg,
            at.fixed.map((x, dim) => add(x, at.outer[dim]!)),
          );
          body.add(`${fetch}.add(${arg} + ${offset} + ${block}.n, ${block}.columns);`);
        }
      }),
    );
  }

  /** The number of the first column of the block among those of all batches and groups. */
  #columns(): string {
    const { batch, n, groups } = this.#kernel;
    let before = batch.length > 0 ? this.#name("outer") : "";
    if (groups?.over === "m") {
      const g = this.#frame.names.axis(groups.group.name);
      before = before === "" ? g : `(${before} * (${groups.group.extent} + 1) + ${g})`;
    }
    const first = `${this.#name("block")}.n`;
    return before === "" ? first : `${before} * ${sizeOf(n)} + ${first}`;
  }

  #multiply({ k, a, products }: Shared): void {
    const body = this.#body;
    const names = ["block", "cut", "k0", "terms", "step", "depth", "panels", "kept", "columns", "rows"].map((hint) =>
      this.#name(hint),
    );
    const [block, cut, k0, terms, step, depth, panels, kept, columns, rows] = names as [
      string,
      ...string[],
    ] as string[];
    body.block("", () => {
      body.add(`const int64_t ${terms} = ${this.#terms(k)}, ${step} = ${cut}.depth(${terms});`);
      body.add(`const int64_t ${columns} = ${this.#columns()};`);
      this.#outerOffsets(a, `${block}.rows`, (i) => this.#row(i));
      for (const { b } of products) this.#outerOffsets(b, `${block}.columns`, (i) => `${block}.n + ${i}`);
      // Once without terms, too: sums are 0 then.
      body.block(`for (int64_t ${k0} = 0; ${k0} == 0 || ${k0} < ${terms}; ${k0} += ${step})`, () => {
        body.add(`const int64_t ${depth} = dsk_min(${step}, ${terms} - ${k0});`);
        const left = this.#operand(a, k, `${block}.rows`, (i) => this.#row(i));
        body.add(`const dsk_left ${rows} = dsk_pack(${panels}, ${left}, ${a.at}, ${block}.rows, ${a.k}, ${depth});`);
        for (const { b, sums, number, panels: own } of products) {
          const right = this.#operand(b, k, `${block}.columns`, (i) => `${block}.n + ${i}`);
          body.add(
            `dsk_multiply(${this.#results(sums)}, ${k0} == 0, ${rows}, ${block}.rows,`,
            `             ${right}, ${b.at}, ${block}.columns, ${b.k}, ${depth},`,
            `             {${own}, ${kept} + ${number % KEPT}, {${number}, ${columns}, ${k0}}}, ${this.#name("fetch")});`,
          );
        }
      });
    });
  }

  /** Where a block of results is summed, and the floats between its rows. */
  #results(sums: string): string {
    const block = this.#name("block");
    if (this.#target === undefined) return `${sums}, ${block}.stride()`;
    const { to, fixed, stride } = this.#target;
    const offset = this.#offset(to, fixed);
    return `${to} + ${offset === "0" ? "" : `${offset} + `}${block}.m * ${stride} + ${block}.n, ${stride}`;
  }

  /** Offsets of the rows of A or the columns of B, when they are the same for all terms. */
  #outerOffsets({ operand, outer, at, scale }: Side, count: string, place: (i: string) => string): void {
    if (operand.kind !== "strided") return;
    this.#offsets(at, operand.arg, operand.at.outer, outer, count, place);
    if (operand.scale !== undefined && scale !== undefined)
      this.#offsets(scale.at, operand.scale.arg, operand.scale.at.outer, outer, count, place);
  }

  /** What the offsets are relative to. Fills those of the terms, and computes what is no plain load. */
  #operand(
    { operand, outer, at, k: kAt, values, scale }: Side,
    k: readonly Axis[],
    size: string,
    place: (i: string) => string,
  ): string {
    const body = this.#body;
    const depth = this.#name("depth");
    const [i, j] = [this.#name("i"), this.#name("j")];
    if (operand.kind === "strided") {
      this.#offsets(kAt, operand.arg, operand.at.k, k, depth, (x) => this.#term(x));
      const fixed = this.#offset(operand.arg, operand.at.fixed);
      if (operand.scale !== undefined && scale !== undefined) {
        this.#offsets(scale.k, operand.scale.arg, operand.scale.at.k, k, depth, (x) => this.#term(x));
        const first = this.#offset(operand.scale.arg, operand.scale.at.fixed);
        const scales = first === "0" ? operand.scale.arg : `${operand.scale.arg} + ${first}`;
        const type = storageType(this.#frame.names.store(operand.arg).dtype);
        return `dsk_codes<${type}>{${operand.arg}, ${fixed}, ${scales}, ${scale.at}, ${scale.k}, ${scale.factors}}`;
      }
      return fixed === "0" ? operand.arg : `${operand.arg} + ${fixed}`;
    }
    const { value, alongK } = operand;
    const outerLoop = alongK
      ? { i, size, axes: outer, place }
      : { i: j, size: depth, axes: k, place: (x: string) => this.#term(x) };
    const innerLoop = alongK
      ? { i: j, size: depth, axes: k, place: (x: string) => this.#term(x) }
      : { i, size, axes: outer, place };
    // The row is known in the loop over rows, whichever it is.
    const statistics = (loop: string): void => {
      for (const [name, array] of this.#statistics)
        if (loop === i && loadedBy(value).includes(name)) body.add(`const float ${name} = ${array}[${i}];`);
    };
    body.block(`for (int64_t ${outerLoop.i} = 0; ${outerLoop.i} < ${outerLoop.size}; ${outerLoop.i}++)`, () => {
      this.#frame.unpack(outerLoop.axes, `(${outerLoop.place(outerLoop.i)})`);
      statistics(outerLoop.i);
      body.add("#pragma omp simd");
      body.block(`for (int64_t ${innerLoop.i} = 0; ${innerLoop.i} < ${innerLoop.size}; ${innerLoop.i}++)`, () => {
        this.#frame.unpack(innerLoop.axes, `(${innerLoop.place(innerLoop.i)})`);
        statistics(innerLoop.i);
        const scalars = this.#scalars(body, value);
        body.add(`${values}[${outerLoop.i} * ${innerLoop.size} + ${innerLoop.i}] = ${scalars.print(value)};`);
      });
    });
    body.add(
      `for (int64_t ${i} = 0; ${i} < ${size}; ${i}++) ${at}[${i}] = ${alongK ? `${i} * ${depth}` : i};`,
      `for (int64_t ${j} = 0; ${j} < ${depth}; ${j}++) ${kAt}[${j}] = ${alongK ? j : `${j} * ${size}`};`,
    );
    return values;
  }

  #offset(arg: string, at: readonly Expr[]): string {
    if (at.every((x) => known(x) === 0)) return "0";
    const scalars = this.#scalars(this.#body, ...at);
    return this.#frame.names.offset(arg, at, (x) => scalars.print(x));
  }

  #offsets(
    array: string,
    arg: string,
    at: readonly Expr[],
    axes: readonly Axis[],
    count: string,
    place: (i: string) => string,
  ): void {
    const body = this.#body;
    const i = this.#name("i");
    const loop = `for (int64_t ${i} = 0; ${i} < ${count}; ${i}++)`;
    const stride = linear(axes, at, this.#frame.names.store(arg).shape);
    if (stride !== undefined) {
      const text = stride === 1 ? place(i) : stride === 0 ? "0" : `(${place(i)}) * ${stride}`;
      body.add(`${loop} ${array}[${i}] = ${text};`);
      return;
    }
    body.block(loop, () => {
      this.#frame.unpack(axes, `(${place(i)})`);
      body.add(`${array}[${i}] = ${this.#offset(arg, at)};`);
    });
  }

  // Results

  /** The statements of the epilogue for all results of the block, along the last axis of n. */
  #epilogue(): void {
    const { m, n } = this.#kernel;
    const body = this.#body;
    const [block, i, j, s] = ["block", "i", "j", "s"].map((hint) => this.#name(hint)) as [
      string,
      string,
      string,
      string,
    ];
    const results = (column: string): void => {
      for (const [name, sums] of this.#sums)
        body.add(`const float ${name} = ${sums}[${i} * ${block}.stride() + ${column}];`);
      this.#frame.statements.printTogether(this.#kernel.epilogue);
    };
    body.block(`for (int64_t ${i} = 0; ${i} < ${block}.rows; ${i}++)`, () => {
      this.#frame.unpack(m, `(${this.#row(i)})`);
      if (n.length <= 1) {
        body.add("#pragma omp simd");
        body.block(`for (int64_t ${j} = 0; ${j} < ${block}.columns; ${j}++)`, () => {
          this.#frame.unpack(n, `${block}.n + ${j}`);
          results(j);
        });
        return;
      }
      // Stretches in which only the last axis moves.
      const [from, length] = [this.#name("from"), this.#name("length")];
      const last = n.at(-1)!;
      body.block(`for (int64_t ${j} = 0; ${j} < ${block}.columns;)`, () => {
        body.add(`const int64_t ${from} = (${block}.n + ${j}) % ${last.extent};`);
        body.add(`const int64_t ${length} = dsk_min(${last.extent} - ${from}, ${block}.columns - ${j});`);
        this.#frame.unpack(n.slice(0, -1), `((${block}.n + ${j}) / ${last.extent})`);
        body.add("#pragma omp simd");
        body.block(`for (int64_t ${s} = 0; ${s} < ${length}; ${s}++)`, () => {
          this.#frame.unpack([last], `${from} + ${s}`);
          results(`${j} + ${s}`);
        });
        body.add(`${j} += ${length};`);
      });
    });
  }
}

/** Results that need no epilogue, in whole vectors: they are summed where they belong. */
function targetOf({ m, n, products, epilogue, groups, args }: GemmKernel): Target | undefined {
  const [stmt, ...others] = epilogue;
  if (stmt?.kind !== "assign" || stmt.axes.length > 0 || others.length > 0) return undefined;
  if (products.length !== 1 || groups?.over === "m" || points(n) % WIDEST !== 0) return undefined;
  const { to, at, value } = stmt;
  if (value.kind !== "load" || value.from !== products[0]!.name) return undefined;
  const arg = args.find(({ name }) => name === to);
  if (arg?.dtype !== "f32" || arg.access !== "write") return undefined;
  const place = operandOf({ kind: "load", from: to, at, dtype: "f32" }, m, n, args);
  if (place.kind !== "strided" || linear(n, place.at.k, arg.shape) !== 1) return undefined;
  const stride = linear(m, place.at.outer, arg.shape);
  return stride === undefined ? undefined : { to, fixed: place.at.fixed, stride };
}

/** What the epilogue reads and writes of a row: neighbors for neighboring columns. */
function rowsOf({ m, n, epilogue, args }: GemmKernel): Place[] {
  const found = new Map<string, Place>();
  const look = (value: Expr): void => {
    if (value.kind !== "load" || !args.some(({ name }) => name === value.from)) return;
    const place = operandOf(value, m, n, args);
    if (place.kind !== "strided") return;
    const { shape } = args.find(({ name }) => name === place.arg)!;
    const moves = place.at.outer.some((x) => known(x) !== 0);
    if (moves && linear(n, place.at.k, shape) === 1) found.set(JSON.stringify([place.arg, place.at]), place);
  };
  for (const stmt of epilogue) {
    if (stmt.kind !== "assign" || stmt.axes.length > 0) continue;
    const { dtype } = args.find(({ name }) => name === stmt.to)!;
    look({ kind: "load", from: stmt.to, at: stmt.at, dtype });
    walk(stmt.value, look);
  }
  return [...found.values()];
}

/** What the blocks depend on: the longest sum, the narrowest elements of B. */
function shapeOf({ n, args }: GemmKernel, products: readonly Product[]): GemmShape {
  const operands = products.map(({ k, b }) => codesOf(b, n, k, args));
  const bytes = operands.map((operand) =>
    operand.kind === "strided" ? STORAGE_BYTES[args.find(({ name }) => name === operand.arg)!.dtype] : undefined,
  );
  return {
    n: points(n),
    k: Math.max(...products.map(({ k }) => points(k))),
    bytes: bytes.includes(undefined) ? undefined : Math.min(...(bytes as number[])),
  };
}

/** How many points axes have; infinitely many where that is not known. */
function points(axes: readonly Axis[]): number {
  return axes.reduce((count, { extent }) => count * (typeof extent === "number" ? extent : Infinity), 1);
}

function shareKey({ k, a }: Product): string {
  return JSON.stringify([k, a]);
}

/** The number of points of axes, as a C++ expression. */
function sizeOf(axes: readonly Axis[]): string {
  return product(axes.map(({ extent }) => String(extent)));
}

/** Each value once, and how often it is there. */
function countsOf(values: readonly string[]): [value: string, count: number][] {
  return [...new Set(values)].map((value) => [value, values.filter((other) => other === value).length]);
}

/** What sets the names of several things of a kind apart. */
function suffix(index: number): string {
  return index === 0 ? "" : `_${index + 1}`;
}

function blocksText({ rows, columns, depth, fewColumns, fewDepth }: Blocks): string {
  return `static constexpr dsk_gemm_blocks blocks = {.rows = ${rows}, .columns = ${columns}, .depth = ${depth}, .few_columns = ${fewColumns}, .few_depth = ${fewDepth}};`;
}
