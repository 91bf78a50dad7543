import { render } from "../../emit/templates.ts";
import type { PartsKernel, SoloKernel } from "../../kernel-ir/types.ts";

/**
 * Kernels of one launch (templates/cpu/parts.h): each as it is alone, and a table of what it has of the launch.
 * @param print prints a kernel as a file
 */
export function printParts({ name, parts, args, extents }: PartsKernel, print: (kernel: SoloKernel) => string): string {
  const place = (names: readonly string[], of: readonly string[]): string =>
    of.map((one) => names.indexOf(one)).join(", ");
  const lists = parts.map((part) => ({
    args: place(
      args.map((arg) => arg.name),
      part.args.map((arg) => arg.name),
    ),
    extents: place(extents, part.extents),
  }));
  const list = (kind: string, i: number, items: string): string[] =>
    items === "" ? [] : [`static const int32_t ${kind}_${i + 1}[] = { ${items} };`];
  return render("cpu/parts.cc", {
    name,
    count: parts.length,
    args: args.length,
    extents: extents.length,
    parts: parts.map((part, i) => print({ ...part, name: `${name}_part_${i + 1}` })),
    given: lists.flatMap((own, i) => [...list("args", i, own.args), ...list("extents", i, own.extents)]),
    table: lists
      .map((own, i) => {
        const of = (kind: "args" | "extents"): string => (own[kind] === "" ? "nullptr" : `${kind}_${i + 1}`);
        return `{ &dsk_${name}_part_${i + 1}, ${of("args")}, ${of("extents")} }`;
      })
      .join(", "),
  });
}
