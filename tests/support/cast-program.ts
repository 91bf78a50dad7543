import { rounding } from "../../compiler/reference/rounding.ts";
import { ProgramBuilder } from "../../compiler/tensor-ir/builder.ts";
import type { Program, Value } from "../../compiler/tensor-ir/types.ts";
import type { Session } from "../../runtime/device/session.ts";
import { fixtureTensors } from "./fixture.ts";

const NARROW = ["bf16", "f16", "f8e4m3"] as const;

/** `x` f32[T] goes through each of the narrow dtypes and comes back as the output of that name. */
export function castProgram(): Program {
  const builder = new ProgramBuilder(new Map([["T", null]]));
  const x = builder.emit("program.input", [], { dtype: "f32", dims: ["T"] }, { name: "x" }, "x");
  const rows = builder.emit("program.input", [], { dtype: "i32", dims: ["T"] }, { name: "rows" }, "rows");
  for (const dtype of NARROW) {
    const narrow = builder.emit("tensor.cast", [x], { dtype, dims: ["T"] });
    // A lookup keeps it from being the same launch: it is stored in its own form in between.
    const stored: Value = builder.emit("tensor.gather", [narrow, rows], { dtype, dims: ["T"] }, { dim: "T" });
    const back = builder.emit("tensor.cast", [stored], { dtype: "f32", dims: ["T"] });
    builder.effect("program.output", [back], { name: dtype });
  }
  return builder.finish("casts");
}

/** Numbers around every step of the narrow dtypes, and bits at random. */
function numbers(): Float32Array {
  const found: number[] = [0, -0, Infinity, -Infinity, NaN, 3.4e38, 1e-45];
  for (let exponent = -30; exponent <= 17; exponent++)
    for (let digits = 0; digits < 32; digits++)
      for (const nudge of [0, 2 ** -20, -(2 ** -20)]) found.push((1 + digits / 32 + nudge) * 2 ** exponent);
  for (const edge of [448, 464, 480, 65_504, 65_519, 65_520]) found.push(edge, -edge);
  const bits = new Uint32Array(4096);
  for (let i = 0, word = 1; i < bits.length; i++) bits[i] = word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0;
  return Float32Array.from([...found, ...found.map((x) => -x), ...new Float32Array(bits.buffer)]);
}

/** Where a device rounds another way than the interpreter, as text; a device may take numbers below 2^-126 for 0. */
export async function wrongCasts(session: Session): Promise<string[]> {
  const x = numbers();
  const rows = Int32Array.from(x, (_, i) => i);
  const outputs = await session.run({ program: "casts", sizes: { T: x.length }, inputs: { x, rows } });
  return NARROW.flatMap((dtype) => {
    const round = rounding(dtype);
    const got = outputs[dtype] as Float32Array;
    return Array.from(x, (value, i) => {
      const isSmall = value !== 0 && Math.abs(value) < 2 ** -126;
      const isRight = Object.is(got[i], round(value)) || (isSmall && got[i] === 0);
      return isRight ? "" : `${dtype} of ${value}: ${got[i]}, not ${round(value)}`;
    }).filter((line) => line !== "");
  });
}

/** The same against the tables of another implementation (fixture j1): E4M3 beyond its largest number is that number. */
export async function wrongByTable(session: Session): Promise<string[]> {
  const tensor = fixtureTensors("j1_fp8_table", "fp8_table.safetensors");
  const x = Float32Array.from(tensor("x").data);
  const decode = tensor("e4m3.decode").data;
  const wanted = { bf16: tensor("bf16").data, f8e4m3: tensor("e4m3.code_sat").data.map((code) => decode[code]!) };
  const rows = Int32Array.from(x, (_, i) => i);
  const outputs = await session.run({ program: "casts", sizes: { T: x.length }, inputs: { x, rows } });
  return Object.entries(wanted).flatMap(([dtype, numbers]) =>
    numbers.flatMap((want, i) => {
      const got = outputs[dtype]![i]!;
      const isSmall = x[i] !== 0 && Math.abs(x[i]!) < 2 ** -126 && got === 0;
      // For NaN the table has no bf16, but 0.
      const isLeftOut = dtype === "bf16" && Number.isNaN(x[i]);
      return Object.is(got, want) || isSmall || isLeftOut ? [] : [`${dtype} of ${x[i]}: ${got}, not ${want}`];
    }),
  );
}
