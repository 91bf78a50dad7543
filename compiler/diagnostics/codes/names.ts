import { error, warning } from "./entry.ts";

/** Area 1: names, dims and types. */
export const NAMES = {
  DSK1001: error("unknown-name", (p: { name: string }) => `nothing is called \`${p.name}\` here`),
  DSK1002: error("duplicate-name", (p: { name: string }) => `\`${p.name}\` is declared twice`),
  DSK1003: error("unknown-import", (p: { name: string; from: string }) => `\`${p.from}\` has no block \`${p.name}\``),
  DSK1004: error("missing-file", (p: { from: string; why?: string }) =>
    p.why === undefined ? `cannot find \`${p.from}\`` : `cannot read \`${p.from}\`: ${p.why}`,
  ),
  DSK1005: error("cyclic-import", (p: { chain: string }) => `files import each other: ${p.chain}`),
  DSK1006: error("unknown-member", (p: { object: string; name: string }) => `${p.object} has no \`${p.name}\``),
  DSK1007: warning("unused-import", (p: { name: string }) => `\`${p.name}\` is imported and never used`),
  DSK1008: error(
    "reserved-name",
    (p: { name: string }) => `\`${p.name}\` belongs to the language and cannot be declared`,
  ),
  DSK1101: error("recursive-block", (p: { chain: string }) => `a block contains itself: ${p.chain}`),
  DSK1102: error("extends-cycle", (p: { chain: string }) => `blocks extend each other: ${p.chain}`),
  DSK1103: error("recursive-function", (p: { chain: string }) => `functions call each other: ${p.chain}`),
  DSK1104: error(
    "cyclic-definition",
    (p: { what: string; name: string }) => `${p.what} \`${p.name}\` is defined by itself`,
  ),
  DSK1105: error(
    "bad-override",
    (p: { name: string; base: string; why: string }) => `\`${p.name}\` cannot override that of \`${p.base}\`: ${p.why}`,
  ),
  DSK1201: error("not-a-dim", (p: { found: string }) => `expected a dim, found ${p.found}`),
  DSK1202: error(
    "bad-dim-size",
    (p: { name: string; size: string }) => `dim \`${p.name}\` has size ${p.size}; a dim is a positive whole number`,
  ),
  DSK1203: error(
    "dim-mismatch",
    (_p: { left: string; right: string }) => `\`@\` cannot join these tensors: no dim is shared`,
  ),
  DSK1204: error(
    "ambiguous-contraction",
    (p: { dims: string }) => `\`@\` shares ${p.dims}, and nothing says which of them to sum`,
  ),
  DSK1205: error("nothing-summed", (p: { dims: string }) => `\`@\` sums nothing: ${p.dims} stays in the result`),
  DSK1206: error(
    "wrong-dims",
    (p: { expected: string; found: string }) => `expected dims [${p.expected}], found [${p.found}]`,
  ),
  DSK1207: error(
    "missing-dim",
    (p: { dim: string; dims: string }) => `this tensor has no dim ${p.dim}: it has ${p.dims}`,
  ),
  DSK1208: error("duplicate-dim", (p: { dim: string }) => `a tensor cannot have dim ${p.dim} twice`),
  DSK1209: error(
    "size-mismatch",
    (p: { what: string; expected: string; found: string }) => `${p.what}: ${p.expected} and ${p.found} differ`,
  ),
  DSK1301: error("wrong-dtype", (p: { expected: string; found: string }) => `expected ${p.expected}, found ${p.found}`),
  DSK1302: error("unknown-dtype", (p: { name: string }) => `\`${p.name}\` is not a type of numbers`),
  DSK1303: error("wrong-kind", (p: { expected: string; found: string }) => `expected ${p.expected}, found ${p.found}`),
  DSK1304: error("wrong-arguments", (p: { callee: string; why: string }) => `\`${p.callee}\` ${p.why}`),
  DSK1305: error("not-callable", (p: { found: string }) => `${p.found} cannot be called`),
  DSK1306: error("not-constant", (p: { what: string }) => `${p.what} must be known when the model is built`),
  DSK1307: error("missing-return", (p: { name: string }) => `\`${p.name}\` declares a result and returns nothing`),
  DSK1308: error("no-result", (p: { name: string }) => `\`${p.name}\` returns a value and declares no result`),
  DSK1309: error("misplaced-statement", (p: { what: string; where: string }) => `${p.what} cannot stand in ${p.where}`),
  DSK1310: error("tuple-size", (p: { expected: number; found: number }) => `${p.expected} names for ${p.found} values`),
  DSK1311: error("unit-in-expression", (p: { unit: string }) => `a number of ${p.unit} has no meaning in a model`),
};
