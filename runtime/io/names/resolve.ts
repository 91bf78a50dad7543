import { CheckpointError } from "../safetensors/format.ts";
import { parseLayout, placement, shapeOf } from "./layout.ts";
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

/**
 * Finds for all parameters where a checkpoint of the table's family keeps them.
 * @throws CheckpointError for more tensors than any checkpoint has
 */
export function resolveNames(table: NameTable, params: readonly Param[]): Resolved {
  const layers = params.reduce(
    (most, { path }) => Math.max(most, 1 + Number(/^trunk\.(\d+)\./.exec(path)?.[1] ?? -1)),
    0,
  );
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
  checkCount([...groups.values()]);
  return { stored: [...groups.values()].flatMap(tensorsOf), unnamed };
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

/**
 * More tensors than this are a slip, not a model: Kimi-K3 has 250,000, and each takes some hundred bytes here.
 * @throws CheckpointError
 */
function checkCount(groups: readonly (readonly Found[])[]): void {
  if (groups.reduce((sum, group) => sum + countOf(group), 0) <= MOST_TENSORS) return;
  const [first] = groups.reduce((a, b) => (countOf(b) > countOf(a) ? b : a));
  const { path, shape } = first!.param;
  throw new CheckpointError(
    `the model has more than ${MOST_TENSORS} tensors in a checkpoint: \`${path}\` has the shape [${shape.join(", ")}]`,
  );
}

const MOST_TENSORS = 1_000_000;

/** How many tensors a rule gives: one, or one for each expert. */
function countOf([first]: readonly Found[]): number {
  return first!.rule.name.includes("{e}") ? first!.param.shape[0]! : 1;
}

function tensorsOf(group: readonly Found[]): Stored[] {
  const { rule, prefix } = group[0]!;
  const layout = parseLayout(rule.layout);
  const sizes = new Map<string, number>();
  for (const { dims, param } of group) dims.forEach((dim, i) => sizes.set(dim, param.shape[i]!));
  const shape = shapeOf(layout, sizes);
  const name = prefix + rule.name;
  const own = rule.name.includes("{e}") ? 1 : 0;
  const parts = group.map(({ param, dims }): Part => {
    const part = param.shape.slice(own);
    return { param, first: 0, shape: part, ...placement(layout, sizes, dims.slice(own)) };
  });
  return Array.from({ length: countOf(group) }, (_, e) => ({
    name: name.replace("{e}", `${e}`),
    shape,
    parts: e === 0 ? parts : parts.map((part) => ({ ...part, first: e * part.shape.reduce((a, b) => a * b, 1) })),
  }));
}
