/** The option `--store`. */
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import type { WeightForm } from "../lower/stored-weights.ts";
import { parseWeightForm, WEIGHT_FORMS } from "../package/weight-form.ts";
import { UsageError } from "./io.ts";

export const STORE_HELP = "how weights of products and lookups are stored: f32, bf16, int8, int4, int8:GROUP";

/** The value of `--store`. @throws UsageError */
export function weightForm(text: string): WeightForm {
  const form = parseWeightForm(text);
  if (form !== undefined) return form;
  const help = didYouMean(text, WEIGHT_FORMS);
  const forms = `${WEIGHT_FORMS.join(", ")}, and \`int8:128\` for groups of 128`;
  throw new UsageError(`\`${text}\` is no form of weights; ${help === undefined ? "" : `${help} `}forms are ${forms}`);
}
