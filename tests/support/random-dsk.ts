import fc from "fast-check";

/*
 * Random `.dsk` text that is sound in syntax (names mean nothing), with random spaces, line breaks and comments between
 * its words. For properties of the parser and the formatter.
 */

const name = fc.constantFrom(
  "x",
  "wq_a",
  "D",
  "N",
  "T",
  "state",
  "cache",
  "of",
  "end",
  "data",
  "step",
  "gate",
  "norm",
  "longer_name_of_a_tensor",
  "metric",
  "by",
  "stack",
  "schedule",
  "kernel",
  // Units: behind a number on its line they would be its unit.
  "s",
  "B",
  "steps",
);
const plainName = fc.constantFrom("x", "wq_a", "D", "N", "T", "gate", "norm", "longer_name_of_a_tensor", "score");
const number = fc.constantFrom(
  "0",
  "1",
  "1_536",
  "4Ki",
  "14.8T",
  "2.2e-4",
  "30%",
  "80 GiB",
  "450 GB/s",
  "400 steps",
  "0.5",
);
const text = fc.constantFrom('"a"', '"std/nn"', '"with \\"quotes\\""', '""', '"\\\\ // no comment\\t"', '"漢字 é"');

/** A list of words; what stands between them is chosen at the end. */
type Words = string[];

const list = (item: fc.Arbitrary<Words>, most: number): fc.Arbitrary<Words> =>
  fc.array(item, { maxLength: most }).map((items) => items.flatMap((words, i) => (i === 0 ? words : [",", ...words])));

const between = (open: string, inner: fc.Arbitrary<Words>, close: string): fc.Arbitrary<Words> =>
  inner.map((words) => [open, ...words, close]);

const { expr, dims } = fc.letrec<{ expr: Words; atom: Words; unary: Words; dims: Words }>((tie) => ({
  atom: fc.oneof(
    { maxDepth: 2, depthIdentifier: "expr" },
    plainName.map((n) => [n]),
    number.map((n) => [n]),
    text.map((t) => [t]),
    between("(", tie("expr"), ")"),
    between("[", list(tie("expr"), 3), "]"),
    fc.tuple(tie("expr"), tie("expr")).map(([a, b]) => ["(", ...a, ",", ...b, ")"]),
    fc
      .tuple(plainName, tie("dims"), tie("expr"))
      .map(([n, d, e]) => [n, ...d, "(", ...e, ")", ".", "top", "(", "3", ")"]),
    fc.tuple(plainName, tie("dims")).map(([n, d]) => [n, ...d]),
    fc
      .tuple(
        plainName,
        list(
          fc.tuple(fc.option(name), tie("expr")).map(([n, e]) => (n === null ? e : [n, ":", ...e])),
          3,
        ),
      )
      .map(([n, args]) => [n, "(", ...args, ")"]),
    fc.tuple(plainName, plainName).map(([a, b]) => [a, ".", b]),
    fc
      .array(fc.tuple(number, tie("expr")), { maxLength: 3 })
      .map((pieces) => [
        "schedule",
        "by",
        "tokens",
        "{",
        ...pieces.flatMap(([n, e]) => ["..", n, "=>", ...e]),
        "..",
        "end",
        "=>",
        "1",
        "}",
      ]),
    fc
      .array(tie("expr"), { minLength: 1, maxLength: 2 })
      .map((layers) => ["stack", "{", ...layers.flatMap((e) => ["3", "of", ...e]), "}"]),
  ),
  unary: fc
    .tuple(
      fc.constantFrom<Words>([], [], [], ["-"], ["+"]),
      tie("atom"),
      fc.constantFrom<Words>([], [], [], ["^", "2"], ["^", "-", "0.5"]),
    )
    .map((parts) => parts.flat()),
  expr: fc
    .tuple(
      tie("unary"),
      fc.array(fc.tuple(fc.constantFrom("+", "-", "*", "/", "@", "|", "&"), tie("unary")), {
        maxLength: 3,
        depthIdentifier: "expr",
      }),
      fc.option(fc.tuple(fc.constantFrom("<", "<=", "==", "!="), tie("atom")), { freq: 8 }),
    )
    .map(([first, rest, last]) => [
      ...first,
      ...rest.flatMap(([op, e]) => [op, ...e]),
      ...(last === null ? [] : [last[0], ...last[1]]),
    ]),
  dims: between(
    "[",
    list(
      fc.oneof(
        { maxDepth: 2, depthIdentifier: "expr" },
        fc.constant<Words>([".."]),
        name.map((n): Words => [n]),
        tie("expr"),
      ),
      3,
    ),
    "]",
  ),
}));

