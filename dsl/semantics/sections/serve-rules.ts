/** What a serve section must fulfil as a whole. */
import type { Context } from "./context.ts";
import { expertCounts } from "./layout-rules.ts";
import { callAt, meshAt, numberAt, placeOf } from "./look-up.ts";
import type { CheckedSection } from "./sections.ts";

export function checkServe(c: Context, section: CheckedSection): void {
  checkPhase(c, section, "prefill");
  checkPhase(c, section, "decode");
  const draft = callAt(section.entries, "draft");
  if (draft?.fn === "mtp" && c.model !== undefined && c.model.module.ahead.size === 0) {
    const params = { model: c.model.module.name, what: "`mtp` has nothing to draft with" };
    c.diagnostics.report("DSK6202", draft.span, params);
  }
}

/** Attention takes the whole mesh, the experts divide over all of it. */
function checkPhase(c: Context, { entries }: CheckedSection, phase: string): void {
  const mesh = meshAt(entries, `${phase}.mesh`);
  if (mesh === undefined) return;
  const secondary = [{ span: mesh.span, text: `${mesh.gpus} GPUs` }];
  const [tp, dp] = [numberAt(entries, `${phase}.attention.tp`), numberAt(entries, `${phase}.attention.dp`)];
  if (tp !== undefined && dp !== undefined && tp * dp !== mesh.gpus) {
    const at = placeOf(entries, `${phase}.attention.dp`)!;
    c.diagnostics.report(
      "DSK7001",
      at,
      { what: `attention over tp x dp = ${tp} x ${dp}`, product: tp * dp, gpus: mesh.gpus },
      { secondary },
    );
  }
  const ep = numberAt(entries, `${phase}.experts.ep`);
  if (ep === undefined) return;
  const at = placeOf(entries, `${phase}.experts.ep`)!;
  if (ep > mesh.gpus || mesh.gpus % ep !== 0) {
    c.diagnostics.report("DSK7001", at, { what: `ep = ${ep}`, gpus: mesh.gpus }, { secondary });
    return;
  }
  const spare = numberAt(entries, `${phase}.experts.spare`) ?? 0;
  const experts = c.model === undefined ? undefined : expertCounts(c.model.module).find((n) => (n + spare) % ep !== 0);
  if (experts !== undefined) c.diagnostics.report("DSK7002", at, { experts, spare, ep });
}
