/** The kernel that makes shortlists of logits, `templates/webgpu/dskc_shortlist.wgsl` and `templates/cuda/dskc_shortlist.cu`: a workgroup for each. */
import type { SimtKernel } from "./grids.ts";

/**
 * Words that say what is asked for: the row, 1 / temperature (f32), two words of noise, how many of the likeliest and how many
 * lifted tokens are wanted, the first word of the named tokens and their number, the first word of the answer.
 */
export const ASKED_WORDS = 9;

/**
 * Words of an answer before its lists: the likeliest token and its key; how many of the likeliest are told, and the key that all
 * others have at most; the same of the lifted ones, by sums of logit and noise; two sums of weights (f32). Then two words for each of
 * the likeliest, token and logit; three for each lifted one, the sum of the weights in front of it the third; logits of the named ones.
 */
export const HEAD_WORDS = 8;

/** Logits f32[B, V] from the word LOGITS on, of which the tokens below KNOWN count; KEYS and SCORES are scratch, [ITEMS, V] each. */
export const SHORTLIST: SimtKernel = {
  name: "dskc_shortlist",
  args: [],
  writes: [],
  extents: ["ITEMS", "V", "KNOWN", "LOGITS", "ASKS", "KEYS", "SCORES"],
  scratch: [],
  entries: [{ name: "main", workgroupSize: 64, workgroups: [{ of: ["ITEMS"] }] }],
};

/** On CUDA logits and words are pointers, from which LOGITS and all other places count. */
export const SHORTLIST_CUDA: SimtKernel = {
  ...SHORTLIST,
  args: ["logits", "words"],
  writes: ["words"],
  entries: [{ name: "main", workgroupSize: 1024, workgroups: [{ of: ["ITEMS"] }] }],
};