const type = fc.oneof(
  dims,
  plainName.map((n) => [n]),
  fc.tuple(fc.constantFrom("f32", "i32"), dims).map(([b, d]) => [b, ...d]),
  between(
    "(",
    fc.tuple(dims, dims).map(([a, b]) => [...a, ",", ...b]),
    ")",
  ),
);
const value = fc.option(expr).map((e) => (e === null ? [] : ["=", ...e]));
const param = fc.tuple(name, type, value).map(([n, t, v]) => [n, ":", ...t, ...v]);
const target = fc.tuple(plainName, fc.option(dims)).map(([n, d]) => [n, ...(d ?? [])]);

const stmt: fc.Arbitrary<Words> = fc.oneof(
  fc.tuple(fc.constantFrom("let", "metric", "loss"), target, expr).map(([k, t, e]) => [k, ...t, "=", ...e]),
  fc.tuple(target, target, expr).map(([a, b, e]) => ["let", "(", ...a, ",", ...b, ")", "=", ...e]),
  fc.tuple(name, expr).map(([n, e]) => [n, "=", ...e]),
  expr.map((e) => ["return", ...e]),
);
const code = between(
  "{",
  fc.array(stmt, { maxLength: 3 }).map((s) => s.flat()),
  "}",
);
const expectation = fc
  .tuple(plainName, number)
  .map(([n, q]) => ["expect", "params", ".", n, "==", q, "within", "0.1%"]);

const item: fc.Arbitrary<Words> = fc.oneof(
  fc.tuple(plainName, expr).map(([n, e]) => ["dim", n, "=", ...e]),
  fc
    .tuple(fc.constantFrom("param", "state", "cache"), name, type, value)
    .map(([k, n, t, v]) => [k, n, ":", ...t, ...v]),
  fc
    .tuple(name, expr, fc.option(plainName))
    .map(([n, e, over]) => ["use", n, "=", ...e, ...(over === null ? [] : ["over", over])]),
  fc
    .tuple(
      name,
      fc.option(
        list(
          name.map((n) => [n]),
          2,
        ),
      ),
      list(param, 3),
      fc.option(type),
      code,
    )
    .map(([n, formals, ps, r, body]) => [
      "fn",
      n,
      ...(formals === null ? [] : ["[", ...formals, "]"]),
      "(",
      ...ps,
      ")",
      ...(r === null ? [] : ["->", ...r]),
      ...body,
    ]),
  fc
    .tuple(name, list(param, 3), text)
    .map(([n, ps, t]) => ["extern", "kernel", n, "(", ...ps, ")", "{", "reference", "=", "x", "cuda", "=", t, "}"]),
  fc
    .tuple(name, list(param, 3), fc.option(type), fc.array(fc.tuple(name, expr), { maxLength: 3 }))
    .map(([n, ps, r, entries]) => [
      "extern",
      "kernel",
      n,
      "(",
      ...ps,
      ")",
      ...(r === null ? [] : ["->", ...r]),
      "{",
      ...entries.flatMap(([key, e]) => [key, "=", ...e]),
      "}",
    ]),
  code.map((body) => ["on", "step", ...body]),
  expectation,
  fc.tuple(name, expr).map(([n, e]) => [n, "=", ...e]),
);
const body = between(
  "{",
  fc.array(item, { maxLength: 3 }).map((items) => items.flat()),
  "}",
);

const entries: fc.Arbitrary<Words> = fc.letrec<{ entries: Words }>((tie) => ({
  entries: between(
    "{",
    fc
      .array(
        fc.oneof(
          { maxDepth: 2 },
          fc.tuple(name, expr).map(([n, e]) => [n, "=", ...e]),
          expectation,
          fc.tuple(name, tie("entries")).map(([n, g]) => [n, ...g]),
        ),
        { maxLength: 3 },
      )
      .map((parts) => parts.flat()),
    "}",
  ),
})).entries;

