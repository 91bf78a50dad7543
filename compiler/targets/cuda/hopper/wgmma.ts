/** Functions for the shapes of wgmma that a kernel uses: their registers are named one by one. */

export interface Wgmma {
  /** Columns: a multiple of 8 up to 256. */
  readonly n: number;
  /** Whether rows of A, columns of B, are neighbors in memory, rather than terms. */
  readonly aTurned: boolean;
  readonly bTurned: boolean;
}

export function wgmmaName({ n, aTurned, bTurned }: Wgmma): string {
  return `wgmma_n${n}_${aTurned ? "m" : "k"}${bTurned ? "n" : "k"}`;
}

/** The function, with as many registers in a line as fit. */
export function wgmmaFunction(shape: Wgmma): string[] {
  const { n, aTurned, bTurned } = shape;
  const count = n / 2;
  const inLines = (text: (i: number) => string, per: number, separator: string): string[] => {
    const lines: string[] = [];
    for (let i = 0; i < count; i += per)
      lines.push(Array.from({ length: Math.min(per, count - i) }, (_, j) => text(i + j)).join(separator));
    return lines;
  };
  const names = inLines((i) => `%${i}`, 16, ", ");
  const operands = inLines((i) => `"+f"(d[${i}])`, 8, ", ");
  const major = (turned: boolean, line: string): string => (turned ? `${line} are neighbors` : "terms are neighbors");
  return [
    `// wgmma.mma_async: d = a * b where \`adds\` is 0, else d += a * b; 64 rows, ${n} columns, 16 terms.`,
    `// Of A ${major(aTurned, "rows")}, of B ${major(bTurned, "columns")}.`,
    `DSK_INLINE void ${wgmmaName(shape)}(float (&d)[${count}], Descriptor a, Descriptor b, int adds) {`,
    "#ifdef DSK_HARNESS",
    `  dsk::sim::wgmma_bf16<${n}, ${Number(aTurned)}, ${Number(bTurned)}>(d, a, b, adds);`,
    "#else",
    `  asm volatile("{\\n.reg .pred p;\\nsetp.ne.b32 p, %${count + 2}, 0;\\n"`,
    `               "wgmma.mma_async.sync.aligned.m64n${n}k16.f32.bf16.bf16 {"`,
    ...names.map((line, i) => `               "${line}${i + 1 < names.length ? ", " : "}, "}"`),
    `               "%${count}, %${count + 1}, p, 1, 1, ${Number(aTurned)}, ${Number(bTurned)};\\n}"`,
    ...operands.map((line, i) => `               ${i === 0 ? ":" : " "} ${line}${i + 1 < operands.length ? "," : ""}`),
    `               : "l"(a), "l"(b), "r"(adds));`,
    "#endif",
    "}",
  ];
}
