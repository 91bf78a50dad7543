import { encoded } from "../device/elements.ts";
import type { Elements, Session, StoreSpec } from "../device/session.ts";
import { storedElements } from "../device/stored-elements.ts";
import type { Init, ModelFile } from "../program/model.ts";
import { draw } from "../program/philox.ts";

/**
 * What a store starts with: a pure function of the run's seed, the store's name and the index of the element, so that every
 * device starts alike. Draws are those of `tensor.random` (docs/tensor-ir.md) at step 0 with the store's name as the
 * stream; `normal` times its deviation, `uniform` between minus and plus its bound.
 */
export function initialValues({ name, dtype, shape }: Omit<StoreSpec, "kind">, init: Init, seed: number): Elements {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = new Float64Array(count);
  if (init.kind === "constant") values.fill(init.value);
  else {
    draw(values, { kind: init.kind, seed, step: 0, stream: name });
    const { scale } = init;
    if (init.kind === "normal") for (let i = 0; i < count; i++) values[i]! *= scale;
    else for (let i = 0; i < count; i++) values[i] = (2 * values[i]! - 1) * scale;
  }
  return encoded(values, dtype);
}

/** Writes the initial values of params and states. @throws Error when the model does not know one of them */
export function initialize(
  session: Session,
  model: ModelFile,
  seed: number,
  specs: readonly StoreSpec[] = session.stores,
): void {
  const known = new Map(model.stores.map((store) => [store.name, store]));
  const scales = new Set(specs.map(({ quantized }) => quantized?.scales));
  for (const spec of specs) {
    if (scales.has(spec.name)) continue;
    const store = known.get(spec.name);
    if (store === undefined) throw new Error(`model.json does not say how ${spec.name} starts`);
    if (spec.quantized === undefined) session.write(spec.name, initialValues(spec, store.init, seed));
    else {
      const values = initialValues({ ...spec, dtype: "f32" }, store.init, seed) as Float32Array;
      for (const [name, elements] of storedElements(spec, values)) session.write(name, elements);
    }
  }
}
