import { stringAttr } from "../tensor-ir/attrs.ts";
import { isWithin, sameDims } from "../tensor-ir/ops/dims.ts";
import { type Op, type TensorType, typeText, type Value } from "../tensor-ir/types.ts";
import { verifyOp } from "../tensor-ir/verify.ts";
import { verifyCall } from "./verify-call.ts";
import type { Block, Fn, Module, Use } from "./types.ts";

/** What is wrong with a module, one message each; empty when it is sound. */
export function verifyModule(module: Module): readonly string[] {
  const verifier = new Verifier(module);
  verifier.run();
  return verifier.faults;
}

class Verifier {
  readonly faults: string[] = [];
  readonly #module: Module;
  /** Functions that were looked at, with the blocks they were looked at for. */
  readonly #seen = new Set<string>();

  constructor(module: Module) {
    this.#module = module;
  }

  run(): void {
    const { root, forward, blocks, fns, ahead, dims } = this.#module;
    for (const label of ["T", "S", "B"])
      this.#check(dims.get(label) === null, `dim ${label} must be bound at run time`);
    this.#check(blocks.get(root.id) === root, `root ${root.id} is not among the blocks`);
    this.#check(fns.get(forward.id) === forward, `forward ${forward.id} is not among the functions`);
    for (const [id, block] of blocks) this.#block(id, block);
    for (const [id, fn] of fns) this.#check(fn.id === id, `function ${fn.id} is listed as ${id}`);
    this.#fn(forward, root);
    for (const [use, { forward: run, readout, depth, embed, head }] of ahead) {
      const target = root.uses.get(use);
      if (target?.kind !== "ahead") {
        this.faults.push(`${root.id} has no look-ahead use ${use}`);
        continue;
      }
      this.#check(target.depth === depth, `${use}: depth ${depth}, but the use has ${target.depth}`);
      this.#fn(run, target.block);
      this.#fn(readout, target.block);
      for (const callee of [embed, head]) {
        const shared = root.uses.get(callee.use);
        if (shared?.kind === "block") this.#fn(callee.fn, shared.block);
        else this.faults.push(`${use} shares ${callee.use}, which is no block of ${root.id}`);
      }
    }
  }

  #block(id: string, block: Block): void {
    const at = `block ${id}`;
    this.#check(block.id === id, `block ${block.id} is listed as ${id}`);
    for (const [name, label] of block.dims)
      this.#check(this.#module.dims.has(label), `${at}: dim ${name} = ${label} has no size`);
    for (const [name, store] of block.stores) {
      this.#check(store.name === name, `${at}: ${store.kind} ${store.name} is listed as ${name}`);
      this.#labels(store.type, `${at}: ${name}`);
      this.#check(!block.uses.has(name), `${at}: ${name} is both a ${store.kind} and a use`);
    }
    for (const [name, use] of block.uses) this.#use(use, block, `${at}: use ${name}`);
    if (block.onStep !== undefined) this.#fn(block.onStep, block);
  }

  #use(use: Use, block: Block, at: string): void {
    const { blocks, dims } = this.#module;
    const known = (inner: Block): void =>
      this.#check(blocks.get(inner.id) === inner, `${at}: block ${inner.id} is not in the module`);
    switch (use.kind) {
      case "block":
        known(use.block);
        if (use.over !== undefined) this.#check(dims.has(use.over), `${at}: dim ${use.over} has no size`);
        break;
      case "stack":
        for (const { count, block: inner } of use.layers) {
          known(inner);
          this.#check(Number.isSafeInteger(count) && count > 0, `${at}: a run of ${count} layers`);
        }
        break;
      case "alias":
        this.#check(block.uses.get(use.of)?.kind === "block", `${at}: there is no block ${use.of}`);
        break;
      case "ahead":
        known(use.block);
        this.#check(Number.isSafeInteger(use.depth) && use.depth > 0, `${at}: depth ${use.depth}`);
    }
  }

  /** A function and what it calls, as functions of this block. */
  #fn(fn: Fn, block: Block): void {
    const key = `${fn.id} ${block.id}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const defined = new Map<number, Value>();
    for (const param of fn.params) this.#define(param, defined, fn.id);
    for (const [index, op] of fn.ops.entries()) {
      const at = `${fn.id}, op ${index} ${op.name}`;
      for (const value of op.operands) {
        const source = defined.get(value.id);
        if (source === undefined) this.faults.push(`${at}: %${value.id} is not defined before`);
        else if (typeText(source.type) !== typeText(value.type))
          this.faults.push(`${at}: %${value.id} is ${typeText(source.type)}`);
      }
      for (const result of op.results) this.#define(result, defined, at);
      this.#op(op, block, at);
    }
    for (const result of fn.results)
      this.#check(defined.has(result.id), `${fn.id}: result %${result.id} is not defined`);
  }

  #define(value: Value, defined: Map<number, Value>, at: string): void {
    this.#check(!defined.has(value.id), `${at}: %${value.id} is defined twice`);
    this.#labels(value.type, `${at}: %${value.id}`);
    defined.set(value.id, value);
  }

  #op(op: Op, block: Block, at: string): void {
    const before = this.faults.length;
    if (op.name !== "model.call" && op.name !== "model.metric") {
      this.faults.push(...verifyOp(op, this.#module.dims).map((fault) => `${at}: ${fault}`));
    }
    if (this.faults.length > before) return;
    switch (op.name) {
      case "model.call": {
        const { faults, callee } = verifyCall(op, block, this.#module.fns);
        this.faults.push(...faults.map((fault) => `${at}: ${fault}`));
        for (const { fn, block: inner } of callee) this.#fn(fn, inner);
        break;
      }
      case "model.param":
      case "model.state":
        this.#store(block, stringAttr(op.attrs, "name"), op.name.slice("model.".length), op.results[0]!.type, at);
        break;
      case "cache.append": {
        const { dtype, dims } = op.operands[0]!.type;
        const row = { dtype, dims: dims.filter((label) => label !== op.attrs["from"]) };
        this.#store(block, stringAttr(op.attrs, "cache"), "cache", row, at);
      }
    }
  }

  #store(block: Block, name: string, kind: string, type: TensorType, at: string): void {
    const store = block.stores.get(name);
    if (store?.kind !== kind) this.faults.push(`${at}: ${block.id} has no ${kind} ${name}`);
    else if (store.type.dtype !== type.dtype || !sameDims(store.type.dims, type.dims)) {
      this.faults.push(`${at}: ${kind} ${name} is ${typeText(store.type)}, not ${typeText(type)}`);
    }
  }

  #labels(type: TensorType, at: string): void {
    const known = [...this.#module.dims.keys()];
    this.#check(isWithin(type.dims, known), `${at}: ${typeText(type)} has a dim that the module has not`);
    this.#check(new Set(type.dims).size === type.dims.length, `${at}: ${typeText(type)} has a dim twice`);
  }

  #check(holds: boolean, fault: string): void {
    if (!holds) this.faults.push(fault);
  }
}
