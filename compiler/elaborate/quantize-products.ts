/**
 * Products in eight bits (DeepSeek-V3, section 3.3): what a product with a param reads becomes codes with a scale for each tile,
 * forward, for gradients of activations, and for gradients of params, whose tiles lie along tokens. Of experts' params each tile has rows
 * of one expert: rows are put into that order first.
 */
import { stringAttr } from "../tensor-ir/attrs.ts";
import { ProgramBuilder } from "../tensor-ir/builder.ts";
import { replaceDim, sameDims, withoutDims } from "../tensor-ir/ops/dims.ts";
import { tilesLabel, tilesOfGroups } from "../tensor-ir/tiles.ts";
import type { DimLabel, Op, Program, TensorType, Value } from "../tensor-ir/types.ts";

/** How operands of products are stored in f8e4m3: elements that share a scale, largest magnitude / 448. */
export interface Quantization {
  /** Neighbors of an activation along the dims that a product sums. */
  readonly activations: number;
  /** Neighbors of a param along the dims that a product sums forward, and along its others. */
  readonly weights: readonly [sums: number, others: number];
  /** Whether products with the param of this path are in eight bits. */
  readonly quantizes: (path: string) => boolean;
  /**
   * The dim of logits: gradients of what they are made with stay as they are, since blocks of tokens add up to them while logits of all tokens
   * are never there (compiler/lower/fuse-loss.ts).
   */
  readonly vocabulary?: DimLabel;
}

/** The largest f8e4m3 number, and the least that a tile's largest magnitude counts as (DeepSeek-V3, inference/kernel.py). */
const LARGEST = 448;
const LEAST = 1e-4;

/** Ops whose results have the elements of their first operand, in another order or dtype. */
const MOVES = new Set(["tensor.cast", "tensor.rename", "tensor.broadcast", "tensor.split_dim", "tensor.merge_dims"]);

const PRODUCTS = new Set(["tensor.contract", "moe.contract", "moe.contract_weight"]);

/** Rows of experts in tiles, none of which has rows of two. */
interface Order {
  readonly tiles: DimLabel;
  /** The places of a tile. */
  readonly place: DimLabel;
  /** The number of the row at each place, -1 for none. */
  readonly rows: Value;
  /** The expert of each tile, -1 for none. */
  readonly experts: Value;
}

/** How codes lie. */
interface Layout {
  /** Dims whose elements share a scale. */
  readonly within: readonly DimLabel[];
  readonly first: readonly DimLabel[];
  /** What a product sums, last. */
  readonly terms: readonly DimLabel[];
}

/** Dims whose elements, in row-major order, are cut into tiles of so many. */
interface Cut {
  readonly dims: readonly DimLabel[];
  readonly tile: number;
  /** Whether the product sums over them. */
  readonly sums: boolean;
}

/**
 * The program with products in eight bits; equal tiles of equal values are written once for each use. Neighbors of codes in memory are
 * terms of the product's sum, whatever the order of the value's dims: tensor cores take eight-bit operands only so.
 */
export function quantizeProducts(program: Program, quantization: Quantization): Program {
  const next = Math.max(-1, ...program.ops.flatMap(({ results }) => results.map(({ id }) => id))) + 1;
  const writer = new Writer(new ProgramBuilder(new Map(program.dims), next), quantization);
  for (const op of program.ops) writer.write(op);
  return writer.builder.finish(program.name);
}

class Writer {
  readonly builder: ProgramBuilder;
  readonly #quantization: Quantization;
  readonly #producers = new Map<number, Op>();
  /** By param: the dims that its first product sums, which is the forward one. */
  readonly #sums = new Map<string, readonly DimLabel[]>();
  /** By activation: dims of params that it is multiplied with in eight bits, and of the results. */
  readonly #products = new Map<
    number,
    { readonly weight: readonly DimLabel[]; readonly result: readonly DimLabel[] }[]
  >();

  constructor(builder: ProgramBuilder, quantization: Quantization) {
    this.builder = builder;
    this.#quantization = quantization;
  }

