import type { IToken } from "chevrotain";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { Span } from "../../compiler/diagnostics/source.ts";
import type { Quantity } from "./ast.ts";
import { MULTIPLIERS, UNITS } from "./units.ts";

const PARTS = /^(\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)([A-Za-z0-9_%/]*)(?:[ \t]+(\S+))?$/;

/** `14.8T tokens`: the number with its multiplier, and its unit. What is wrong with it is reported; it then is 1. */
export function quantityOf(token: IToken, span: Span, diagnostics: Diagnostics): Quantity {
  const parts = PARTS.exec(token.image);
  if (parts === null) {
    diagnostics.report("DSK0004", span, { text: token.image }, { help: "a number has one point" });
    return { kind: "quantity", text: "1", value: 1, integer: true, span };
  }
  const [, digits, glued, unit] = parts;
  const found = suffix(glued!);
  if (found === undefined || !wellGrouped(digits!)) {
    const near = closest(glued!, [...Object.keys(MULTIPLIERS), ...Object.keys(UNITS)]);
    diagnostics.report(
      "DSK0004",
      span,
      { text: token.image.split(/[ \t]/)[0]! },
      {
        help:
          found === undefined
            ? `multipliers are K, M, B, T, Ki, Mi, Gi and Ti${near.length > 0 ? `; did you mean \`${digits}${near[0]}\`?` : "; a unit stands after a space"}`
            : "`_` stands between two digits",
      },
    );
    return { kind: "quantity", text: "1", value: 1, integer: true, span };
  }
  const plain = Number(digits!.replaceAll("_", ""));
  const value = exactProduct(plain, found.factor);
  if (!Number.isFinite(value)) {
    diagnostics.report("DSK0005", span, { text: token.image });
    return { kind: "quantity", text: "1", value: 1, integer: true, span };
  }
  const name = unit ?? found.unit;
  const integer = !/[.eE]/.test(digits!) && Number.isSafeInteger(value);
  return { kind: "quantity", text: token.image, value, integer, span, ...(name === undefined ? {} : { unit: name }) };
}

/** A multiplier, a unit written without a space (`80GiB`, `30%`), or nothing. */
function suffix(glued: string): { readonly factor: number; readonly unit?: string } | undefined {
  if (glued === "") return { factor: 1 };
  if (Object.hasOwn(MULTIPLIERS, glued)) return { factor: MULTIPLIERS[glued]! };
  return Object.hasOwn(UNITS, glued) ? { factor: 1, unit: glued } : undefined;
}

function wellGrouped(digits: string): boolean {
  return !/_(?!\d)|__/.test(digits);
}

/** `14.8T` is 14.8e12 exactly, not 14.8 * 1e12 rounded twice. */
function exactProduct(value: number, factor: number): number {
  const exponent = Math.log10(factor);
  return Number.isInteger(exponent) && factor > 1 ? Number(`${value}e${exponent}`) || value * factor : value * factor;
}
