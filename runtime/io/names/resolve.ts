import { parseLayout, placement, shapeOf, type Sizes } from "./layout.ts";
import type { NameTable, Rule } from "./table.ts";

/** A parameter or state of a model, as the name table sees it. */
export interface Param {
  /** `trunk.3.ffn.experts.gate` */
  readonly path: string;
  readonly shape: readonly number[];
  /** Names of the block that it belongs to and of what that extends. */
  readonly blocks: readonly string[];
}

/** A part of a stored tensor: the elements of a parameter, or of one expert of it. */
export interface Part {
  readonly param: Param;
  /** Of the parameter's elements: the first one, and the shape of the part. */
  readonly first: number;
  readonly shape: readonly number[];
  readonly base: number;
  readonly strides: readonly number[];
}

/** A tensor of a checkpoint with the parameters that it holds. */
export interface Stored {
  readonly name: string;
  readonly shape: readonly number[];
  readonly parts: readonly Part[];
}

export interface Resolved {
  readonly stored: readonly Stored[];
  /** Parameters that no rule names. */
  readonly unnamed: readonly Param[];
}

interface Found {
  readonly rule: Rule;
  readonly prefix: string;
  readonly param: Param;
  readonly dims: readonly string[];
}

/** Finds for all parameters where a checkpoint of the table's family keeps them. */
export function resolveNames(table: NameTable, params: readonly Param[]): Resolved {
  const layers = 1 + Math.max(-1, ...params.map((p) => Number(/^trunk\.(\d+)\./.exec(p.path)?.[1] ?? -1)));
  const unnamed: Param[] = [];
  const groups = new Map<string, Found[]>();
  for (const param of params) {
    const found = ruleOf(table, param, layers);
    if (found === undefined) unnamed.push(param);
    else {
      const key = found.prefix + found.rule.name;
      groups.set(key, [...(groups.get(key) ?? []), found]);
    }
  }
  const stored = [...groups.values()].flatMap((group) => tensorsOf(group));
  return { stored, unnamed };
}

function ruleOf(table: NameTable, param: Param, layers: number): Found | undefined {
  const trunk = /^trunk\.(\d+)\.(.+)$/.exec(param.path);
  const ahead = /^mtp\.(\d+)\.(layer\.)?(.+)$/.exec(param.path);
  const [rules, prefix, path] =
    trunk !== null
      ? [table.layer, `model.layers.${trunk[1]}.`, trunk[2]!]
      : ahead !== null
        ? [ahead[2] === undefined ? table.ahead : table.layer, `model.layers.${layers + Number(ahead[1])}.`, ahead[3]!]
        : [table.model, "", param.path];
  for (const rule of rules) {
    const dims = rule.params[path]?.split(" ");
    if (dims === undefined || dims.length !== param.shape.length) continue;
    if (rule.of === undefined || rule.of.some((name) => param.blocks.includes(name)))
      return { rule, prefix, param, dims };
  }
  return undefined;
}

/** The stored tensors of one rule: one, or one for each expert. */
function tensorsOf(group: readonly Found[]): Stored[] {
  const { rule, prefix } = group[0]!;
  const layout = parseLayout(rule.layout);
  const sizes = new Map<string, number>();
  for (const { dims, param } of group) dims.forEach((dim, i) => sizes.set(dim, param.shape[i]!));
  const shape = shapeOf(layout, sizes);
  if (!rule.name.includes("{e}"))
    return [{ name: prefix + rule.name, shape, parts: group.map((f) => partOf(f, sizes, undefined)) }];
  const experts = group[0]!.param.shape[0]!;
  return Array.from({ length: experts }, (_, e) => ({
    name: prefix + rule.name.replace("{e}", `${e}`),
    shape,
    parts: group.map((f) => partOf(f, sizes, e)),
  }));
}

function partOf({ rule, param, dims }: Found, sizes: Sizes, expert: number | undefined): Part {
  const own = expert === undefined ? dims : dims.slice(1);
  const shape = expert === undefined ? param.shape : param.shape.slice(1);
  const size = shape.reduce((a, b) => a * b, 1);
  return { param, first: (expert ?? 0) * size, shape, ...placement(parseLayout(rule.layout), sizes, own) };
}