  write(op: Op): void {
    this.builder.loc = op.loc;
    for (const { id } of op.results) this.#producers.set(id, op);
    if (!this.#isProduct(op)) return this.builder.push(op);
    const [a, b, ...rest] = op.operands as [Value, Value, ...Value[]];
    const [result] = op.results as [Value];
    const params = [a, b].map((operand) => this.#paramOf(operand));
    const which = params.findIndex((param) => param !== undefined);
    const [path] = params.filter((param) => param !== undefined);
    if (path === undefined || op.name === "moe.contract_weight") return this.#gradient(op);
    // A product of two params is no work of a token.
    if (params.every((param) => param !== undefined)) return this.builder.push(op);
    const [weight, other] = which === 0 ? [a, b] : [b, a];
    const grouped = op.name === "moe.contract" ? [stringAttr(op.attrs, "experts")] : [];
    const sums = withoutDims(weight.type.dims, [...result.type.dims, ...grouped]);
    const batch = weight.type.dims.filter(
      (label) => grouped.includes(label) || (result.type.dims.includes(label) && other.type.dims.includes(label)),
    );
    const known = this.#products.get(other.id) ?? [];
    this.#products.set(other.id, [...known, { weight: weight.type.dims, result: result.type.dims }]);
    const quantizedWeight = this.#weight(path, weight, sums, batch);
    const activation = this.#activation(other, sums);
    this.#push(op, which === 0 ? [quantizedWeight, activation, ...rest] : [activation, quantizedWeight, ...rest]);
  }

  /** A product without a param: a gradient of one, in eight bits, or something else, as it is. */
  #gradient(op: Op): void {
    const [a, b, chosen] = op.operands as [Value, Value, Value | undefined];
    if (!this.#isGradient(op)) return this.builder.push(op);
    const tile = this.#quantization.activations;
    if (chosen !== undefined) {
      const experts = stringAttr(op.attrs, "experts");
      const order = this.#order(chosen, experts, tile);
      if (order === undefined) return this.builder.push(op);
      const operands = [this.#inOrder(a, chosen, order), this.#inOrder(b, chosen, order), order.experts];
      return this.#push({ ...op, attrs: { experts, slot: order.tiles } }, operands);
    }
    const tokens = this.#tokensOf(op);
    if (tokens === undefined) return this.builder.push(op);
    const cuts = [{ dims: [tokens], tile, sums: true }];
    this.#push(op, [this.#quantized(a, cuts), this.#quantized(b, cuts)]);
  }

  /** The product of other operands, which are f32. */
  #push(op: Op, operands: readonly Value[]): void {
    const [result] = op.results as [Value];
    if (result.type.dtype === "f32") return this.builder.push({ ...op, operands });
    const exact = this.builder.value({ ...result.type, dtype: "f32" });
    this.builder.push({ ...op, operands, results: [exact] });
    this.builder.push({ name: "tensor.cast", operands: [exact], results: [result], attrs: {} });
  }

  /**
   * Whether a product is a gradient of a param in eight bits: it multiplies what a product with the param reads by the gradient of the
   * product's result.
   */
  #isGradient({ name, operands, results: [result] }: Op): boolean {
    const [a, b] = operands as [Value, Value];
    if (name === "moe.contract") return false;
    const { dims } = result!.type;
    const isOf = ([x, gradient]: readonly [Value, Value]): boolean =>
      (this.#products.get(x.id) ?? []).some(
        (product) => sameDims(product.weight, dims) && sameDims(product.result, gradient.type.dims),
      );
    return !dims.includes(this.#quantization.vocabulary ?? "") && (isOf([a, b]) || isOf([b, a]));
  }

  /** The tokens that a product sums over; undefined where what it sums has no tiles. */
  #tokensOf({ operands: [a], results: [result] }: Op): DimLabel | undefined {
    const sums = withoutDims(a!.type.dims, result!.type.dims).filter((label) => this.builder.dims.get(label) === null);
    return sums.length === 1 ? sums[0] : undefined;
  }

  /** The rows of each expert in tiles; undefined where these have no number. */
  #order(chosen: Value, experts: DimLabel, tile: number): Order | undefined {
    const { builder } = this;
    const groups = builder.dims.get(experts);
    const { dims } = chosen.type;
    const label = groups === undefined || groups === null ? undefined : tilesOfGroups(builder.dims, dims, groups, tile);
    if (label === undefined) return undefined;
    const [tiles, place] = [builder.dim(label, null), builder.dim(`row.in.${tile}`, tile)];
    const type: TensorType = { dtype: "i32", dims: [tiles, place] };
    const rows = builder.emit("moe.tiles", [chosen], type, { experts, into: [tiles, place] }, "rows");
    const scalar = (value: number): Value => builder.emit("tensor.constant", [], type, { value });
    const isNone = builder.emit("math.lt", [rows, scalar(0)], { dtype: "bool", dims: type.dims });
    const own = builder.emit("math.select", [isNone, scalar(-1), this.#gathered(chosen, chosen, rows)], type);
    const ofTiles = builder.emit("tensor.reduce", [own], { dtype: "i32", dims: [tiles] }, { kind: "max" }, "experts");
    return { tiles, place, rows, experts: ofTiles };
  }

  /** What codes of the rows of experts in their order stand for. */
  #inOrder(value: Value, chosen: Value, { tiles, place, rows }: Order): Value {
    const op = this.#producers.get(value.id);
    // Rows without an expert are in no tile: those of tokens are read where they are.
    const spread =
      op?.name === "moe.dispatch" ? this.builder.emit("tensor.broadcast", [op.operands[0]!], value.type) : value;
    return this.#coded(this.#gathered(spread, chosen, rows), { within: [place], first: [tiles], terms: [place] });
  }

  /** Rows, which are all of the dims of `chosen`, by their numbers. */
  #gathered(value: Value, chosen: Value, rows: Value): Value {
    const { builder } = this;
    const [first, ...others] = chosen.type.dims as [DimLabel, ...DimLabel[]];
    const of = chosen.type.dims.find((label) => builder.dims.get(label) === null)!;
    let [current, label, times] = [value, first, builder.dims.get(first) ?? 1];
    for (const inner of others) {
      times *= builder.dims.get(inner) ?? 1;
      const isRunTime = builder.dims.get(label) === null || inner === of;
      const to = isRunTime
        ? builder.dim(tilesLabel({ of, by: 1, times }), null)
        : builder.dim(`${label}*${inner}`, times);
      const dims = replaceDim(withoutDims(current.type.dims, [inner]), label, [to]);
      current = builder.emit("tensor.merge_dims", [current], { ...current.type, dims }, { dims: [label, inner], to });
      label = to;
    }
    const dims = replaceDim(current.type.dims, label, rows.type.dims);
    return builder.emit("tensor.gather", [current, rows], { ...current.type, dims }, { dim: label });
  }

