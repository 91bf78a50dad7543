/** The `data` of a train section as the runtime reads it. */
import type { CorpusSource, DataSource } from "../../runtime/data/source.ts";
import { numberOf } from "../../dsl/semantics/sections/look-up.ts";
import type { CallValue, Value } from "../../dsl/semantics/sections/types.ts";
import type { Span } from "../diagnostics/source.ts";

/** Told what cannot be executed, and where it stands. */
export type Refuse = (span: Span, why: string) => void;

/** Undefined for data that the runtime does not read: it is refused. */
export function dataSource(value: Value, refuse: Refuse): DataSource | undefined {
  if (value.kind === "word") refuse(value.span, "data that is mined from web pages is not made");
  if (value.kind !== "call") return undefined;
  if (value.fn === "mixture") return mixture(value, refuse);
  if (value.fn === "questions") {
    refuse(value.span, "questions are for rewards");
    return undefined;
  }
  return corpus(value);
}

function mixture({ args }: CallValue, refuse: Refuse): DataSource | undefined {
  const parts = args.get("parts");
  if (parts?.kind !== "list") return undefined;
  const terms = parts.items.flatMap((part) => (part.kind === "sum" ? part.terms : []));
  const read = terms.map(({ weight, value }) => ({ share: weight, data: dataSource(value, refuse) }));
  const known = read.flatMap(({ share, data }) => (data === undefined ? [] : [{ share, data }]));
  return known.length === read.length ? { kind: "mixture", parts: known } : undefined;
}

function corpus({ fn, args }: CallValue): CorpusSource {
  const text = (name: string): string => {
    const value = args.get(name);
    return value?.kind === "text" ? value.value : "";
  };
  const pack = args.get("pack");
  const common = { files: text("files"), pack: pack?.kind === "bool" && pack.value };
  const fim = numberOf(args.get("fim")) ?? 0;
  switch (fn) {
    case "text":
      return { kind: "text", ...common, fim };
    case "lines":
      return { kind: "lines", ...common, field: text("field"), fim };
    case "chat":
      return { kind: "chat", ...common };
    case "shards":
      return { kind: "shards", ...common, fim };
    default:
      throw new Error(`the standard library gives data by ${fn}, which nothing reads`);
  }
}