/** `name: type = value` of schemas and signatures. */
function field([n, type, value]: readonly [string, Words, Words | null]): Words {
  return [n, ":", ...type, ...(value === null ? [] : ["=", ...value])];
}

const decl: fc.Arbitrary<Words> = fc.oneof(
  fc
    .tuple(plainName, fc.boolean(), list(param, 3), fc.option(expr), body)
    .map(([n, hasDims, ps, base, b]) => [
      "block",
      n,
      ...(hasDims ? ["[", "D", ",", "..", "]"] : []),
      ...(ps.length === 0 ? [] : ["(", ...ps, ")"]),
      ...(base === null ? [] : ["extends", ...base]),
      ...b,
    ]),
  fc
    .tuple(plainName, fc.option(plainName), body)
    .map(([n, base, b]) => ["model", n, ...(base === null ? [] : ["extends", base]), ...b]),
  fc
    .tuple(
      fc.constantFrom("data", "train", "layout", "serve", "target"),
      plainName,
      fc.option(name),
      fc.option(name),
      entries,
    )
    .map(([k, n, of, from, e]) => [
      k,
      n,
      ...(of === null ? [] : ["for", of]),
      ...(from === null ? [] : ["from", from]),
      ...e,
    ]),
  fc
    .tuple(plainName, fc.array(fc.tuple(name, expr, fc.option(expr)), { maxLength: 3 }))
    .map(([n, fields]) => [
      "schema",
      n,
      "{",
      ...fields.flatMap(field),
      "g",
      "{",
      ...fields.slice(1).flatMap(field),
      "}",
      "}",
    ]),
  fc
    .tuple(plainName, list(fc.tuple(name, expr, fc.option(expr)).map(field), 3), expr)
    .map(([n, ps, result]) => ["signature", n, "(", ...ps, ")", "->", ...result]),
);
const words = fc
  .tuple(fc.array(fc.tuple(name, name), { maxLength: 2 }), fc.array(decl, { maxLength: 2 }))
  .map(([imports, decls]) => [
    "edition",
    "2026",
    ...imports.flatMap(([a, b]) => ["import", "{", a, "as", b, "}", "from", '"std/nn"']),
    ...decls.flat(),
  ]);

const gap = fc.constantFrom(
  " ",
  " ",
  " ",
  " ",
  "  ",
  "\n",
  "\n",
  "\n\n",
  " // note\n",
  "\n/// about it\n",
  "\n// alone\n\n",
);
const tight = fc.constantFrom("", "", "", "", " ", "\n");
/** A comment between any two words. */
const crowded = fc.constantFrom(
  " ",
  "\n",
  " // note\n",
  "\n/// about it\n",
  " /// behind\n",
  "\n\n// alone\n\n",
  " //\n",
);

/** A name behind a number on its line could be its unit, and a bare sign could become another one. */
function apart(left: string, right: string): boolean {
  return /[A-Za-z0-9_%]$/.test(left) ? /^[A-Za-z0-9_.]/.test(right) : /[-=<>.!/]$/.test(left) || /^[=/]/.test(right);
}

export const program: fc.Arbitrary<string> = spelled(gap, tight);

/** With comments in every place where one can stand. */
export const commented: fc.Arbitrary<string> = spelled(crowded, fc.oneof(tight, tight, crowded));

function spelled(wide: fc.Arbitrary<string>, narrow: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(words, fc.infiniteStream(wide), fc.infiniteStream(narrow)).map(([all, gaps, tights]) => {
    let result = "";
    for (const [i, word] of all.entries()) {
      const before = all[i - 1];
      if (before === undefined) result += word;
      else {
        const space = apart(before, word) || /^[A-Za-z0-9_]/.test(word) ? gaps.next().value : tights.next().value;
        const unit = /^\d/.test(before) && /^[A-Za-z]/.test(word) && /^[ \t]+$/.test(space);
        result += `${unit ? "\n" : space}${word}`;
      }
    }
    return `${result}\n`;
  });
}