  #isProduct({ name, operands }: Op): boolean {
    return PRODUCTS.has(name) && operands[0]!.type.dtype !== "i32";
  }

  /** The param that a value shows, if its products are in eight bits. */
  #paramOf(value: Value): string | undefined {
    const op = this.#producers.get(value.id);
    if (op === undefined) return undefined;
    if (MOVES.has(op.name)) return this.#paramOf(op.operands[0]!);
    if (op.name !== "model.param") return undefined;
    const path = stringAttr(op.attrs, "name");
    return this.#quantization.quantizes(path) ? path : undefined;
  }

  /** From the param as it is stored: what products in more bits round first, these do not. */
  #weight(path: string, value: Value, sums: readonly DimLabel[], batch: readonly DimLabel[]): Value {
    const cast = this.#producers.get(value.id);
    const exact = cast?.name === "tensor.cast" ? cast.operands[0]! : value;
    const others = withoutDims(value.type.dims, [...sums, ...batch]);
    const [alongSums, alongOthers] = this.#quantization.weights;
    // Backward, the sums of a product are the others of the forward one: its tiles are the same.
    const forward = this.#sums.get(path) ?? sums;
    this.#sums.set(path, forward);
    const isForward = sums.every((label) => forward.includes(label));
    const cuts: Cut[] = isForward
      ? [
          { dims: sums, tile: alongSums, sums: true },
          { dims: others, tile: alongOthers, sums: false },
        ]
      : [
          { dims: others, tile: alongSums, sums: false },
          { dims: sums, tile: alongOthers, sums: true },
        ];
    return this.#quantized(exact, cuts);
  }

  #activation(value: Value, sums: readonly DimLabel[]): Value {
    const op = this.#producers.get(value.id);
    const tile = this.#quantization.activations;
    // Rows that go to experts are quantized once for all of them.
    if (op?.name === "moe.dispatch") {
      const [x, chosen] = op.operands as [Value, Value];
      const rows = this.#quantized(x, [{ dims: sums, tile, sums: true }]);
      return this.builder.emit("moe.dispatch", [rows, chosen], { ...value.type, dtype: "f32" }, op.attrs);
    }
    return this.#quantized(value, [{ dims: sums, tile, sums: true }]);
  }

  /** What codes and scales of the value stand for, in f32; of tokens, in tiles. */
  #quantized(value: Value, cuts: readonly Cut[]): Value {
    const undo: ((x: Value) => Value)[] = [];
    let tiled = value;
    const within: DimLabel[] = [];
    // Tiles of tokens come first, so that how far apart codes lie does not depend on a call.
    const first: DimLabel[] = [];
    const terms: DimLabel[] = [];
    for (const { dims, tile, sums } of cuts.filter(({ dims }) => dims.length > 0)) {
      const merged = this.#merge(tiled, dims, undo);
      // Products sum tiles of tokens as they are: what fills the last one is 0.
      const back = this.builder.dims.get(merged.label) === null ? [] : undo;
      const [padded, [outer, inner]] = this.#split(merged.value, merged.label, tile, back);
      tiled = padded;
      within.push(inner);
      if (this.builder.dims.get(outer) === null) first.push(outer);
      else if (sums) terms.push(outer);
      if (sums) terms.push(inner);
    }
    const exact = this.#coded(tiled, { within, first, terms });
    return undo.reduceRight((x, step) => step(x), exact);
  }

  /** What codes of a value and their scales stand for, in f32. */
  #coded(tiled: Value, { within, first, terms }: Layout): Value {
    const { builder } = this;
    const { type } = tiled;
    const tiles: TensorType = { dtype: "f32", dims: withoutDims(type.dims, within) };
    const scalar = (x: number): Value => builder.emit("tensor.constant", [], tiles, { value: x });
    const size = builder.emit("math.abs", [tiled], type);
    const most = this.#cast(
      builder.emit("tensor.reduce", [size], { ...tiles, dtype: type.dtype }, { kind: "max" }),
      "f32",
    );
    const bounded = builder.emit("math.max", [most, scalar(LEAST)], tiles);
    const scale = builder.emit("math.div", [bounded, scalar(LARGEST)], tiles, {}, "scale");
    const dims = [...first, ...withoutDims(type.dims, [...first, ...terms]), ...terms];
    // What is widened is nobody else's: it has the order of the codes, whose kernel it is part of.
    const wide: TensorType = { dtype: "f32", dims: type.dtype === "f32" ? type.dims : dims };
    const exactly = type.dtype === "f32" ? tiled : builder.emit("tensor.cast", [tiled], wide);
    const quotient = builder.emit("math.div", [exactly, scale], wide);
    const codes = builder.emit("tensor.cast", [quotient], { dtype: "f8e4m3", dims }, {}, "codes");
    const spread = builder.emit("tensor.broadcast", [scale], { dtype: "f32", dims: type.dims });
    return builder.emit("math.mul", [this.#cast(codes, "f32"), spread], { dtype: "f32", dims: type.dims });
  }

  #cast(value: Value, dtype: "f32"): Value {
    return value.type.dtype === dtype ? value : this.builder.emit("tensor.cast", [value], { ...value.type, dtype });
  }

  /** One dim in the place of several, the last one fastest. */
  #merge(
    value: Value,
    dims: readonly DimLabel[],
    undo: ((x: Value) => Value)[],
  ): { readonly value: Value; readonly label: DimLabel } {
    const { builder } = this;
    let current = value;
    let label = dims[0]!;
    for (const inner of dims.slice(1)) {
      const outer = label;
      const pair = [outer, inner];
      label = builder.dim(`${outer}*${inner}`, this.#size(outer) * this.#size(inner));
      const before = current.type;
      const rest = withoutDims(before.dims, [inner]);
      current = builder.emit(
        "tensor.merge_dims",
        [current],
        { ...before, dims: replaceDim(rest, outer, [label]) },
        { dims: pair, to: label },
      );
      const merged = label;
      undo.push((x) => builder.emit("tensor.split_dim", [x], { ...before, dtype: "f32" }, { dim: merged, into: pair }));
    }
    return { value: current, label };
  }

  /** `tiles` and `elements of a tile` in the place of a dim, which is filled with zeros to whole tiles. */
  #split(
    value: Value,
    label: DimLabel,
    tile: number,
    undo: ((x: Value) => Value)[],
  ): readonly [value: Value, into: readonly [tiles: DimLabel, inner: DimLabel]] {
    const { builder } = this;
    const size = builder.dims.get(label) ?? null;
    const count = size === null ? null : Math.ceil(size / tile);
    const { type } = value;
    const typed = (dims: readonly DimLabel[]): TensorType => ({ ...type, dims });
    let [whole, from] = [value, label];
    if (count === null || count * tile !== size) {
      from =
        count === null
          ? builder.dim(tilesLabel({ of: label, by: tile, times: tile }), null)
          : builder.dim(`${label}.to.${count * tile}`, count * tile);
      whole = builder.emit("tensor.pad", [value], typed(replaceDim(type.dims, label, [from])), {
        dim: label,
        start: 0,
        to: from,
      });
      const padded = from;
      undo.push((x) =>
        builder.emit("tensor.slice", [x], { ...type, dtype: "f32" }, { dim: padded, start: 0, to: label }),
      );
    }
    const [tiles, inner] = [builder.dim(`${label}/${tile}`, count), builder.dim(`${label}.in.${tile}`, tile)];
    const before = whole.type;
    const split = builder.emit("tensor.split_dim", [whole], typed(replaceDim(before.dims, from, [tiles, inner])), {
      dim: from,
      into: [tiles, inner],
    });
    undo.push((x) =>
      builder.emit("tensor.merge_dims", [x], { ...before, dtype: "f32" }, { dims: [tiles, inner], to: from }),
    );
    return [split, [tiles, inner]];
  }

  #size(label: DimLabel): number {
    const size = this.builder.dims.get(label);
    if (size === null || size === undefined)
      throw new Error(`products over ${label} and others have no tiles: its size is not known`);
    return size;
  }
}
