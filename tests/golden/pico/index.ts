/**
 * A model for tests.
 *
 * Written by `dskc build`, which writes it anew: changes are lost.
 */
import type * as dskc from "dskc/runtime";
import { openPackage } from "dskc/runtime";

/** Sizes of dims. */
export const dims = { V: 160, D: 8 } as const;

/** Shapes of params and states, row-major. */
export const params = {
  "embed.weight": [160, 8],
  "trunk.0.mixer.wq": [8, 1, 2, 4],
  "trunk.0.mixer.wk": [8, 1, 4],
  "trunk.0.mixer.wv": [8, 1, 4],
  "trunk.0.mixer.wo": [1, 2, 4, 8],
  "trunk.0.ffn.gate": [8, 4],
  "trunk.0.ffn.bias": [4],
  "trunk.0.ffn.shared.gate": [8, 6],
  "trunk.0.ffn.shared.up": [8, 6],
  "trunk.0.ffn.shared.down": [6, 8],
  "trunk.0.ffn.experts.gate": [4, 8, 6],
  "trunk.0.ffn.experts.up": [4, 8, 6],
  "trunk.0.ffn.experts.down": [4, 6, 8],
  "trunk.0.norm_mixer.weight": [8],
  "trunk.0.norm_ffn.weight": [8],
  "norm.weight": [8],
  "head.weight": [160, 8],
  "mtp.0.join": [16, 8],
  "mtp.0.layer.mixer.wq": [8, 1, 2, 4],
  "mtp.0.layer.mixer.wk": [8, 1, 4],
  "mtp.0.layer.mixer.wv": [8, 1, 4],
  "mtp.0.layer.mixer.wo": [1, 2, 4, 8],
  "mtp.0.layer.ffn.gate": [8, 4],
  "mtp.0.layer.ffn.bias": [4],
  "mtp.0.layer.ffn.shared.gate": [8, 6],
  "mtp.0.layer.ffn.shared.up": [8, 6],
  "mtp.0.layer.ffn.shared.down": [6, 8],
  "mtp.0.layer.ffn.experts.gate": [4, 8, 6],
  "mtp.0.layer.ffn.experts.up": [4, 8, 6],
  "mtp.0.layer.ffn.experts.down": [4, 6, 8],
  "mtp.0.layer.norm_mixer.weight": [8],
  "mtp.0.layer.norm_ffn.weight": [8],
  "mtp.0.norm_embed.weight": [8],
  "mtp.0.norm_hidden.weight": [8],
  "mtp.0.norm.weight": [8],
} as const;

/** Train sections: their losses, and the metrics that a step can give. */
export const trainings = {
  Short: {
    losses: ["next_token", "mtp"],
    metrics: ["trunk.0.ffn.load", "trunk.0.ffn.chosen", "mtp.0.layer.ffn.load", "mtp.0.layer.ffn.chosen"],
  },
} as const;

/** What holds where nobody says anything else. */
export const defaults = { context: 64, temperature: 0, topP: 1, topK: 0, draftTokens: 1 } as const;

/** How conversations become text. */
export const chat = {
  roles: ["system", "user", "assistant"],
  bos: 0,
  eos: 1,
  template: "{{ bos_token }}{% for message in messages %}{% if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' ~ message.role) }}{% endif %}{{ ('<|assistant|>' if message.role == 'assistant' else '<|user|>') ~ message.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
} as const;

/** What is special about this model, for types. */
export interface PicoNames {
  readonly params: typeof params;
  readonly trainings: dskc.TrainingNamesOf<typeof trainings>;
  readonly roles: "system" | "user" | "assistant";
}

/** The model, loaded. */
export type Pico = dskc.Model<PicoNames>;

/** How it is loaded. */
export interface PicoOptions extends Omit<dskc.OpenOptions, "serve"> {
  readonly serve?: "Local";
  readonly directory?: string;
}

/** Loads the model. `directory` is the folder of the package, which must be given where this file is not in it: in bundles. */
export async function load({ directory = import.meta.dirname, ...options }: PicoOptions = {}): Promise<Pico> {
  return openPackage<PicoNames>(directory, options);
}
