/** Functions for the shapes of wgmma that a kernel uses: their registers are named one by one. */

export interface Wgmma {
  /** Of both operands, bf16 where this is not said; sums are f32. Of e4m3, terms are neighbors. */
  readonly type?: "bf16" | "e4m3";
  /** Columns: a multiple of 8 up to 256. */
  readonly n: number;
  /** Whether A is in registers: four of each thread. */
  readonly aInRegisters?: boolean;
  /** Whether rows of A, columns of B, are neighbors in memory, rather than terms. */
  readonly aTurned: boolean;
  readonly bTurned: boolean;
}

export function wgmmaName({ type = "bf16", n, aInRegisters, aTurned, bTurned }: Wgmma): string {
  return `wgmma_${type === "bf16" ? "" : `${type}_`}n${n}_${aInRegisters === true ? "r" : aTurned ? "m" : "k"}${bTurned ? "n" : "k"}`;
}

/** The function, with as many registers in a line as fit. */
export function wgmmaFunction(shape: Wgmma): string[] {
  const { type = "bf16", n, aInRegisters = false, aTurned, bTurned } = shape;
  const terms = type === "bf16" ? 16 : 32;
  // Which operands are turned, of those types that may be.
  const majors = (...turned: boolean[]): string[] => (type === "bf16" ? turned.map((x) => String(Number(x))) : []);
  const count = n / 2;
  // A is one operand, or four.
  const a = aInRegisters ? 4 : 1;
  const names = inRows(
    Array.from({ length: count }, (_, i) => `%${i}`),
    16,
  );
  const eights = Math.floor(count / 8);
  const operands = [
    ...Array.from({ length: eights }, (_, i) => `DSK_SUMS_8(d, ${8 * i})`),
    ...Array.from({ length: count % 8 }, (_, i) => `"+f"(d[${8 * eights + i}])`),
  ];
  const major = (turned: boolean, line: string): string => (turned ? `${line} are neighbors` : "terms are neighbors");
  return [
    `// wgmma.mma_async: d = a * b where \`adds\` is 0, else d += a * b; 64 rows, ${n} columns, ${terms} terms.`,
    `// ${aInRegisters ? "A is in registers" : `Of A ${major(aTurned, "rows")}`}, of B ${major(bTurned, "columns")}.`,
    `DSK_INLINE void ${wgmmaName(shape)}(float (&d)[${count}], ${aInRegisters ? "const unsigned (&a)[4]" : "Descriptor a"}, Descriptor b, int adds) {`,
    "#ifdef DSK_HARNESS",
    `  dsk::sim::wgmma_${type}<${[n, ...majors(...(aInRegisters ? [] : [aTurned]), bTurned)].join(", ")}>(d, a, b, adds);`,
    "#else",
    `  asm volatile("{\\n.reg .pred p;\\nsetp.ne.b32 p, %${count + a + 1}, 0;\\n"`,
    `               "wgmma.mma_async.sync.aligned.m64n${n}k${terms}.f32.${type}.${type} {"`,
    ...names.map((line, i) => `               "${line}${i + 1 < names.length ? ", " : "}, "}"`),
    aInRegisters
      ? `               "{%${count}, %${count + 1}, %${count + 2}, %${count + 3}}, %${count + 4}, p, ${["1", "1", ...majors(bTurned)].join(", ")};\\n}"`
      : `               "%${count}, %${count + 1}, p, ${["1", "1", ...majors(aTurned, bTurned)].join(", ")};\\n}"`,
    ...inRows(operands, 6).map(
      (row, i, { length }) => `               ${i === 0 ? ":" : " "} ${row}${i + 1 < length ? "," : ""}`,
    ),
    `               : ${aInRegisters ? `"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])` : `"l"(a)`}, "l"(b), "r"(adds));`,
    "#endif",
    "}",
  ];
}

/** So many of a list in a line. */
function inRows(all: readonly string[], per: number): string[] {
  return Array.from({ length: Math.ceil(all.length / per) }, (_, i) => all.slice(i * per, (i + 1) * per).join(", "));
}
